"""The recipe that takes a data set's rows to a network, and its output back to labels and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastbp.data import scores, tables
from fastbp.data.files import Dataset
from fastbp.data.scaling import Standardizer

_PIXEL = 255.0  # the brightest pixel of eight bits


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
        """Make the recipe for a data set, with means and scales of the rows to train on, `rows`, alone."""
        x: Standardizer | None = None
        if data.images:
            # scaled by its own deviation, a pixel that is nearly always black would reach into the hundreds
            x = Standardizer(np.zeros(data.x.shape[1]), np.full(data.x.shape[1], _white(data.x[rows])))
        elif not data.scaled:
            x = Standardizer.fit(data.x[rows])
        y = Standardizer.fit(_as_columns(data.y[rows])) if data.task == "regression" else None
        return cls(data.task, data.classes, data.features, data.target, data.columns, x, y)

    @property
    def outputs(self) -> int:
        """The number of outputs that the network needs."""
        return len(self.classes) if self.classes is not None else len(self.y.mean)  # type: ignore[union-attr]

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """Return x (rows, features) as the network takes it, float32; ValueError for what float32 does not hold when scaled."""
        if self.x is not None:
            inputs = self.x.transform(x, titles=self.features)
        else:
            with np.errstate(over="ignore"):
                inputs = np.ascontiguousarray(x, np.float32)
        if not np.isfinite(inputs).all():
            row, column = (int(i[0]) for i in np.nonzero(~np.isfinite(inputs)))
            got = f"got {x[row, column].item()!r} in row {row}, column {column} ({self.features[column]!r})"
            raise ValueError(f"x: {got}, expected numbers that float32 holds, scaled as in the training")
        return inputs

    def targets(self, y: np.ndarray) -> np.ndarray:
        """Return y as the loss takes it: class indices (rows,), or scaled targets (rows, outputs) float32."""
        return self.y.transform(_as_columns(y)) if self.y is not None else y

    @property
    def header(self) -> list[str]:
        """The names of the cells that `predictions` gives."""
        if self.classes is not None:
            return [self.target, *(f"probability_{label}" for label in self.classes)]
        return [self.target] if self.outputs == 1 else [f"{self.target}{i}" for i in range(self.outputs)]

    def predictions(self, output: np.ndarray) -> Iterator[list[str]]:
        """Yield the cells for each row of a network's output: the likeliest class and all probabilities, or the targets."""
        if self.classes is None:
            yield from ([f"{value:.9g}" for value in row] for row in self.y.inverse(output))  # type: ignore[union-attr]
            return
        powers = np.exp(output - output.max(axis=1, keepdims=True))
        for row in powers / powers.sum(axis=1, keepdims=True):
            yield [str(self.classes[row.argmax()]), *(f"{p:.6g}" for p in row)]

    def scores(self, y: np.ndarray, output: np.ndarray) -> dict[str, float]:
        """Return how well a network's output fits y as the data set has it: scores by name, the most important one last.

        The accuracy, or R2 and the mean squared error in units of the file, means over several targets. R2 is left out
        when a target is constant.
        """
        if self.y is None:
            return {"accuracy": scores.largest_is_right(y, output)}
        y, output = _as_columns(y), self.y.inverse(output)
        r2 = {"R2": scores.r2(y, output)} if (y.var(axis=0) > 0).all() else {}
        return {**r2, "mean squared error": float(np.square(output - y).mean())}

    def to_metadata(self) -> dict[str, Any]:
        """Return the recipe as JSON can hold it."""
        scales = {name: s and s.to_metadata() for name, s in (("x", self.x), ("y", self.y))}
        return {**self._asdict(), **scales}

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> Recipe:
        """Make the recipe that `to_metadata` wrote, after JSON made lists of its tuples."""
        scales = {name: metadata[name] and Standardizer.from_metadata(metadata[name]) for name in ("x", "y")}
        columns = metadata["columns"] and tuple(
            tables.Column(name, categories and tuple(categories)) for name, categories in metadata["columns"]
        )
        classes = metadata["classes"] and tuple(metadata["classes"])
        features = tuple(metadata["features"])
        return cls(metadata["task"], classes, features, metadata["target"], columns, **scales)


def _white(pixels: np.ndarray) -> float:
    """Return the brightest that a pixel can be: 255, or the brightest of all where all are dark, as in masks of 0 and 1."""
    brightest = float(pixels.max())
    return _PIXEL if brightest > _PIXEL / 2 else max(brightest, 1.0)


def _as_columns(y: np.ndarray) -> np.ndarray:
    return y[:, None] if y.ndim == 1 else y
