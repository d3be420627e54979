"""The cost and gradient that lbfgs is given."""

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

import fastbp as fb
from fastbp.network.samples import Samples
from fastbp.sklearn import lbfgs, sparse
from fastbp.sklearn.objective import classification, regression

rng = np.random.default_rng(0)
X = rng.standard_normal((300, 4))
Y = rng.standard_normal((300, 2))


def network(dtype="float64"):
    return fb.Sequential(fb.Dense(4, 5, "tanh"), fb.Dense(5, 2), dtype=dtype)


def test_the_gradient_is_that_of_the_cost():
    cases = [
        (regression("squared_error", Y, None), Y),
        (regression("poisson", np.abs(Y), None), np.abs(Y)),
        (classification("log_loss", 2, False), (Y > 0).astype(float)),
        (classification("log_loss", 2, True), np.arange(300) % 2),
    ]
    for objective, y in cases:
        cost = lbfgs.Cost(network(), objective, Samples(network(), objective.loss, X, y, np.arange(300) + 1.0), 0.3)
        at = rng.standard_normal(37)
        measured = scipy.optimize.approx_fprime(at, lambda p, cost=cost: cost(p)[0], 1e-6)
        np.testing.assert_allclose(cost(at)[1], measured, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
def test_samples_in_parts_give_the_same_sums(form, monkeypatch):
    at, objective = rng.standard_normal(37), regression("squared_error", Y, None)
    found = []
    for numbers, samples in ((1 << 22, Samples), (1, sparse.samples_of)):
        monkeypatch.setattr(lbfgs, "NUMBERS_AT_ONCE", numbers)
        net = network()
        cost = lbfgs.Cost(net, objective, samples(net, objective.loss, X if samples is Samples else form(X), Y), 0.3)
        assert cost.rows == (300 if numbers > 1 else 256)
        found.append((*cost(at), cost.reported))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
