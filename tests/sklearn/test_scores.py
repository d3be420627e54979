"""The scores of a validation set are those of scikit-learn's metrics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, r2_score

from fastbp.sklearn import scores


@given(st.integers(2, 20), st.integers(1, 4), st.booleans(), st.integers(0, 10**6))
def test_scores(rows, outputs, weighted, seed):
    rng = np.random.default_rng(seed)
    y, output = rng.integers(0, 2, (rows, outputs)).astype(float), rng.integers(-1, 3, (rows, outputs)).astype(float)
    output[:, 0] = y[:, 0] if seed % 2 else output[:, 0]
    weights = rng.uniform(0.1, 1.0, rows) if weighted else None
    assert scores.r2(y, output, weights) == pytest.approx(r2_score(y, output, sample_weight=weights))
    signs = output > 0
    assert scores.accuracy(y, output, weights) == pytest.approx(accuracy_score(y, signs, sample_weight=weights))
    labels, classes = y[:, 0].astype(int), np.argmax(output, axis=1)
    assert scores.accuracy(labels, output, weights) == pytest.approx(
        accuracy_score(labels, classes, sample_weight=weights)
    )


def test_an_output_that_is_not_finite_has_no_score():
    assert np.isnan(scores.r2(np.ones((2, 1)), np.array([[1.0], [np.inf]]), None))
