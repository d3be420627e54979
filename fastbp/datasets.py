"""Data sets in files: scikit-learn's digits, CSV, npz; and the recipe that takes their rows to a network and back."""

from __future__ import annotations

import gzip
import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastbp import tables
from fastbp.data import Standardizer, as_matrix, first_non_finite, same_length
from fastbp.npz import read_npz

TASKS = ("classification", "regression")

_MOST_CLASSES = 20  # that whole numbers are taken for; text may have any number


class Dataset(NamedTuple):
    """Rows to learn from.

    x (rows, features), finite reals. For classification, y (rows,) int64 holds indices into `classes`, the labels as
    the file has them, in ascending order; for regression y is real, (rows,) or (rows, targets), and `classes` None.
    `columns` says how the columns of a CSV file became the features; None for other files. `scaled` says that the
    features are comparable as they are.
    """

    x: np.ndarray
    y: np.ndarray
    task: str
    classes: tuple[Any, ...] | None
    features: tuple[str, ...]
    target: str
    columns: tuple[tables.Column, ...] | None = None
    scaled: bool = False


def load_digits() -> Dataset:
    """The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships; x (1797, 64) float32 in [0, 1].

    ImportError without scikit-learn.
    """
    spec = importlib.util.find_spec("sklearn")  # the folder only: importing sklearn.datasets takes a second
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the digits come with scikit-learn: pip install 'fastbp[data]'")
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


def load_csv(path: str | os.PathLike, target: str, task: str | None = None) -> Dataset:
    """A CSV file with a header; every column but `target` is a feature, text as one 0/1 column a category.

    Without `task`, text and whole numbers of few different values are classes, other numbers a regression target.
    ValueError for a missing target column, missing values, text under regression, and what `read_table` refuses.
    """
    table = tables.read_table(path)
    if target not in table.cells:
        raise ValueError(f"target: got {target!r}, expected a column of {table.path}: {', '.join(table.cells)}")
    values = tables.read_column(table, target)
    columns = tuple(tables.describe(table, name) for name in table.cells if name != target)
    if not columns:
        raise ValueError(f"{table.path}: got the column {target!r} only, expected features beside it")
    task, y, classes = _read_target(f"{table.path}: {target}", values, task)
    features = tuple(feature for column in columns for feature in column.features)
    return Dataset(tables.encode(table, columns), y, task, classes, features, target, columns)


def load_npz(path: str | os.PathLike, x_key: str = "x", y_key: str = "y", task: str | None = None) -> Dataset:
    """The arrays x (rows, ...) and y (rows,) or, for regression, (rows, targets) of an .npz file.

    Further dimensions of x, those of images, are flattened. The task is told as in `load_csv`. ValueError for a missing
    key, differing lengths, NaN and infinity; TypeError for dtypes that are no real numbers (y may be text).
    """
    arrays = read_npz(path, x_key, y_key)
    x, y = _flat_rows(x_key, arrays[x_key]), arrays[y_key]
    if y.ndim == 0 or y.ndim > 2:
        raise ValueError(f"{y_key}: got shape {y.shape}, expected one entry or one row of targets for every row of x")
    same_length(**{x_key: x, y_key: y})
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind not in "US":
        as_matrix(y_key, np.atleast_2d(y))
        _refuse_non_finite(y_key, y)
    task, y, classes = _read_target(y_key, y, task)
    return Dataset(x, y, task, classes, tuple(f"{x_key}{i}" for i in range(x.shape[1])), y_key)


def load_features(
    path: str | os.PathLike, columns: Sequence[tables.Column] | None, features: int, x_key: str = "x"
) -> np.ndarray:
    """x (rows, features) of a .csv or .npz file to predict for, encoded as the training data were.

    From a CSV file the `columns` by name, or all of them if that is None; from an .npz file the array `x_key`.
    """
    if Path(path).suffix.lower() == ".npz":
        return as_matrix(x_key, _flat_rows(x_key, read_npz(path, x_key)[x_key]), features)
    table = tables.read_table(path)
    columns = columns or [tables.Column(name) for name in table.cells]
    return as_matrix(table.path, tables.encode(table, columns), features)


def _flat_rows(name: str, x: np.ndarray) -> np.ndarray:
    """x (rows, ...) as a finite matrix (rows, columns)."""
    x = as_matrix(name, x.reshape(len(x), -1) if x.ndim > 2 and x.size else x)
    _refuse_non_finite(name, x)
    return x


def _refuse_non_finite(name: str, x: np.ndarray) -> None:
    sentence = first_non_finite(name, x)
    if sentence:
        raise ValueError(sentence)


