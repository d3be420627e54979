"""Sparse matrices: predictions read them as they are; to train on, they are made dense at once where that takes little memory,
otherwise as many rows at a time as it takes."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse

from fastbp.data import convert
from fastbp.engine.memory import StateArrays, make_training, set_fields
from fastbp.engine.sparse_rows import SPARSE_ROWS, SparseRows, predict_sparse, sparse_forward
from fastbp.engine.table import NETWORK
from fastbp.engine.train import train_slice
from fastbp.losses import Loss
from fastbp.network.blocks import Description, raise_from
from fastbp.network.network import Network
from fastbp.network.samples import TRAINING, Evaluation, Samples
from fastbp.network.sharing import PREDICT_ROWS
from fastbp.training.history import History
from fastbp.training.jobs import Plan
from fastbp.training.run import Fit, epoch_order

DENSE_BYTES = 1 << 28  # a matrix of so many is made dense at once
BYTES_AT_ONCE = 1 << 25  # of a larger one, so many
ROWS_A_CALL = 1 << 12  # of a prediction: Ctrl-C waits for them


def handy(X: Any) -> Any:
    """X as a dense array, if it is one or would be small; else as a sparse matrix by rows."""
    if not scipy.sparse.issparse(X):
        return X
    return X.toarray() if X.shape[0] * X.shape[1] * X.dtype.itemsize <= DENSE_BYTES else X.tocsr()


def rows_at_once(X: Any) -> int:
    """How many rows of a matrix may be dense at a time."""
    return max(1, BYTES_AT_ONCE // (X.shape[1] * X.dtype.itemsize))


def parts_of(X: Any) -> Iterator[slice]:
    """All rows of a matrix, as many at a time as may be dense."""
    step = rows_at_once(X)
    return (slice(first, first + step) for first in range(0, X.shape[0], step))


def output_of(net: Network, X: Any) -> np.ndarray:
    """The network's output for a dense or sparse X, with the same bits."""
    return Prediction(net, X.tocsr()).output() if scipy.sparse.issparse(X) else net.predict(X)


class Prediction:
    """The output of a network whose first layer is dense, for a sparse matrix by rows, which is read as it is."""

    def __init__(self, net: Network, X: Any):
        X.check_format()  # whose numbers become addresses
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        dtype, rows = net.dtype, X.shape[0]
        if found := first_overflow("X", X, dtype):
            raise ValueError(found)
        self.net, self.out = net, np.empty((rows, net.outputs), dtype)
        self.entries = [X.indptr.astype(np.int64), X.indices.astype(np.int64), X.data.astype(dtype)]
        first, *others = (layer.operation(dtype.name) for layer in net.layers)
        first = first._replace(forward=sparse_forward.of(dtype.name).resolve())
        s, none = net.state, np.empty((0, 0), dtype)
        state = StateArrays(s.parameters, s.parameters[:0], none, np.zeros(2, np.int64), s.statistics, net.seed)
        at_once = min(rows, PREDICT_ROWS, rows_at_once(X))
        self.training = make_training([first, *others], state, at_once)

    def output(self) -> np.ndarray:
        network, out = self.training.network.ctypes.data, Description(self.out)
        pointers, columns, values = (array.ctypes.data for array in self.entries)
        block = np.array(SparseRows(network, pointers, columns, values, 0, 0, out.address), np.int64)
        for first in range(0, len(self.out), ROWS_A_CALL):
            set_fields(block, SPARSE_ROWS, first=first, last=min(first + ROWS_A_CALL, len(self.out)))
            predict_sparse.of(self.net.dtype.name).run(block.ctypes.data)
            raise_from(self.training)
        return self.out


class SparseSamples(Samples):
    """Samples whose x is sparse; compiled code can read a `part_of` them."""

    def __init__(self, net: Network, loss: Loss, x: Any, y: Any, weights: Any = None, names: str = TRAINING):
        super().__init__(net, loss, np.broadcast_to(np.zeros((), x.dtype), x.shape), y, weights, names)
        self.sparse = x

    def wrong_number(self, used: np.ndarray | None = None) -> str | None:
        """As of dense samples, but for the column; the estimators have looked for NaN and infinity."""
        return first_overflow(self.x_name, self.sparse, self.dtype)


def first_overflow(name: str, X: Any, dtype: Any) -> str | None:
    """The sentence that names the first number of a matrix by rows that becomes infinite in `dtype`, if there is one."""
    if not convert.first_overflow(name, X.data, dtype):
        return None
    with np.errstate(over="ignore"):
        place = np.argmin(np.isfinite(X.data.astype(dtype)))
    row = np.searchsorted(X.indptr, place, side="right") - 1
    return f"{name}: got {X.data[place].item()!r} in row {row}, expected numbers that {np.dtype(dtype)} holds"


