"""The only epoch loop: `fit` and its History; evaluation of a cost over data."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbp import callbacks as callbacks_module
from fastbp import data, losses, optimizers
from fastbp._code import call_code
from fastbp.engine import steps
from fastbp.engine.memory import Training
from fastbp.engine.order import SHUFFLE_STREAM, shuffle
from fastbp.lowering import SliceBlock, configure, configure_loss, in_compiled_form, slice_block
from fastbp.model import PREDICT_ROWS, Sequential, check_last_activation
from fastbp.pace import Pace
from fastbp.schedules import whole_number

__all__ = ["History", "fit"]

GUESSED_SECONDS = 0.01  # what the first compiled call aims at
SLICE_SECONDS = 0.05  # what one compiled call aims at: it lasts less than 0.1 s, and costs some 10 us by itself


@dataclass
class History:
    """What `fit` measured, an entry an epoch.

    cost: the mean over the samples, each as it was before the update of its minibatch; validation_cost: after the epoch,
    empty without validation data; metrics: a list by name; learning_rate: at the epoch's end; seconds: of the epoch's
    training. `steps` counts the updates of this fit.
    """

    cost: list[float] = field(default_factory=list)
    validation_cost: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    steps: int = 0


def accuracy(y: np.ndarray, output: np.ndarray) -> float:
    """The share of samples whose largest output is that of their class; of a single output, on the right side of 0."""
    if output.shape[1] == 1:
        return float(np.mean((output[:, 0] > 0) == (np.asarray(y).reshape(-1) > 0.5)))
    labels = y if y.ndim == 1 else np.argmax(y, axis=1)
    return float(np.mean(np.argmax(output, axis=1) == labels))


def mean_absolute_error(y: np.ndarray, output: np.ndarray) -> float:
    """The mean of |output - y|."""
    return float(np.mean(np.abs(output - y)))


METRICS = {"accuracy": accuracy, "mean_absolute_error": mean_absolute_error}


def as_metrics(metrics: Any) -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    """Metrics by name, from names and functions metric(y, output) -> float."""
    found: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {}
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, Iterable):
        raise TypeError(f"metrics: got {metrics!r}, expected names or functions (y, output)")
    for metric in metrics:
        if isinstance(metric, str) and metric in METRICS:
            found[metric] = METRICS[metric]
        elif callable(metric):
            found[getattr(metric, "__name__", repr(metric))] = metric
        else:
            raise ValueError(
                f"metrics: got {metric!r}, expected one of {', '.join(METRICS)}, or a function (y, output)"
            )
    return found


class Samples:
    """x, y and sample weights, checked, in the form that compiled code reads; all rows, or those that `only` names."""

    rows: np.ndarray | None = None

    def __init__(self, net: Sequential, loss: losses.Loss, x: Any, y: Any, weights: Any = None, names: str = "x y"):
        self.x_name, self.y_name = names.split()
        self.x = in_compiled_form(data.as_matrix(self.x_name, x, net.inputs))
        if np.ndim(y):
            data.same_length(**{self.x_name: self.x, self.y_name: y, "sample_weight": weights})
        self.y = in_compiled_form(loss.targets(y, len(self.x), net.outputs, self.y_name))
        self.weights = None if weights is None else data.as_weights("sample_weight", weights, len(self.x))

    def __len__(self) -> int:
        return len(self.x if self.rows is None else self.rows)

    def only(self, rows: np.ndarray | None) -> Samples:
        """The same samples, of which those rows count, int64 numbers, in that order; None: all."""
        some = copy.copy(self)
        some.rows = rows
        return some

    def masked(self, used: np.ndarray) -> Samples:
        """The same samples, with zeros in the rows that are not used."""
        some = copy.copy(self)
        some.x, some.y = (np.where(used.reshape(-1, *[1] * (a.ndim - 1)), a, 0) for a in (self.x, self.y))
        return some

    def block(self, training: Training) -> SliceBlock:
        """A Slice of these samples for `training`."""
        block = slice_block(training, x=self.x, y=self.y, weights=self.weights)
        block.set(order=0 if self.rows is None else self.rows.ctypes.data, order_stride=8)
        return block

    def non_finite(self) -> str | None:
        """The sentence that names the first NaN or infinity, if there is one."""
        return data.first_non_finite(self.x_name, self.x) or data.first_non_finite(self.y_name, self.y)


class Evaluation:
    """The cost of a network over samples."""

    def __init__(self, net: Sequential, loss: losses.Loss, samples: Samples):
        check_last_activation(net, loss)
        self.net, self.loss, self.samples = net, loss, samples

    def block(self, purpose: str = "inference") -> SliceBlock:
        training = self.net._workspace(purpose, min(len(self.samples), PREDICT_ROWS))
        configure_loss(training, self.loss, self.net.dtype.name)
        return self.samples.block(training)

    def cost(self) -> float:
        net, samples = self.net, self.samples
        workers = net.region_for(min(len(samples), PREDICT_ROWS))
        with net._inference:
            block = self.block()
            for first, last in net._slices(len(samples), PREDICT_ROWS):
                block.set(first=first, last=last)
                net._run(steps.evaluate_slice, block.address, workers)
        total = block.number("cost")
        if not np.isfinite(total) and (found := samples.non_finite()):
            raise ValueError(found)
        return total / block.number("weight")


def epoch_order(net: Sequential, rows: int) -> np.ndarray:
    """The row numbers of the next epoch, shuffled; depends on the network's seed and how often it was shuffled alone."""
    net.epochs_shuffled += 1
    order = np.empty(rows, np.int64)
    call_code(shuffle.of().resolve(), net.seed, SHUFFLE_STREAM + net.epochs_shuffled, rows, order.ctypes.data)
    return order


