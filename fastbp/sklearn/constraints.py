"""What scikit-learn lets pass as a parameter of either estimator."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from fastbp.activations import CustomActivation, names
from fastbp.optimizers import Optimizer
from fastbp.sklearn.solvers import SOLVERS


def at_least(low: float, kind: type = Real) -> Interval:
    return Interval(kind, low, None, closed="left")


CONSTRAINTS: dict[str, Any] = {
    "hidden_layer_sizes": ["array-like", at_least(1, Integral)],
    "activation": [StrOptions({"logistic", *names}), "array-like", CustomActivation],
    "solver": [StrOptions(set(SOLVERS)), Optimizer],
    "alpha": [at_least(0)],
    "batch_size": [StrOptions({"auto"}), at_least(1, Integral)],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [at_least(0)],
    "max_iter": [at_least(1, Integral)],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [at_least(0)],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="left")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [at_least(1, Integral), Options(Real, {np.inf})],
    "max_fun": [at_least(1, Integral)],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "restore_best_weights": ["boolean"],
}
