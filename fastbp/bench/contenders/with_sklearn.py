"""scikit-learn: `MLPClassifier.fit`, warm-started."""

from __future__ import annotations

import warnings

import numpy as np

from fastbp.bench.contenders import ADAM, Contender
from fastbp.bench.workload import Parameters, Workload


def mlp(work: Workload, parameters: Parameters, x: np.ndarray, y: np.ndarray) -> Contender:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    if work.sizes[-1] == 2:
        raise ValueError("for two classes it trains a network with one output")
    warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch at a time
    net = MLPClassifier(
        work.sizes[1:-1], activation={"sigmoid": "logistic"}.get(work.activation, work.activation),
        solver=work.optimizer, learning_rate_init=work.learning_rate, batch_size=work.batch_size, max_iter=1,
        shuffle=False, warm_start=True, momentum=0.0, alpha=0.0,
        beta_1=ADAM["beta1"], beta_2=ADAM["beta2"], epsilon=ADAM["epsilon"],
    )  # fmt: skip
    net.fit(x, y)  # makes the arrays
    for coefficients, intercepts, (weight, bias) in zip(net.coefs_, net.intercepts_, parameters, strict=True):
        coefficients[:], intercepts[:] = weight.T, bias

    def current() -> Parameters:
        return [(c.T.copy(), i.copy()) for c, i in zip(net.coefs_, net.intercepts_, strict=True)]

    return Contender(lambda: net.fit(x, y), current)
