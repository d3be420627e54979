"""Makes NumPy arrays of lists, of other libraries' tensors, and of frames and their columns.

Nothing of those libraries is imported: `__array__`, DLPack and the names of columns are enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def is_array(x: Any) -> bool:
    """Return whether x is one array, of any library, and not an iterable of arrays."""
    return any(hasattr(x, name) for name in ("__array__", "__dlpack__", "toarray"))


def real_array(name: str, x: Any, expected: str) -> np.ndarray:
    """Return `x` as a plain NumPy array of bools, integers or floats; without a copy where it lies in memory as one."""
    titles = column_titles(x)
    array = _real_column(x, any_array(name, x, expected)) if titles is None else _from_frame(name, x, titles, expected)
    if array.dtype.kind not in "biuf":
        got = "None" if x is None else f"{type(x).__name__} of dtype {array.dtype}"
        raise TypeError(f"{name}: got {got}, expected {expected}")
    return array


def as_numpy(x: Any) -> np.ndarray:
    """Return what NumPy makes of x, through DLPack where x has no `__array__`; errors of either pass through."""
    return np.from_dlpack(x) if hasattr(x, "__dlpack__") and not hasattr(x, "__array__") else np.asarray(x)


def any_array(name: str, x: Any, expected: str) -> np.ndarray:
    """Return `x` as a NumPy array of any dtype; TypeError or ValueError for what does not hold all its values in one array."""
    if hasattr(x, "toarray") and hasattr(x, "nnz"):  # scipy.sparse and its kin
        kind = type(x).__name__
        raise TypeError(f"{name}: got a sparse matrix ({kind}), expected a dense array; {name}.toarray() makes one")
    if is_lazy(x):
        raise TypeError(f"{name}: got a {type(x).__name__}, expected {expected}; {name}.collect() makes a frame of it")
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        place = tuple(int(i) for i in np.argwhere(np.ma.getmaskarray(x))[0])
        raise ValueError(f"{name}: got a masked entry at {place}, expected {expected} without missing values")
    try:
        return as_numpy(x)
    except ValueError as error:  # rows of different lengths, for one
        raise ValueError(f"{name}: got what NumPy makes no array of ({error}), expected {expected}") from error
    except Exception as error:  # each library has its own: a tensor on another device or that requires grad, for one
        raise TypeError(f"{name}: got what NumPy makes no array of ({error}), expected {expected}") from error


def dimensions(name: str, x: Any, expected: str) -> int:
    """Return the number of dimensions of x as an array."""
    return x.ndim if isinstance(getattr(x, "ndim", None), int) else any_array(name, x, expected).ndim


def is_lazy(x: Any) -> bool:
    """Return whether x is a plan of how to compute a frame, as polars has them."""
    return hasattr(x, "collect") and not hasattr(x, "__array__")


# ---------------------------------------------------------------- frames of pandas, polars and pyarrow, and their columns


def column_titles(x: Any) -> list[Any] | None:
    """Return the names of the columns of a frame, None for anything else."""
    if is_lazy(x):
        return None
    names = getattr(x, "column_names", None)  # pyarrow's, whose `columns` are the columns themselves
    titles = getattr(x, "columns", None) if names is None else names
    return None if titles is None or callable(titles) else list(titles)


def _from_frame(name: str, frame: Any, titles: list[Any], expected: str) -> np.ndarray:
    """Return the columns side by side in one array; TypeError names the first one that does not hold real numbers."""
    kinds = {_column_values(frame[title][:0]).dtype.kind for title in titles}
    if kinds <= set("biuf"):  # dates have a common type with numbers, to polars
        array = any_array(name, frame, expected)
        if array.dtype.kind in "biuf":
            return array
    columns = []
    for title in titles:
        column = frame[title]
        columns.append(_real_column(column, _column_values(column)))
        if columns[-1].dtype.kind not in "biuf":
            kind = getattr(column, "dtype", None) or getattr(column, "type", "object")
            raise TypeError(f"{name}: got column {title!r} of dtype {kind}, expected {expected}")
    return np.stack(columns, axis=1)


def _column_values(column: Any) -> np.ndarray:
    """Return what NumPy makes of a column; an array of one object where it has no dtype for it, as for 128-bit integers."""
    try:
        return np.asarray(column)
    except Exception:  # each library has its own
        return np.array([...])


def _real_column(column: Any, values: np.ndarray) -> np.ndarray:
    """Return `values`; if they are objects in place of optional numbers or bools, as float64 with NaN for what is missing."""
    if values.dtype.kind == "O" and getattr(getattr(column, "dtype", None), "kind", "O") in "biuf":  # of pandas
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if values.dtype.kind == "O" and hasattr(column, "to_numpy") and set(map(type, values)) <= {bool, type(None)}:
        return values.astype(np.float64)  # bools of polars and pyarrow
    return values
