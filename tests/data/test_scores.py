"""The scores of a validation set are those of scikit-learn's metrics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp.data import scores


@given(st.integers(2, 20), st.integers(1, 4), st.booleans(), st.integers(0, 10**6))
def test_scores(rows, outputs, weighted, seed):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    y, output = rng.integers(0, 2, (rows, outputs)).astype(float), rng.integers(-1, 3, (rows, outputs)).astype(float)
    output[:, 0] = y[:, 0] if seed % 2 else output[:, 0]
    weights = rng.uniform(0.1, 1.0, rows) if weighted else None
    assert scores.r2(y, output, weights) == pytest.approx(metrics.r2_score(y, output, sample_weight=weights))
    right = metrics.accuracy_score(y, output > 0, sample_weight=weights)
    assert scores.same_sides(y, output, weights) == pytest.approx(right)
    labels, classes = y[:, 0].astype(int), np.argmax(output, axis=1)
    right = metrics.accuracy_score(labels, classes, sample_weight=weights)
    assert scores.largest_is_right(labels, output, weights) == pytest.approx(right)
    one_hot = np.eye(outputs + 1)[labels % outputs]
    assert scores.largest_is_right(one_hot, output, weights) == scores.largest_is_right(
        labels % outputs, output, weights
    )


def test_an_output_that_is_not_finite_has_no_score():
    assert np.isnan(scores.r2(np.ones((2, 1)), np.array([[1.0], [np.inf]])))
