"""Reads data sets from files: scikit-learn's digits, tables of text, .npz."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastbp.checks import missing
from fastbp.data import tables
from fastbp.data.convert import as_matrix, first_non_finite, same_length
from fastbp.data.delimited import Reading
from fastbp.data.npz import read_npz

TASKS = ("classification", "regression")

_MOST_CLASSES = 20  # whole numbers of more different values are a regression target
_EXACT = 2.0**53  # float64 holds all whole numbers up to here

_PIXEL = 255.0
_FEWEST_PIXELS = 64  # of an image in one row


class Dataset(NamedTuple):
    """Rows to learn from.

    x (rows, features), finite reals. For classification, y (rows,) int64 holds indices into `classes`, the labels as
    the file has them, in ascending order; for regression y is real, (rows,) or (rows, targets), and `classes` None.
    `columns` says how the columns of a table of text became the features; None for other files. `scaled` says that the
    features are comparable as they are; `images` that they are the pixels of images. `notes` says in sentences what was
    left out, and what may not have been meant.
    """

    x: np.ndarray
    y: np.ndarray
    task: str
    classes: tuple[Any, ...] | None
    features: tuple[str, ...]
    target: str
    columns: tuple[tables.Column, ...] | None = None
    scaled: bool = False
    images: bool = False
    notes: tuple[str, ...] = ()


def load_digits() -> Dataset:
    """Return the 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships; x (1797, 64) float32 in [0, 1].

    ImportError without scikit-learn.
    """
    spec = importlib.util.find_spec("sklearn")  # the folder only: importing sklearn.datasets takes a second
    if spec is None or not spec.submodule_search_locations:
        raise missing("the digits come with scikit-learn", "data")
    path = Path(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return Dataset(
        x=np.ascontiguousarray(table[:, :-1] / 16),  # pixels are 0 to 16
        y=table[:, -1].astype(np.int64),
        task="classification",
        classes=tuple(range(10)),
        features=tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8)),
        target="digit",
        scaled=True,
    )


def load_csv(
    path: str | os.PathLike,
    target: str,
    task: str | None = None,
    *,
    drop: Sequence[str] = (),
    categories: Sequence[str] = (),
    **reading: Any,
) -> Dataset:
    """Read a table of text (.csv or .tsv, also .gz, .bz2 or .xz of them); every column but `target` is a feature.

    Columns of text become one 0/1 column a category. `drop` leaves columns out; `categories` takes every cell of the named
    columns for a category or a label, as it stands, numbers and markers for missing values too. `reading` holds what is
    known of the file, the fields of `fastbp.data.delimited.Reading`; the rest is told from the file.

    Without `task`, text and whole numbers of few different values are classes, other numbers a regression target.
    ValueError, with the place, for what may not have been meant: missing values, numbers with a few other cells among them,
    text that differs from row to row, text under regression, and what `tables.read_table` refuses.
    """
    if isinstance(drop, str) or isinstance(categories, str):
        raise TypeError("drop, categories: got a string, expected a sequence of titles")
    table = tables.read_table(path, Reading(**reading))
    for name, titles in (("target", [target]), ("drop", drop), ("categories", categories)):
        for title in titles:
            if title not in table.titles:
                known = tables.named(table.titles)
                raise ValueError(f"{name}: got {title!r}, expected a column of {table.path}: {known}")
    if target in drop:
        raise ValueError(f"drop: got {target!r}, which is the target, expected other columns")
    features = [title for title in table.titles if title != target and title not in drop]
    if not features:
        raise ValueError(f"{table.path}: got the column {target!r} only, expected features beside it")
    table.load(*(title for title in (target, *features) if not np.isfinite(table.numbers(title)).all()))
    task, y, classes = _read_labels(table, target, task, target in categories)
    columns = tuple(tables.describe(table, title, title in categories) for title in features)
    return Dataset(
        tables.encode(table, columns), y, task, classes,
        features=tuple(feature for column in columns for feature in column.features), target=target, columns=columns,
        notes=(*table.notes, *_doubts(table, columns)),
    )  # fmt: skip


def _doubts(table: tables.Table, columns: Sequence[tables.Column]) -> Iterator[str]:
    """Yield a sentence for each column that may not be a feature, since it numbers the rows."""
    for column in columns:
        if column.categories is None and tables.counts_rows(table.numbers(column.name)):
            yield (
                f"{table.path}: column {column.name!r} only counts the rows: "
                "drop (--drop) leaves it out, if it is not meant as a feature"
            )


def load_npz(path: str | os.PathLike, x_key: str = "x", y_key: str = "y", task: str | None = None) -> Dataset:
    """Read the arrays x (rows, ...) and y (rows,) or, for regression, (rows, targets) of an .npz file.

    Further dimensions of x, as images have them, are flattened. The task is told as in `load_csv`. ValueError for a missing
    key, differing lengths, NaN and infinity; TypeError for dtypes that are no real numbers (y may be text).
    """
    arrays = read_npz(path, x_key, y_key)
    x, y, shape = _flat_rows(x_key, arrays[x_key]), arrays[y_key], arrays[x_key].shape[1:]
    if y.ndim == 0 or y.ndim > 2:
        raise ValueError(f"{y_key}: got shape {y.shape}, expected one entry or one row of targets for every row of x")
    same_length(**{x_key: x, y_key: y})
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind not in "US":
        as_matrix(y_key, np.atleast_2d(y))
        _refuse_non_finite(y_key, y)
    task, y, classes = _read_target(y_key, y, task)
    names = tuple(f"{x_key}{i}" for i in range(x.shape[1]))
    return Dataset(x, y, task, classes, names, y_key, images=_are_images(x, shape))


def _are_images(x: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Return whether bytes are pixels: if a row has several dimensions in the file, or the length of a square image and all
    shades.

    Other bytes are counts and codes.
    """
    if x.dtype != np.uint8:
        return False
    sides = [np.sqrt(x.shape[1] / colours) for colours in (1, 3)]
    square = x.shape[1] >= _FEWEST_PIXELS and any(side == np.floor(side) for side in sides)
    return len(shape) > 1 or bool(square and x.min() == 0 and x.max() == _PIXEL)


