"""Arrays that users hand in are checked and brought into one form here, at the edge, so that nothing below has to guess.

Errors read "name: got ..., expected ...": TypeError for what an array holds, ValueError for its shape and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastbp.data import mapped
from fastbp.data.arrays import real_array

_ROWS_AT_ONCE = 4096  # where a pass over the data needs temporary arrays: they stay small beside it
_INTEGERS = (f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_READABLE = frozenset(map(np.dtype, ("bool", "float32", "float64", *_INTEGERS)))  # none of a foreign byte order


def as_matrix(name: str, x: Any, columns: int | None = None) -> np.ndarray:
    """Return `x` as a 2-D NumPy array of bools, integers or floats, with at least one row and one column.

    A NumPy array comes back without a copy, whatever its dtype, byte order and strides, and so does what lies in memory as
    an array does: frames of one dtype, tensors. Other frames (pandas, polars, pyarrow), lists, and what has `__array__` or
    DLPack are converted; missing values become NaN. `columns` is the expected number of columns, if one is expected.
    TypeError for other dtypes, naming the column of a frame, and for sparse matrices, ValueError for other shapes and masked
    entries. NaN and infinity pass.
    """
    array = real_array(name, x, "a 2-D array of real numbers")
    if array.ndim != 2:
        advice = "; a single sample x is x[None, :], a single feature x[:, None]" if array.ndim == 1 else ""
        raise ValueError(f"{name}: got shape {array.shape}, expected two dimensions (rows, columns){advice}")
    if 0 in array.shape:
        raise ValueError(f"{name}: got shape {array.shape}, expected at least one row and one column")
    if columns is not None and array.shape[1] != columns:
        raise ValueError(f"{name}: got shape {array.shape}, expected {columns} columns")
    return array


def as_input(name: str, x: Any, columns: int | None = None) -> np.ndarray:
    """Return `x` as a matrix, by the rules of `as_matrix`, in a form that compiled code reads."""
    return in_compiled_form(name, as_matrix(name, x, columns))


def in_compiled_form(name: str, x: np.ndarray) -> np.ndarray:
    """Return x, or a float32 or float64 copy of what compiled code does not read: float16, longdouble, foreign byte orders.

    ValueError for a number that float64 does not hold.
    """
    if x.dtype in _READABLE:
        return x
    if found := first_overflow(name, x, np.float64):
        raise ValueError(found)
    return x.astype(np.float32 if x.dtype.itemsize <= 2 and x.dtype.kind == "f" else np.float64)


def as_labels(name: str, y: Any, classes: int) -> np.ndarray:
    """Return the class of each row, (rows,) int64 in C order, from integers, or floats of integral value, in [0, classes).

    TypeError for other dtypes; ValueError for other shapes and for a value that is no class, with its row.
    """
    expected = f"integer labels from 0 to {classes - 1}"
    array = _vector(name, y, expected)
    with np.errstate(invalid="ignore"):  # comparisons with NaN
        good = (array >= 0) & (array < classes)
        if array.dtype.kind == "f":
            good &= array == np.floor(array)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"{name}: got {array[row].item()!r} in row {row}, expected {expected}")
    return np.ascontiguousarray(array, dtype=np.int64)


def as_targets(name: str, y: Any, rows: int, columns: int, or_labels: bool = False) -> np.ndarray:
    """Return `y` as a real array (rows, columns), a NumPy array without a copy; one dimension is taken for one column.

    TypeError for what `as_matrix` refuses, ValueError for any other shape. or_labels: the cost also takes
    labels, so the error says how they are given.
    """
    array = real_array(name, y, f"real numbers of shape ({rows}, {columns})")
    if columns == 1 and array.ndim == 1:
        array = array[:, None]
    if array.shape != (rows, columns):
        also = f" or ({rows},)" if columns == 1 else ""
        if or_labels and array.ndim == 2 and array.shape[1] == 1:
            also = f"; labels have one dimension: {name}.ravel()"
        raise ValueError(f"{name}: got shape {np.shape(y)}, expected ({rows}, {columns}){also}")
    return array


def as_weights(name: str, w: Any, rows: int, dtype: Any = np.float64, minibatch: bool = False) -> np.ndarray:
    """Return sample weights as (rows,) float64 in C order; TypeError or ValueError unless they are finite in `dtype` and >= 0.

    Not all of them may be 0 in `dtype`, unless they are those of a minibatch.
    """
    expected = f"{rows} finite weights >= 0"
    array = np.ascontiguousarray(_vector(name, w, expected), dtype=np.float64)
    if len(array) != rows:
        raise ValueError(f"{name}: got {len(array)} weights, expected {rows}, one for every row")
    good = np.isfinite(array) & (array >= 0)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"{name}: got {array[row].item()!r} in row {row}, expected {expected}")
    if found := first_overflow(name, array, dtype):
        raise ValueError(found)
    if not minibatch:
        check_weight(name, array, dtype)
    return array


def check_weight(name: str, w: np.ndarray, dtype: Any, of: str = "every row") -> None:
    """ValueError if all weights are 0 in `dtype`, since their sum is divided by; small ones may vanish beside larger ones."""
    largest, least = float(w.max()), float(np.finfo(dtype).tiny)
    if largest == 0:
        raise ValueError(f"{name}: got 0 in {of}, expected at least one weight > 0")
    if largest < least:
        raise ValueError(
            f"{name}: got {largest!r} as the largest in {of}, expected at least one weight >= {least:.2g}, which "
            f"{np.dtype(dtype)} holds in full"
        )


def as_rows(name: str, rows: Any, count: int) -> np.ndarray:
    """Return row numbers below `count`, from integers or a mask of `count` bools, as int64 in C order; at least one.

    TypeError for anything else; ValueError for other shapes, for a number out of range, and for an empty choice.
    """
    expected = f"row numbers from 0 to {count - 1}, or {count} bools"
    array = real_array(name, rows, expected)
    if array.ndim != 1 or (array.dtype.kind == "b" and len(array) != count):
        raise ValueError(f"{name}: got shape {array.shape} of {array.dtype}, expected {expected}")
    if array.dtype.kind == "f" and array.size:
        raise TypeError(f"{name}: got dtype {array.dtype}, expected {expected}")
    if array.dtype.kind == "b":
        array = np.flatnonzero(array)
    if array.size == 0:
        raise ValueError(f"{name}: got no rows, expected at least one")
    outside = (array < 0) | (array >= count)
    if outside.any():
        place = int(np.argmax(outside))
        raise ValueError(f"{name}: got {array[place].item()} at place {place}, expected {expected}")
    return np.ascontiguousarray(array, np.int64)


def first_non_finite(
    name: str, x: np.ndarray, titles: list[Any] | None = None, dtype: Any = np.float64, counts: np.ndarray | None = None
) -> str | None:
    """Return the sentence that names the first number of x, 1-D or 2-D, that is not finite in `dtype`; None if all are.

    titles: those of the columns, if they have any. counts: a bool for each row, whether it counts; None: all do.
    """
    if x.dtype.kind != "f":
        return None
    return _first(name, x, titles, lambda part: ~np.isfinite(_in(dtype, part)), dtype, counts)


def first_overflow(name: str, x: np.ndarray, dtype: Any, titles: list[Any] | None = None) -> str | None:
    """Return the sentence that names the first finite number of x, 1-D or 2-D, that is infinite in `dtype`; None if none is."""
    if x.dtype.kind != "f" or x.dtype.itemsize <= np.dtype(dtype).itemsize:
        return None
    return _first(name, x, titles, lambda part: np.isfinite(part) & ~np.isfinite(_in(dtype, part)), dtype)


def _in(dtype: Any, x: np.ndarray) -> np.ndarray:
    """Return x in `dtype`, without warnings."""
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(dtype, copy=False)


def _first(
    name: str, x: np.ndarray, titles: list[Any] | None, wrong_of: Callable[[np.ndarray], np.ndarray], dtype: Any,
    counts: np.ndarray | None = None,
) -> str | None:  # fmt: skip
    """Return the sentence that names the first number for which wrong_of(rows) is True, in a row that counts, or None."""
    for part, rows in in_parts(x):
        wrong = wrong_of(part)
        if counts is not None:
            wrong[~counts[rows]] = False
        if wrong.any():
            row, *column = (int(i[0]) for i in np.nonzero(wrong))
            index = (row, *column)
            got = part[index].item()
            place = f"row {rows.start + row}" + (f", column {column[0]}" if column else "")
            title = f" ({titles[column[0]]!r})" if titles and column else ""
            expected = f"numbers that {np.dtype(dtype)} holds" if np.isfinite(got) else "finite numbers"
            return f"{name}: got {got!r} in {place}{title}, expected {expected}"
    return None


def in_parts(x: np.ndarray) -> Iterator[tuple[np.ndarray, slice]]:
    """Yield some rows at a time, and the slice that they are; pages of a mapped file are given back after use."""
    for start in range(0, len(x), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        yield x[rows], rows
        mapped.give_back(x, rows.start, rows.stop)


def same_length(**arrays: Any) -> int:
    """Return the number of rows that all arrays have, None left out; ValueError names the first one that differs."""
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    (first, rows), *others = lengths.items()
    for name, length in others:
        if length != rows:
            raise ValueError(f"{name}: got {length} rows, expected {rows}, as many as {first} has")
    return rows


def _vector(name: str, x: Any, expected: str) -> np.ndarray:
    """Return `x` as a 1-D real array with at least one entry."""
    array = real_array(name, x, expected)
    if array.ndim != 1:
        advice = f"; {name}.ravel() has it" if array.ndim == 2 and array.shape[1] == 1 else ""
        raise ValueError(f"{name}: got shape {array.shape}, expected one dimension{advice}")
    if array.size == 0:
        raise ValueError(f"{name}: got no entries, expected {expected}")
    return array