class RefusedData(ValueError):  # noqa: N818 (users see a ValueError)
    """NaN or infinity in what `fit` was given."""


class Snapshot:
    """A network before a fit, to go back to; the last finite parameters themselves are the network's `kept`."""

    def __init__(self, net: Sequential, samples: Samples, optimizer: optimizers.Optimizer):
        if not net.keep_if_finite():
            raise ValueError("parameters: got NaN or infinity before the first step, expected finite numbers")
        self.counters, self.rule, self.moments = net._counters.copy(), net._rule, net._moments
        self.epochs_shuffled, self.history = net.epochs_shuffled, net.history
        self.copied: np.ndarray | None = None  # of the moments, where they are about to change and not all 0
        self.changes_moments = bool(self.counters[0]) and self.rule == optimizer.rule
        if self.changes_moments:
            self.keep_moments(samples)

    def keep_moments(self, samples: Samples) -> None:
        """A copy of them, or the certainty that no number in the data will spoil them, whichever is cheaper."""
        if self.moments.nbytes <= samples.x.nbytes or samples.rows is not None:
            self.copied = self.moments.copy()
        elif found := samples.non_finite():
            raise ValueError(found)

    def restore(self, net: Sequential) -> None:
        """All in place: a Training may share these arrays."""
        net.parameters[:], net._counters[:] = net.kept, self.counters
        net._rule, net.epochs_shuffled, net.history = self.rule, self.epochs_shuffled, self.history
        net._moments = self.moments
        if self.copied is not None:
            net._moments[:] = self.copied
        elif not self.counters[0]:
            net._moments[:] = 0
        net._forget_workspaces()

    def begin_anew(self, net: Sequential) -> None:
        """Back to the last finite parameters, with the optimizer's state as if no step had been made."""
        net.parameters[:] = net.kept
        net._moments[:], net._counters[0] = 0, 0

    def go_back(self, net: Sequential, history: History) -> None:
        """After a cost that was not finite: to the last finite epoch, or to before the first one."""
        if history.cost or (self.changes_moments and self.copied is None):
            self.begin_anew(net)
        else:
            self.restore(net)


