"""Training: `fit`, from its arguments to the last epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from fastbp import losses, optimizers
from fastbp.callbacks import Progress, as_callbacks, end_fit
from fastbp.callbacks.checkpoint import Checkpoint
from fastbp.checks import whole_number
from fastbp.data.mapped import read_in_any_order
from fastbp.network.chain import check_loss
from fastbp.network.network import Network
from fastbp.network.samples import Evaluation, Samples, as_validation
from fastbp.training.batches import Batches, BatchFit, are_batches
from fastbp.training.history import History
from fastbp.training.metrics import as_metrics, for_samples
from fastbp.training.rollback import RefusedData, Snapshot
from fastbp.training.run import Fit

__all__ = ["Fit", "History", "fit"]

BATCH_SIZE = 32  # unless the user says otherwise


def fit(
    net: Network,
    x: Any,
    y: Any,
    *,
    loss: Any,
    optimizer: Any,
    batch_size: int | None,
    epochs: int,
    shuffle: bool | None,
    validation_data: tuple[Any, ...] | None,
    sample_weight: Any,
    callbacks: Any,
    metrics: Iterable[Any],
    progress: bool,
    steps_per_epoch: int | None,
) -> History:
    """Train `net` on x (rows, inputs), real numbers of any dtype, and y (labels, or targets (rows, outputs)).

    An epoch goes once over the rows, shuffled anew each time unless `shuffle` is False, in minibatches of batch_size (32);
    the last may be smaller. Costs are means over samples, weighted by sample_weight. validation_data: (x, y), or (x, y,
    sample_weight) for a weighted cost. Metrics are measured after each epoch, on the validation data where there are any,
    otherwise on x and y, all rows alike. A second fit goes on where the first ended; with
    another kind of optimizer the moments begin anew.

    x and y: arrays, lists, tensors, frames and columns of pandas, polars and pyarrow; what lies in memory as an array does is
    used as it is. Memory-mapped arrays (np.memmap, np.load(mmap_mode="r")) of float32, float64, integers or bools are
    never loaded as a whole; a shuffled epoch takes 8 bytes of memory a row, and so may labels.

    Or, without y, x hands out minibatches, tuples (x, y) or (x, y, sample_weight) of any length: an iterable, or a function
    that returns one. An epoch is one pass over it, or `steps_per_epoch` minibatches; the latter must be given for more
    than one epoch of an iterator, and for a schedule of the learning rate where x has no length. They are used in the order
    in which they come; the bits are those of `shuffle=False`. A minibatch that is refused, or an iterator that fails, leaves
    what those before it have taught the network.

    A `Checkpoint` among the callbacks makes a fit that was killed go on. See `fastbp.callbacks` for others.

    Raises, with the network as it was before: TypeError and ValueError for what it cannot take; NaN, infinity and what is
    infinite in the network's dtype included, in x, y, sample_weight and hyper-parameters, and a y that the cost cannot mean
    (labels or rows of probabilities for classes, from 0 to 1 for binary_cross_entropy, at least 0 for poisson).
    FloatingPointError when the cost of finite data is not finite: the network keeps the parameters of the last finite epoch.
    KeyboardInterrupt passes through, and what functions of yours raise (a layer, an activation, a cost): network and
    `net.history` are usable, and hold what the steps before it taught the network.
    """
    loss, optimizer = losses.as_loss(loss), optimizers.as_optimizer(optimizer, net.dtype)
    check_loss(net, loss)
    epochs = whole_number("epochs", epochs, at_least=1)
    measured = as_metrics(metrics)
    if are_batches(x, y):
        refuse_beside_batches(batch_size, shuffle, sample_weight, measured, validation_data)
        task = task_of_batches(Batches(net, loss, x, steps_per_epoch, epochs), optimizer, epochs)
    else:
        if steps_per_epoch is not None:
            raise ValueError(f"steps_per_epoch: got {steps_per_epoch!r} beside arrays, expected None")
        batch_size = whole_number("batch_size", BATCH_SIZE if batch_size is None else batch_size, at_least=1)
        samples = Samples(net, loss, x, y, sample_weight).checked()
        task = task_of_rows(net, samples, loss, optimizer, batch_size, epochs, shuffle is None or bool(shuffle))
    validation = as_validation(net, loss, validation_data)
    if measured:
        watched = validation.samples if validation is not None else task.samples
        assert watched is not None
        measured = for_samples(measured, loss, getattr(net.layers[-1], "activation", None), watched.y)
    watchers = as_callbacks(callbacks)
    if progress:
        watchers = (*watchers, Progress(epochs))
    validated = [] if validation is None else ["validation_cost"]
    for watcher in watchers:
        watcher.check_fit(["cost", *validated, *measured, "learning_rate", "seconds"])
    checkpoint = checkpoint_among(watchers)
    if checkpoint is not None:
        rows = 0 if validation is None else len(validation.samples)
        settings = {"loss": loss, "optimizer": optimizer, "metrics": measured, "validation_rows": rows, **task.settings}
        checkpoint.look(net, settings, epochs, watchers)
    before = Snapshot(net, task.samples, optimizer)
    if checkpoint is not None and checkpoint.resumes:
        before.keep_all()
    run = task.begin()
    net.history = run.history
    with read_in_any_order(run.in_files if run.shuffle else []):
        train(run, before, validation, measured, watchers, checkpoint)
    return run.history


class Task(NamedTuple):
    """What a fit goes over, checked."""

    samples: Samples | None  # None: they come one minibatch after another
    settings: dict[str, Any]  # what the bits depend on, beside network, cost, optimizer and data
    begin: Callable[[], Fit]


def task_of_rows(
    net: Network, samples: Samples, loss: losses.Loss, optimizer: Any, batch_size: int, epochs: int, shuffle: bool
) -> Task:
    settings = {"rows": len(samples), "batch_size": batch_size, "shuffle": shuffle}
    return Task(samples, settings, partial(Fit, net, samples, loss, optimizer, batch_size, epochs, shuffle))


def task_of_batches(batches: Batches, optimizer: Any, epochs: int) -> Task:
    settings = {"steps_per_epoch": batches.length_for(optimizer)}
    return Task(None, settings, partial(BatchFit, batches, optimizer, epochs))


def refuse_beside_batches(
    batch_size: Any, shuffle: Any, sample_weight: Any, measured: dict, validation_data: Any
) -> None:
    """What only goes with arrays."""
    given = {"batch_size": batch_size, "shuffle": shuffle, "sample_weight": sample_weight}
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name}: got {type(value).__name__} beside minibatches, expected None: they come as they are"
            )
    if measured and validation_data is None:
        raise ValueError("metrics: got some beside minibatches, expected validation_data too, to measure them on")


def checkpoint_among(watchers: tuple) -> Checkpoint | None:
    found = [watcher for watcher in watchers if isinstance(watcher, Checkpoint)]
    if len(found) > 1:
        raise ValueError(f"callbacks: got {len(found)} of fastbp.Checkpoint, expected at most one")
    return found[0] if found else None


def train(
    run: Fit,
    last: Snapshot,
    validation: Evaluation | None,
    measured: dict,
    watchers: tuple,
    checkpoint: Checkpoint | None,
) -> None:
    """The epochs; `last` is the network before the first one."""
    net, history = run.net, run.history
    try:
        ended = begin(run, last, watchers, checkpoint)
        for epoch in range(len(history.cost), 0 if ended else run.epochs):
            run.run_epoch(epoch)
            measure(run, validation, measured)
            stops = [watcher.on_epoch_end(net, history) is True for watcher in watchers]
            if checkpoint is not None:
                checkpoint.save(run, watchers, any(stops))
            if any(stops):
                break
    except (RefusedData, FloatingPointError):
        last.go_back(net, history)
        raise
    finally:
        end_fit(watchers, net, history)


def begin(run: Fit, before: Snapshot, watchers: tuple, checkpoint: Checkpoint | None) -> bool:
    """What precedes the first epoch, or the first that is not in a checkpoint; whether there is none left to run. Where a
    callback raises, the network is as before."""
    try:
        ended = checkpoint is not None and checkpoint.resume_fit(run)
        for watcher in watchers:
            watcher.on_fit_begin(run.net, run.history)
        if checkpoint is not None:
            checkpoint.resume_callbacks(watchers)
    except BaseException:
        before.restore(run.net)
        raise
    if run.history.cost:
        run.net.state.keep_if_finite()
    return ended


def measure(run: Fit, validation: Evaluation | None, measured: dict) -> None:
    """The validation cost and the metrics after an epoch."""
    samples = run.samples if validation is None else validation.samples
    if validation is not None:
        run.history.validation_cost.append(validation.cost())
    if measured:
        output = run.net.predict(samples.x)
        for name, metric in measured.items():
            run.history.metrics.setdefault(name, []).append(float(metric(samples.y, output)))
