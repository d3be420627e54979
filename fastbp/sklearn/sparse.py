"""Sparse matrices: predictions read them as they are; to train on, they are made dense as a whole where that takes little
memory, otherwise piece by piece."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse

from fastbp.callbacks import EarlyStopping
from fastbp.compiler.llvm import value_in
from fastbp.data import convert
from fastbp.engine import sparse_rows as compiled
from fastbp.engine import table
from fastbp.engine.memory import StateArrays, make_training, set_fields
from fastbp.losses import Loss
from fastbp.network.blocks import Description, raise_from
from fastbp.network.network import Network
from fastbp.network.samples import TRAINING, Evaluation, Samples
from fastbp.network.sharing import PREDICT_ROWS
from fastbp.training.jobs import JobSpec
from fastbp.training.rollback import RefusedData
from fastbp.training.rows import Rows
from fastbp.training.run import Piece, Run

DENSE_BYTES = 1 << 28  # the largest matrix, in its dense form, that is made dense as a whole
BYTES_AT_ONCE = 1 << 25  # the dense rows of a larger one that exist at a time
ROWS_A_CALL = 1 << 12  # of a prediction: Ctrl-C waits for them


def dense_if_small(X: Any) -> Any:
    """Return X as a dense array, if it is one or would be small; else as a sparse matrix by rows."""
    if not scipy.sparse.issparse(X):
        return X
    return X.toarray() if X.shape[0] * X.shape[1] * X.dtype.itemsize <= DENSE_BYTES else X.tocsr()


def rows_at_once(X: Any) -> int:
    """Return the number of rows of a matrix that may be dense at a time."""
    return max(1, BYTES_AT_ONCE // (X.shape[1] * X.dtype.itemsize))


def row_slices(X: Any) -> Iterator[slice]:
    """Yield all rows of a matrix, as many at a time as may be dense."""
    step = rows_at_once(X)
    return (slice(first, first + step) for first in range(0, X.shape[0], step))


def output_of(net: Network, X: Any) -> np.ndarray:
    """Return the network's output for a dense or sparse X, with the same bits."""
    return Prediction(net, X.tocsr()).output() if scipy.sparse.issparse(X) else net.predict(X)


class Prediction:
    """The output of a network whose first layer is dense, for a sparse matrix by rows, which is read as it is."""

    def __init__(self, net: Network, X: Any):
        X.check_format()  # its numbers become addresses
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        dtype, rows = net.dtype, X.shape[0]
        if found := first_overflow("X", X, dtype):
            raise ValueError(found)
        self.net, self.out = net, np.empty((rows, net.outputs), dtype)
        self.entries = [X.indptr.astype(np.int64), X.indices.astype(np.int64), X.data.astype(dtype)]
        first, *others = (layer.operation(dtype.name) for layer in net.layers)
        first = first._replace(forward=compiled.sparse_forward.of(dtype.name).resolve())
        s, none = net.state, np.empty((0, 0), dtype)
        state = StateArrays(s.parameters, s.parameters[:0], none, np.zeros(2, np.int64), s.statistics, net.seed)
        at_once = min(rows, PREDICT_ROWS, rows_at_once(X))
        self.training = make_training([first, *others], state, at_once)

    def output(self) -> np.ndarray:
        """Compute the output."""
        network, out = self.training.network.ctypes.data, Description(self.out)
        pointers, columns, values = (array.ctypes.data for array in self.entries)
        block = np.array(compiled.SparseRows(network, pointers, columns, values, 0, 0, out.address), np.int64)
        for first in range(0, len(self.out), ROWS_A_CALL):
            set_fields(block, compiled.SPARSE_ROWS, first=first, last=min(first + ROWS_A_CALL, len(self.out)))
            compiled.predict_sparse.of(self.net.dtype.name).run(block.ctypes.data)
            raise_from(self.training)
        return self.out


class SparseSamples(Samples):
    """Samples whose x is sparse; compiled code reads `dense_rows` of them."""

    def __init__(self, net: Network, loss: Loss, x: Any, y: Any, weights: Any = None, names: str = TRAINING):
        super().__init__(net, loss, np.broadcast_to(np.zeros((), x.dtype), x.shape), y, weights, names)
        self.sparse = x

    def wrong_number(self, used: np.ndarray | None = None) -> str | None:
        """Return the sentence that dense samples return, but for the column. NaN and infinity the estimators have refused."""
        return first_overflow(self.x_name, self.sparse, self.dtype)


