"""Brings columns to mean 0 and variance 1, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp.data.convert import in_parts


@dataclass(frozen=True, eq=False)
class Standardizer:
    """Columns brought to mean 0 and standard deviation 1: (x - mean) / scale, with mean and scale (columns,) float64.

    A constant column has scale 1: it becomes 0, and another value met later stays in proportion.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray) -> Standardizer:
        """Make the one for the columns of x (rows, columns), finite; ValueError if numbers are too large or small to square."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean = x.mean(axis=0, dtype=np.float64)
            scale = x.std(axis=0, dtype=np.float64)
        # rounding gives a constant column of 0.1 a deviation of 1e-17, so its range tells
        scale[x.max(axis=0) == x.min(axis=0)] = 1.0
        unfit = ~(np.isfinite(mean) & np.isfinite(scale) & (scale > 0))
        if unfit.any():
            column = int(np.argmax(unfit))
            got = f"mean {mean[column]} and deviation {scale[column]} in column {column}"
            raise ValueError(f"x: got {got}, expected values whose squares float64 can hold")
        return cls(mean, scale)

    def transform(self, x: np.ndarray, dtype: Any = np.float32, titles: Sequence[Any] | None = None) -> np.ndarray:
        """Return (x - mean) / scale of x (rows, columns), computed in float64, as `dtype` in C order.

        ValueError, with its place and the column's title, if it has one, for a number that is finite in x and not in `dtype`.
        """
        out = np.empty(x.shape, dtype)
        for part, rows in in_parts(x):
            with np.errstate(over="ignore", invalid="ignore"):
                out[rows] = (part - self.mean) / self.scale
            lost = np.isfinite(part) & ~np.isfinite(out[rows])
            if lost.any():
                row, column = np.argwhere(lost)[0]
                got, place = part[row, column].item(), f"row {rows.start + row}, column {column}"
                place += f" ({titles[column]!r})" if titles else ""
                raise ValueError(f"x: got {got!r} in {place}, expected numbers that {out.dtype} holds when scaled")
        return out

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """Return x * scale + mean in float64: what `transform` was given."""
        return np.asarray(x, np.float64) * self.scale + self.mean

    def to_metadata(self) -> dict[str, Sequence[float]]:
        """Return mean and scale as lists, for a model file: JSON keeps every bit of a float64."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_metadata(cls, metadata: dict[str, Sequence[float]]) -> Standardizer:
        """Make the one that `to_metadata` wrote."""
        return cls(np.array(metadata["mean"], np.float64), np.array(metadata["scale"], np.float64))