def _read_target(name: str, values: np.ndarray, task: str | None) -> tuple[str, np.ndarray, tuple | None]:
    """The task, y and the classes, from finite numbers or text."""
    if task is not None and task not in TASKS:
        raise ValueError(f"task: got {task!r}, expected one of {', '.join(TASKS)}")
    task = task or _told_task(values)
    if task == "regression":
        if values.dtype.kind in "US":
            raise ValueError(f"{name}: got {values[0]!s} in row 0, expected numbers for regression")
        return task, values.astype(np.float64), None
    if values.ndim != 1:
        raise ValueError(f"{name}: got shape {values.shape}, expected one class for every row")
    labels, y = np.unique(values, return_inverse=True)
    if len(labels) < 2:
        raise ValueError(f"{name}: got {labels[0]!s} in every row, expected at least two classes")
    if labels.dtype.kind == "f" and (labels == np.floor(labels)).all():
        labels = labels.astype(np.int64)  # a CSV file's 0 and 1 are not 0.0 and 1.0
    return task, y.astype(np.int64), tuple(labels.astype("U").tolist() if labels.dtype.kind == "S" else labels.tolist())


def _told_task(values: np.ndarray) -> str:
    """Text, booleans, and whole numbers of few different values, each of which comes twice on average, are classes."""
    if values.dtype.kind in "USb":
        return "classification"
    few = min(_MOST_CLASSES, len(values) // 2)
    whole = values.ndim == 1 and bool((values == np.floor(values)).all())
    return "classification" if whole and len(np.unique(values)) <= few else "regression"


class Recipe(NamedTuple):
    """What brings a file's rows to a network's input and its output to predictions; kept in the model file.

    A `Standardizer` for the features, one for regression targets; the classes; how CSV columns become features.
    """

    task: str
    classes: tuple[Any, ...] | None
    features: tuple[str, ...]
    target: str
    columns: tuple[tables.Column, ...] | None
    x: Standardizer | None
    y: Standardizer | None

    @classmethod
    def fit(cls, data: Dataset, rows: np.ndarray) -> Recipe:
        """The recipe for a data set, with means and scales taken from `rows`, those to train on, alone."""
        x: Standardizer | None = None
        if data.x.dtype == np.uint8:
            # an image: scaled by its own deviation, a pixel that is nearly always black would reach into the hundreds
            x = Standardizer(np.zeros(data.x.shape[1]), np.full(data.x.shape[1], 255.0))
        elif not data.scaled:
            x = Standardizer.fit(data.x[rows])
        y = Standardizer.fit(_as_columns(data.y[rows])) if data.task == "regression" else None
        return cls(data.task, data.classes, data.features, data.target, data.columns, x, y)

    @property
    def outputs(self) -> int:
        """How many outputs the network needs."""
        return len(self.classes) if self.classes is not None else len(self.y.mean)  # type: ignore[union-attr]

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """x (rows, features) as the network takes it, float32."""
        return self.x.transform(x) if self.x is not None else np.ascontiguousarray(x, np.float32)

    def targets(self, y: np.ndarray) -> np.ndarray:
        """y as the loss takes it: class indices (rows,), or scaled targets (rows, outputs) float32."""
        return self.y.transform(_as_columns(y)) if self.y is not None else y

    @property
    def header(self) -> list[str]:
        """The names of the cells that `predictions` gives."""
        if self.classes is not None:
            return [self.target, *(f"probability_{label}" for label in self.classes)]
        return [self.target] if self.outputs == 1 else [f"{self.target}{i}" for i in range(self.outputs)]

    def predictions(self, output: np.ndarray) -> Iterator[list[str]]:
        """For each row of a network's output, the likeliest class and the probability of every one, or the targets."""
        if self.classes is None:
            yield from ([f"{value:.9g}" for value in row] for row in self.y.inverse(output))  # type: ignore[union-attr]
            return
        powers = np.exp(output - output.max(axis=1, keepdims=True))
        for row in powers / powers.sum(axis=1, keepdims=True):
            yield [str(self.classes[row.argmax()]), *(f"{p:.6g}" for p in row)]

    def scores(self, y: np.ndarray, output: np.ndarray) -> dict[str, float]:
        """How well a network's output fits y as the data set has it, by name, what counts most last.

        The accuracy, or R2 and the mean squared error in units of the file, means over several targets. R2 is left out
        when a target is constant.
        """
        if self.y is None:
            return {"accuracy": float(np.mean(output.argmax(axis=1) == y))}
        y = _as_columns(y)
        squared = np.square(self.y.inverse(output) - y).mean(axis=0)
        variance = y.var(axis=0)
        r2 = {"R2": float(np.mean(1 - squared / variance))} if (variance > 0).all() else {}
        return {**r2, "mean squared error": float(squared.mean())}

    def to_metadata(self) -> dict[str, Any]:
        """As JSON can hold it."""
        scales = {name: s and s.to_metadata() for name, s in (("x", self.x), ("y", self.y))}
        return {**self._asdict(), **scales}

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> Recipe:
        """What `to_metadata` wrote, after JSON made lists of its tuples."""
        scales = {name: metadata[name] and Standardizer.from_metadata(metadata[name]) for name in ("x", "y")}
        columns = metadata["columns"] and tuple(
            tables.Column(name, categories and tuple(categories)) for name, categories in metadata["columns"]
        )
        classes = metadata["classes"] and tuple(metadata["classes"])
        features = tuple(metadata["features"])
        return cls(metadata["task"], classes, features, metadata["target"], columns, **scales)


def _as_columns(y: np.ndarray) -> np.ndarray:
    return y[:, None] if y.ndim == 1 else y