class Fit:
    """One call of `fit`: what it was given, and the state of its run."""

    def __init__(
        self, net: Sequential, samples: Samples, loss: losses.Loss, optimizer: Any, batch_size: int, epochs: int
    ):
        self.net, self.samples, self.loss = net, samples, loss
        self.optimizer = optimizer
        self.batch_size, self.epochs = min(batch_size, len(samples)), epochs
        self.steps_per_epoch = -(-len(samples) // self.batch_size)
        net._use_optimizer(optimizer)
        fused = net.fuses(optimizer, self.batch_size)
        self.training = net._workspace("fit", self.batch_size, stores=not fused)
        configure(self.training, loss, optimizer, net.dtype.name, fused)
        self.block = samples.block(self.training)
        self.workers = net.region_for(self.batch_size)
        self.pace = net._paces.setdefault(self.batch_size, Pace()) if self.workers else None
        self.steps_at_once = self.first_guess()
        self.history = History()

    def first_guess(self) -> int:
        """Steps for the first compiled call: some thousandths of a second, as a rule."""
        flops = 6.0 * self.batch_size * sum(layer.inputs * layer.outputs for layer in self.net.layers)
        return max(1, int(GUESSED_SECONDS / (flops / 1e10 + 5e-6)))

    def run_epoch(self, epoch: int, shuffle: bool) -> None:
        """One epoch, in slices; the cost that is not finite, or a wrong label, raises."""
        rows, began = len(self.samples), time.perf_counter()
        order = epoch_order(self.net, rows) if shuffle else None
        self.block.set(cost=0.0, weight=0.0)
        step = 0
        while step < self.steps_per_epoch:
            shares, count = self.pace.plan(self.steps_at_once) if self.pace else (False, self.steps_at_once)
            count = min(count, self.steps_per_epoch - step)
            rates = self.rates(epoch * self.steps_per_epoch + step, count)
            self.block.set(
                first=step * self.batch_size, last=min((step + count) * self.batch_size, rows),
                order=0 if order is None else order.ctypes.data, rates=rates.ctypes.data,
            )  # fmt: skip
            self.run_slice(count, shares)
            if self.block.fields[steps.SLICE["stopped"] // 8] >= 0:
                self.stop(epoch, int(self.block.fields[steps.SLICE["stopped"] // 8]) // self.batch_size)
            step += count
            self.history.steps += count
        if not self.net.keep_if_finite(epoch + 1 < self.epochs):  # the last update's doing: no cost has shown it yet
            self.stop(epoch, self.steps_per_epoch - 1)
        self.history.seconds.append(time.perf_counter() - began)
        self.history.cost.append(self.block.number("cost") / self.block.number("weight"))
        self.history.learning_rate.append(float(self.training.learning_rate[0]))

    def rates(self, step: int, count: int) -> np.ndarray:
        """The learning rate of each of `count` steps from that one, counted from the start of the fit."""
        epoch, step_of_epoch = np.divmod(np.arange(step, step + count), self.steps_per_epoch)
        epochs = epoch + step_of_epoch / self.steps_per_epoch
        return np.ascontiguousarray(self.optimizer.schedule(epochs), np.float64)

    def run_slice(self, count: int, shares: bool) -> None:
        steps.train_slice.of(self.net.dtype.name).resolve()  # lest the first call's time is that of loading it
        began = time.perf_counter()
        self.net._run(steps.train_slice, self.block.address, self.workers if shares else 0)
        seconds = max(time.perf_counter() - began, 1e-6)
        if self.pace:
            self.pace.note(count, seconds)
        self.steps_at_once = max(1, min(max(4 * count, self.steps_at_once), int(count * SLICE_SECONDS / seconds)))

    def stop(self, epoch: int, step: int) -> None:
        if found := self.samples.non_finite():
            raise RefusedData(found)
        raise FloatingPointError(
            f"cost: got NaN or infinity in epoch {epoch + 1}, step {step + 1}, from finite data; the network keeps the "
            "parameters of the last finite epoch. A smaller learning rate, or clip_norm, may help"
        )


def fit(
    net: Sequential,
    x: Any,
    y: Any,
    *,
    loss: Any,
    optimizer: Any,
    batch_size: int,
    epochs: int,
    shuffle: bool,
    validation_data: tuple[Any, Any] | None,
    sample_weight: Any,
    callbacks: Any,
    metrics: Iterable[Any],
    progress: bool,
) -> History:
    """Train `net` on x (rows, inputs), real numbers of any dtype, and y (labels, or targets (rows, outputs)).

    An epoch goes once over the rows, shuffled anew each time unless `shuffle` is False, in minibatches of batch_size; the
    last may be smaller. Costs are means over samples, weighted by sample_weight. Metrics are measured after each epoch, on
    the validation data where there are any, otherwise on x and y. A second fit goes on where the first ended; with another
    kind of optimizer the moments begin anew.

    Raises, with the network as it was before: TypeError and ValueError for what it cannot take, NaN and infinity in x, y or
    sample_weight included. FloatingPointError when the cost of finite data is not finite: the network keeps the parameters
    of the last finite epoch. KeyboardInterrupt passes through; network and `net.history` are usable.
    """
    loss, optimizer = losses.as_loss(loss), optimizers.as_optimizer(optimizer)
    check_last_activation(net, loss)
    batch_size = whole_number("batch_size", batch_size, at_least=1)
    epochs = whole_number("epochs", epochs, at_least=1)
    measured = as_metrics(metrics)
    samples = Samples(net, loss, x, y, sample_weight)
    validation = None
    if validation_data is not None:
        pair = validation_pair(validation_data)
        validation = Evaluation(net, loss, Samples(net, loss, *pair, names="validation_x validation_y"))
        if found := validation.samples.non_finite():
            raise ValueError(found)
    watchers = callbacks_module.as_callbacks(callbacks)
    if progress:
        watchers = (*watchers, callbacks_module.Progress(epochs))
    before = Snapshot(net, samples, optimizer)
    run = Fit(net, samples, loss, optimizer, batch_size, epochs)
    net.history = run.history
    train(run, before, shuffle, validation, measured, watchers)
    return run.history


def validation_pair(validation_data: Any) -> tuple[Any, Any]:
    if not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
        raise TypeError(f"validation_data: got {type(validation_data).__name__}, expected a pair (x, y)")
    return validation_data[0], validation_data[1]


def train(
    run: Fit, last: Snapshot, shuffle: bool, validation: Evaluation | None, measured: dict, watchers: tuple
) -> None:
    """The epochs; `last` is the network before the first one."""
    net, history = run.net, run.history
    try:
        for watcher in watchers:
            watcher.on_fit_begin(net, history)
        for epoch in range(run.epochs):
            run.run_epoch(epoch, shuffle)
            measure(run, validation, measured)
            stops = [watcher.on_epoch_end(net, history) is True for watcher in watchers]
            if any(stops):
                break
    except (RefusedData, FloatingPointError):
        last.go_back(net, history)
        raise
    finally:
        for watcher in watchers:
            watcher.on_fit_end(net, history)


def measure(run: Fit, validation: Evaluation | None, measured: dict) -> None:
    """The validation cost and the metrics after an epoch."""
    samples = run.samples if validation is None else validation.samples
    if validation is not None:
        run.history.validation_cost.append(validation.cost())
    if measured:
        output = run.net.predict(samples.x)
        for name, metric in measured.items():
            run.history.metrics.setdefault(name, []).append(float(metric(samples.y, output)))