def part_of(samples: Samples, rows: Any) -> Samples:
    """Those rows of dense or sparse samples, dense, in that order."""
    some = copy.copy(samples)
    some.x = samples.sparse[rows].toarray() if isinstance(samples, SparseSamples) else samples.x[rows]
    some.y = np.ascontiguousarray(samples.y[rows])
    some.weights = None if samples.weights is None else samples.weights[rows]
    return some


def samples_of(net: Network, loss: Loss, x: Any, y: Any, weights: Any = None, names: str = TRAINING) -> Samples:
    """Samples of a dense or sparse x."""
    kind = SparseSamples if scipy.sparse.issparse(x) else Samples
    return kind(net, loss, x, y, weights, names)


class AloneOnSparse:
    """One network whose samples are sparse: what `jobs.Alone` is to dense ones, with the same bits."""

    def __init__(self, plan: Plan, shuffle: bool, penalty: float, restores_best: bool):
        self.plan, self.shuffle, self.net = plan, shuffle, plan.net
        assert plan.samples is not None
        self.samples = plan.samples
        self.run = Fit(plan.net, plan.samples, plan.loss, plan.optimizer, plan.batch_size, plan.epochs, shuffle)
        self.history = plan.net.history = History()
        self.penalties: list[float] = []
        self.diverged = not plan.net.state.keep_if_finite()
        self.best_cost, self.best = np.inf, np.empty_like(self.net.state.values) if restores_best else None
        self.rows_at_once = max(1, rows_at_once(plan.samples.x) // self.run.batch_size) * self.run.batch_size
        set_fields(self.run.training.network, NETWORK, penalty=penalty)

    def advance(self, epochs: int) -> None:
        """Go on until so many epochs are finished in all, or a cost is not finite."""
        while len(self.history.cost) < epochs and not self.diverged:
            self.train_epoch()

    def train_epoch(self) -> None:
        began, run, count = time.perf_counter(), self.run, len(self.samples)
        set_fields(run.training.network, NETWORK, penalties=0.0)
        order = epoch_order(self.net, count) if self.shuffle else np.arange(count)
        cost = weight = 0.0
        for first in range(0, count, self.rows_at_once):
            part = part_of(self.samples, order[first : first + self.rows_at_once])
            block = part.block(run.training)
            rates = run.rates(self.history.steps, -(-len(part) // run.batch_size)) if self.scheduled else None
            block.set(first=0, last=len(part), rates=0 if rates is None else rates.ctypes.data)
            block.run(train_slice, run.workers)
            if block["stopped"] >= 0:
                self.diverged = True
                return
            cost, weight = cost + block["cost"], weight + block["weight"]
            self.history.steps += -(-len(part) // run.batch_size)
        self.diverged = not self.net.state.keep_if_finite()
        if not self.diverged:
            self.note(cost / weight, weight, time.perf_counter() - began)

    @property
    def scheduled(self) -> bool:
        return not isinstance(self.plan.optimizer.learning_rate, float)

    def note(self, cost: float, weight: float, seconds: float) -> None:
        history, training = self.history, self.run.training
        history.cost.append(cost)
        history.seconds.append(seconds)
        history.learning_rate.append(float(training.learning_rate[0]))
        self.penalties.append(float(training.network.view(np.float64)[NETWORK["penalties"] // 8]) / weight)
        if self.plan.validation is not None:
            history.validation_cost.append(evaluated(self.plan.validation))
        latest = (history.validation_cost or history.cost)[-1]
        if self.best is not None and latest < self.best_cost:
            self.best_cost = latest
            self.best[:] = self.net.state.values

    def finish(self) -> None:
        """What follows the last epoch."""
        if self.diverged:
            self.net.state.values[:] = self.net.kept
        if self.best is not None and self.best_cost < np.inf:
            self.net.state.values[:] = self.best


def evaluated(evaluation: Evaluation) -> float:
    """The cost over dense or sparse samples."""
    samples = evaluation.samples
    if not isinstance(samples, SparseSamples):
        return evaluation.cost()
    total = total_weight = 0.0
    for rows in parts_of(samples.sparse):
        part = part_of(samples, rows)
        weight = len(part) if part.weights is None else float(part.weights.sum())
        if weight:
            total += weight * Evaluation(evaluation.net, evaluation.loss, part).cost()
        total_weight += weight
    return total / total_weight
