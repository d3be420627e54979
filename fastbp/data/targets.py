"""The targets that a cost can take, and the sentence that names the first one outside of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastbp.data import convert

ROUNDING = 1e-6  # by which a probability may lie outside 0 .. 1, as 1 - p computed in float32 may
SUM_TOLERANCE = 1e-3  # by which the sum of probabilities may differ from 1, as when they were rounded to float16


class Domain(NamedTuple):
    """The targets that a cost can take, beside labels."""

    least: float = -np.inf
    most: float = np.inf
    sum_tolerance: float = np.inf  # by which the sum of a row may differ from 1
    expected: str = "finite numbers"

    def fault(self, name: str, y: np.ndarray, counts: np.ndarray | None = None) -> str | None:
        """Return the sentence that names the first target outside, in a row that counts; None if there is none.

        y: real numbers (rows, columns). counts: a bool for each row, whether it counts; None: all do.
        """
        if self.least == -np.inf:
            return None
        for part, rows in convert.in_parts(y):
            low, high = part.min(), part.max()
            sums = part.sum(axis=1, dtype=np.float64) if self.sum_tolerance < np.inf else np.ones(1)
            inside = self.least <= low and high <= self.most  # False for NaN
            if inside and abs(sums - 1.0).max() <= self.sum_tolerance:
                continue
            if found := self._first(name, part, rows, counts):
                return found
        return None

    def _first(self, name: str, part: np.ndarray, rows: slice, counts: np.ndarray | None) -> str | None:
        good = (part >= self.least) & (part <= self.most)
        sums = part.sum(axis=1, dtype=np.float64)
        wrong = ~good.all(axis=1) | ~(abs(sums - 1.0) <= self.sum_tolerance)
        if counts is not None:
            wrong &= counts[rows]
        if not wrong.any():
            return None
        row = int(np.argmax(wrong))
        if good[row].all():
            return f"{name}: got a sum of {sums[row]:.6g} in row {rows.start + row}, expected {self.expected}"
        column = int(np.argmin(good[row]))
        got = part[row, column].item()
        expected = self.expected if np.isfinite(got) else "finite numbers"
        return f"{name}: got {got!r} in row {rows.start + row}, column {column}, expected {expected}"


ANY = Domain()
CLASSES = Domain(-ROUNDING, 1.0 + ROUNDING, SUM_TOLERANCE, "labels, or rows of probabilities, whose sum is 1")
CHANCES = Domain(-ROUNDING, 1.0 + ROUNDING, expected="numbers from 0 to 1")
COUNTS = Domain(0.0, expected="numbers of at least 0")