def first_overflow(name: str, X: Any, dtype: Any) -> str | None:
    """Return the sentence that names the first number of a matrix by rows that becomes infinite in `dtype`, if there is
    one."""
    if not convert.first_overflow(name, X.data, dtype):
        return None
    with np.errstate(over="ignore"):
        place = np.argmin(np.isfinite(X.data.astype(dtype)))
    row = np.searchsorted(X.indptr, place, side="right") - 1
    return f"{name}: got {X.data[place].item()!r} in row {row}, expected numbers that {np.dtype(dtype)} holds"


def dense_rows(samples: Samples, rows: Any) -> Samples:
    """Return those rows of dense or sparse samples, dense, in that order."""
    some = copy.copy(samples)
    some.x = samples.sparse[rows].toarray() if isinstance(samples, SparseSamples) else samples.x[rows]
    some.y = np.ascontiguousarray(samples.y[rows])
    some.weights = None if samples.weights is None else samples.weights[rows]
    return some


def samples_of(net: Network, loss: Loss, x: Any, y: Any, weights: Any = None, names: str = TRAINING) -> Samples:
    """Return the samples of a dense or sparse x."""
    kind = SparseSamples if scipy.sparse.issparse(x) else Samples
    return kind(net, loss, x, y, weights, names)


class SparseRows(Rows):
    """Rows of sparse samples as what a fit goes over: whole minibatches, as many at a time as may be dense."""

    def pieces(self, epoch: int, run: Run) -> Iterator[Piece]:
        """Yield dense rows, in the order of the epoch."""
        order = self.next_order(run.net)
        at_once = max(1, rows_at_once(self.samples.x) // self.batch_size) * self.batch_size
        for first in range(0, len(self.samples), at_once):
            rows = slice(first, first + at_once)
            piece = dense_rows(self.samples, rows if order is None else order[rows])
            yield Piece(piece, 0, len(piece), steps=-(-len(piece) // self.batch_size))


class SparseJob:
    """One network with sparse samples, to train on or to validate on: what `jobs.SingleJob` is to dense ones, with the same
    bits."""

    def __init__(self, spec: JobSpec, shuffle: bool, penalty: float, stopping: EarlyStopping | None):
        self.net, self.validation, self.stopping = spec.net, spec.validation, stopping
        kind = SparseRows if isinstance(spec.samples, SparseSamples) else Rows
        rows = kind(spec.samples, spec.batch_size, shuffle)
        self.run = Run(spec.net, rows, spec.loss, spec.optimizer, spec.epochs)
        self.history = spec.net.history = self.run.history
        self.penalties: list[float] = []
        self.diverged = not spec.net.state.keep_if_finite()
        set_fields(self.run.training.network, table.NETWORK, penalty=penalty)

    def advance(self, epochs: int) -> None:
        """Go on until `epochs` are finished in all, or a cost is not finite."""
        while len(self.history.cost) < epochs and not self.diverged:
            try:
                self.train_epoch()
            except (RefusedData, FloatingPointError):
                self.diverged = True

    def train_epoch(self) -> None:
        """Train for one epoch, and measure what is measured after it."""
        run, history, network = self.run, self.history, self.run.training.network
        set_fields(network, table.NETWORK, penalties=0.0)
        run.epoch(len(history.cost))
        self.penalties.append(value_in(network, table.Network, "penalties") / run.weight)
        if self.validation is not None:
            history.validation_cost.append(evaluate(self.validation))
        if self.stopping is not None:
            self.stopping.on_epoch_end(self.net, history)

    def finish(self) -> None:
        """Bring back the last finite epoch or the best one, also where the fit was interrupted."""
        if self.diverged:
            self.net.state.values[:] = self.net.kept
        if self.stopping is not None:
            self.stopping.on_fit_end(self.net, self.history)


def evaluate(evaluation: Evaluation) -> float:
    """Return the cost over dense or sparse samples."""
    samples = evaluation.samples
    if not isinstance(samples, SparseSamples):
        return evaluation.cost()
    total = total_weight = 0.0
    for rows in row_slices(samples.sparse):
        some = dense_rows(samples, rows)
        weight = len(some) if some.weights is None else float(some.weights.sum())
        if weight:
            total += weight * Evaluation(evaluation.net, evaluation.loss, some).cost()
        total_weight += weight
    return total / total_weight
