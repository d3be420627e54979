"""The solver `lbfgs`: SciPy's L-BFGS-B over the flat vector of parameters, with cost and gradient from compiled code."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import scipy.optimize

from fastbp.engine.cost_gradient import gradient_slice
from fastbp.network.blocks import SliceBlock
from fastbp.network.configure import configure_loss
from fastbp.network.network import Network
from fastbp.network.samples import Samples
from fastbp.sklearn.objective import Objective
from fastbp.sklearn.solvers import penalty_of
from fastbp.sklearn.sparse import SparseSamples, dense_rows, rows_at_once, samples_of
from fastbp.sklearn.warned import iterations_of
from fastbp.training.run import FIRST_ALONE

NUMBERS_AT_ONCE = 4 << 20  # activations and deltas in one minibatch


class Cost:
    """The cost of all samples and its gradient, as a function of the parameters: float64 to float64."""

    def __init__(self, net: Network, objective: Objective, samples: Samples, penalty: float):
        net.state.refuse_read_only()
        self.net, self.objective, self.penalty = net, objective, penalty
        neurons = 2 * sum(layer.outputs for layer in net.layers) + net.inputs
        self.samples, self.count = samples, len(samples)
        self.rows = min(self.count, max(256, NUMBERS_AT_ONCE // neurons))
        if isinstance(samples, SparseSamples):
            self.rows = min(self.rows, rows_at_once(samples.x))
        self.training = net.workspaces.for_purpose("lbfgs", self.rows, stores=True)
        configure_loss(self.training, objective.loss, net.dtype.name)
        self.dense = None if isinstance(samples, SparseSamples) else samples.block(self.training)
        self.weights = list(net.decayed())
        self.workers, self.shares_from = net.sharing.region_for(self.rows), time.perf_counter() + FIRST_ALONE
        self.reported = np.nan

    def __call__(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        net, gradient, cost, weight = self.net, np.zeros(len(parameters)), 0.0, 0.0
        net.parameters[:] = parameters
        for first in range(0, self.count, self.rows):
            last = min(first + self.rows, self.count)
            block = self.block(first, last)
            self.run(block)
            cost, weight = cost + block["cost"], weight + block["weight"]
            gradient += block["weight"] * net.gradients
        cost, gradient, penalty = cost / weight, gradient / weight, 0.0
        for part in self.weights:
            penalty += 0.5 * self.penalty * (parameters[part] @ parameters[part]) / weight
            gradient[part] += self.penalty / weight * parameters[part]
        self.reported = self.objective.reported(cost, penalty)
        return cost + penalty, gradient

    def run(self, block: SliceBlock) -> None:
        """Compute cost and gradient of a block, at first on one thread."""
        block.run(gradient_slice, self.workers if time.perf_counter() >= self.shares_from else 0)

    def block(self, first: int, last: int) -> SliceBlock:
        """Return those rows as a minibatch."""
        if isinstance(self.samples, SparseSamples):
            block = dense_rows(self.samples, slice(first, last)).block(self.training)
            block.set(first=0, last=last - first)
            return block
        assert self.dense is not None
        self.dense.set(first=first, last=last, cost=0.0, weight=0.0)
        return self.dense


def fit_lbfgs(
    estimator: Any, net: Network, objective: Objective, X: Any, y: np.ndarray, weights: np.ndarray | None
) -> None:
    """Train the network; sets `n_iter_` and `loss_`, warns where it did not converge. ValueError, with the weights of before,
    where the loss is not finite."""
    before = net.parameters.copy()
    cost = Cost(net, objective, samples_of(net, objective.loss, X, y, weights).checked(), penalty_of(estimator))
    result = scipy.optimize.minimize(
        cost, net.parameters.astype(np.float64), method="L-BFGS-B", jac=True,
        options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
        callback=Report(cost) if estimator.verbose else None,
    )  # fmt: skip
    cost(result.x)
    if not (np.isfinite(cost.reported) and np.isfinite(net.parameters).all()):
        net.parameters[:] = before
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
            " preprocessed."
        )
    estimator.n_iter_, estimator.loss_ = iterations_of(result, estimator.max_iter), cost.reported


class Report:
    """Prints a line an iteration."""

    def __init__(self, cost: Cost):
        self.cost, self.iteration = cost, 0

    def __call__(self, parameters: np.ndarray) -> None:
        self.iteration += 1
        print(f"Iteration {self.iteration}, loss = {self.cost.reported:.8f}")
