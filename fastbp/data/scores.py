"""How well outputs fit y: the share of samples that are classified right, and of the variance that is explained."""

from __future__ import annotations

import numpy as np


def largest_is_right(y: np.ndarray, output: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the share of samples whose largest output is that of label y (rows,), or of the largest number in their row of
    y."""
    labels = y if y.ndim == 1 else np.argmax(y, axis=1)
    return float(np.average(np.argmax(output, axis=1) == labels, weights=weights))


def same_sides(
    y: np.ndarray, output: np.ndarray, weights: np.ndarray | None = None, of_output: float = 0.0, of_y: float = 0.5
) -> float:
    """Return the share of samples all of whose outputs are on the same side of `of_output` as their y is of `of_y`."""
    same = (output > of_output) == (y.reshape(output.shape) > of_y)
    return float(np.average(same.all(axis=1), weights=weights))


def r2(y: np.ndarray, output: np.ndarray, weights: np.ndarray | None = None) -> float:
    """1 - the share of y's variance that the output leaves, the mean over outputs; NaN where an output is not finite.

    An output whose y is constant counts 1 if it is met exactly, otherwise 0, as `sklearn.metrics.r2_score` has it.
    """
    if not np.isfinite(output).all():
        return float("nan")
    left = np.average((y - output) ** 2.0, axis=0, weights=weights)
    variance = np.average((y - np.average(y, axis=0, weights=weights)) ** 2.0, axis=0, weights=weights)
    share = np.where(left == 0, 0.0, 1.0)
    np.divide(left, variance, out=share, where=(variance != 0) & (left != 0))
    return float(np.mean(1.0 - share))