def load_features(
    path: str | os.PathLike,
    columns: Sequence[tables.Column] | None,
    features: int,
    x_key: str = "x",
    **reading: Any,
) -> np.ndarray:
    """Read x (rows, features), to predict for, from a table of text or an .npz file, encoded as the training data were.

    From a table the `columns` by name, or all of them if that is None, read as `load_csv` does; from an .npz file the array
    `x_key`.
    """
    if Path(path).suffix.lower() == ".npz":
        return as_matrix(x_key, _flat_rows(x_key, read_npz(path, x_key)[x_key]), features)
    table = tables.read_table(path, Reading(**reading))
    columns = columns or [tables.Column(title) for title in table.titles]
    return as_matrix(table.path, tables.encode(table, columns), features)


def _flat_rows(name: str, x: np.ndarray) -> np.ndarray:
    """Return x (rows, ...) as a finite matrix (rows, columns)."""
    x = as_matrix(name, x.reshape(len(x), -1) if x.ndim > 2 and x.size else x)
    _refuse_non_finite(name, x)
    return x


def _refuse_non_finite(name: str, x: np.ndarray) -> None:
    """ValueError if x has NaN or infinity."""
    sentence = first_non_finite(name, x)
    if sentence:
        raise ValueError(sentence)


def _checked_task(task: str | None) -> str | None:
    """Return the task; ValueError for one that is not known."""
    if task is not None and task not in TASKS:
        raise ValueError(f"task: got {task!r}, expected one of {', '.join(TASKS)}")
    return task


def _read_labels(
    table: tables.Table, target: str, task: str | None, as_text: bool
) -> tuple[str, np.ndarray, tuple[Any, ...] | None]:
    """Return the task, y and the classes, from the column of a table; `as_text` takes every cell for a label."""
    name, numbers = f"{table.path}: {target}", table.numbers(target)
    if as_text and task == "regression":
        raise ValueError(f"categories: got {target!r}, the target of a regression, expected columns of categories")
    given, task = _checked_task(task), "classification" if as_text else task
    numeric = bool(np.isfinite(numbers).all())
    if task is None:
        task = _told_task(numbers) if numeric else "classification"
    if task == "regression":
        return task, tables.require_numbers(table, target, "numbers for regression"), None
    cells = table.cells(target)
    different = set(cells)
    if not numeric and not as_text:
        _refuse_doubtful_labels(table, target, given)
    if numeric and given is None and not as_text and len(np.unique(numbers)) < len(different):
        one, other = _written_twice(different)
        raise ValueError(
            f"{name}: got the labels {one!r} and {other!r}, expected one way to write a number: task='classification' "
            "(--task classification) takes them for two, task='regression' for one number"
        )
    if len(different) < 2:
        raise ValueError(f"{name}: got {cells[0]!s} in every row, expected at least two classes")
    classes = sorted(different, key=lambda cell: (float(cell.replace(",", ".")) if numeric else 0, cell))
    places = {label: i for i, label in enumerate(classes)}
    y = np.fromiter(map(places.__getitem__, cells), np.int64, len(cells))
    return task, y, tuple(classes) if as_text else _as_written(classes)


