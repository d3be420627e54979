"""Quality beside speed: the cost after a fixed number of steps, and the accuracy of activations in units in the last place."""

import numpy as np

import fastbp as fb
from benchmarks import training
from benchmarks.cases import DTYPES, FAST, draw, skip
from fastbp import kernels

EXACT = {
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "softplus": lambda z: np.log1p(np.exp(z)),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "silu": lambda z: z / (1 + np.exp(-z)),
}


class Accuracy:
    """The largest error of an activation over numbers of all magnitudes from 1e-3 to 20."""

    params = (tuple(EXACT)[:2] if FAST else tuple(EXACT), DTYPES)
    param_names = ("activation", "dtype")
    unit = "ulp"

    def track_activate_ulp(self, activation, dtype):
        wider = {"float32": np.float64, "float64": np.longdouble}[dtype]
        if np.finfo(wider).eps >= np.finfo(dtype).eps:
            skip("this machine has no wider type to compare with")
        signs = np.sign(draw(100_000, seed=1))
        z = (signs * np.exp(np.random.default_rng(0).uniform(np.log(1e-3), np.log(20), signs.size))).astype(dtype)
        exact = EXACT[activation](z.astype(wider))
        got = kernels.activate(z, getattr(fb.Activation, activation.upper()))
        return float((np.abs(got - exact) / np.spacing(np.abs(exact).astype(dtype))).max())

    def check(self, *case):
        assert 0 < self.track_activate_ulp(*case) < 5


class Learning:
    """What ten epochs of `fit` on the digits lead to."""

    def track_cost_after_570_steps(self):
        return training.fit_digits("all").history.cost[-1]

    def check(self):
        assert 0 < self.track_cost_after_570_steps() < 0.2
