"""Holds out rows for validation."""

from __future__ import annotations

import numpy as np

from fastbp.checks import real_number, whole_number
from fastbp.data.convert import same_length


def train_validation_split(
    rows: int, share: float, seed: int, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the rows to train on and to hold out, each ascending; the same for the same arguments.

    About share * rows are held out, at least one, never all. With `labels` (rows,) the same share of every class is held
    out, as nearly as whole rows allow, and keeps at least one row to train on. ValueError unless 0 < share < 1 and
    rows >= 2.
    """
    rows = whole_number("rows", rows, at_least=2)
    share = real_number("share", share, above=0, below=1)
    shuffled = np.random.Generator(np.random.PCG64(seed)).permutation(rows)
    count = min(max(round(rows * share), 1), rows - 1)
    if labels is None:
        held_out = shuffled[:count]
    else:
        same_length(rows=shuffled, labels=labels)
        held_out = _stratified(shuffled, np.asarray(labels)[shuffled], count)
        if len(held_out) == 0:  # every class has one row only
            held_out = shuffled[:count]
    chosen = np.zeros(rows, dtype=bool)
    chosen[held_out] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _stratified(shuffled: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of the shuffled rows, from each class in proportion: fewer where a class would lose its last row."""
    _, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    exact = sizes * (count / len(shuffled))
    quota = np.floor(exact).astype(np.int64)
    left_over = count - int(quota.sum())
    quota[np.argsort(quota - exact, kind="stable")[:left_over]] += 1  # the largest fractions get the rows left over
    quota = np.minimum(quota, sizes - 1)
    return np.concatenate([shuffled[inverse == k][:n] for k, n in enumerate(quota)])