def _refuse_doubtful_labels(table: tables.Table, target: str, given: str | None) -> None:
    """ValueError where labels of text hold missing values, are numbers with a few other cells, or differ from row to row."""
    missing = tables.is_missing(table, target).any()
    infinite = not np.isnan(table.numbers(target)).any()
    many = len(set(table.cells(target))) > max(_MOST_CLASSES, len(table) // 2)
    if missing or infinite or (tables.is_mostly_numbers(table, target) and (many or given is None)):
        raise ValueError(
            f"{tables.refusal(table, target)}; mend or leave out such rows, "
            "or take every cell of the column for a label by categories (--categories)"
        )
    if many and given is None:
        cells = table.cells(target)
        raise ValueError(
            f"{table.path}: {target}: got {len(set(cells))} different labels in {len(cells)} rows, as {cells[0]!r} in row 0, "
            "expected classes of several rows each; task='classification' (--task classification) takes them all the same"
        )


def _written_twice(labels: set[str]) -> tuple[str, str]:
    """Find two labels that are the same number, written in two ways."""
    met: dict[float, str] = {}
    for label in sorted(labels):
        other = met.setdefault(float(label.replace(",", ".")), label)
        if other != label:
            return other, label
    raise AssertionError("all labels are different numbers")


def _as_written(labels: Sequence[str]) -> tuple[Any, ...]:
    """Return labels as integers or floats if Python writes all of them as the file does, else as the text that they are."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            found = tuple(map(kind, labels))
            if tuple(map(str, found)) == tuple(labels):
                return found
    return tuple(labels)


def _read_target(name: str, values: np.ndarray, task: str | None) -> tuple[str, np.ndarray, tuple | None]:
    """Return the task, y and the classes, from an array of finite numbers or text."""
    text = values.dtype.kind in "US"
    task = _checked_task(task) or _told_task(values)
    if task == "regression":
        if text:
            raise ValueError(f"{name}: got {values.flat[0]!s} in row 0, expected numbers for regression")
        return task, values.astype(np.float64), None
    if values.ndim != 1:
        raise ValueError(f"{name}: got shape {values.shape}, expected one class for every row")
    labels, y = np.unique(values, return_inverse=True)
    if labels.dtype.kind == "f" and (labels == np.floor(labels)).all() and np.abs(labels).max() <= _EXACT:
        labels = labels.astype(np.int64)  # 0 and 1 are not 0.0 and 1.0
    classes = tuple(map(_decoded, labels.tolist()))
    for i, label in enumerate(classes):
        if text and label.strip().lower() in tables.MISSING:
            row = int(np.argmax(y == i))
            raise ValueError(f"{name}: got the missing value {label!r} in row {row}, expected a label in every row")
    if len(classes) < 2:
        raise ValueError(f"{name}: got {classes[0]!s} in every row, expected at least two classes")
    return task, y.astype(np.int64), classes


def _decoded(label: Any) -> Any:
    """Return a label, bytes as text."""
    return label.decode("utf-8", "backslashreplace") if isinstance(label, bytes) else label


def _told_task(values: np.ndarray) -> str:
    """Tell the task: text, booleans, and whole numbers of few values, each of which comes twice on average, are classes."""
    if values.dtype.kind in "USb":
        return "classification"
    few = min(_MOST_CLASSES, len(values) // 2)
    whole = values.ndim == 1 and bool((values == np.floor(values)).all())
    return "classification" if whole and len(np.unique(values)) <= few else "regression"
