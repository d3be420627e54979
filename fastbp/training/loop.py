"""Training: `fit`, from its arguments to the last epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastbp import losses, optimizers
from fastbp.callbacks import Progress, as_callbacks
from fastbp.checks import whole_number
from fastbp.network.chain import check_loss
from fastbp.network.network import Network
from fastbp.network.samples import Samples, as_validation
from fastbp.training.batches import Batches, are_batches
from fastbp.training.history import History
from fastbp.training.metrics import Measures, as_metrics
from fastbp.training.rollback import RefusedData, Rollback
from fastbp.training.rows import Rows
from fastbp.training.run import Run
from fastbp.training.watchers import Watchers

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
    epochs, named = whole_number("epochs", epochs, at_least=1), as_metrics(metrics)
    source: Rows | Batches
    if are_batches(x, y):
        given = {"batch_size": batch_size, "shuffle": shuffle, "sample_weight": sample_weight}
        refuse_beside_batches(given, bool(named), validation_data)
        source = Batches(net, loss, optimizer, x, steps_per_epoch, epochs)
    else:
        if steps_per_epoch is not None:
            raise ValueError(f"steps_per_epoch: got {steps_per_epoch!r} beside arrays, expected None")
        batch_size = whole_number("batch_size", BATCH_SIZE if batch_size is None else batch_size, at_least=1)
        samples = Samples(net, loss, x, y, sample_weight).checked()
        source = Rows(samples, batch_size, shuffle is None or bool(shuffle))
    measures = Measures(net, loss, as_validation(net, loss, validation_data), named, source.samples)
    watchers = Watchers((*as_callbacks(callbacks), *([Progress(epochs)] if progress else [])))
    settings = {"loss": loss, "optimizer": optimizer, **measures.settings, **source.settings}
    watchers.check(net, measures.series, settings, epochs)
    rollback = Rollback(net, source.samples, optimizer)
    if watchers.resume:
        rollback.copy_moments()
    run = Run(net, source, loss, optimizer, epochs)
    net.history = run.history
    train(run, rollback, measures, watchers)
    return run.history


def refuse_beside_batches(given: dict[str, Any], measures: bool, validation_data: Any) -> None:
    """Refuse arguments that go with arrays only: those `given`, and metrics without data to measure them on."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name}: got {type(value).__name__} beside minibatches, expected None: they come as they are"
            )
    if measures and validation_data is None:
        raise ValueError("metrics: got some beside minibatches, expected validation_data too, to measure them on")


def train(run: Run, rollback: Rollback, measures: Measures, watchers: Watchers) -> None:
    """Run the epochs that are left, which after a callback has ended the fit are none."""
    net, history = run.net, run.history
    try:
        ended = begin(run, rollback, watchers)
        for epoch in range(len(history.cost), 0 if ended else run.epochs):
            run.epoch(epoch)
            measures.measure(history)
            if watchers.end_epoch(run):
                break
    except (RefusedData, FloatingPointError):
        rollback.go_back(net, history)
        raise
    finally:
        watchers.end(run)


def begin(run: Run, rollback: Rollback, watchers: Watchers) -> bool:
    """Do what precedes the first epoch that is left; return whether there is none. Where a callback raises, the network is
    as before."""
    try:
        ended = watchers.begin(run)
    except BaseException:
        rollback.restore(run.net)
        raise
    if run.history.cost:
        run.net.state.keep_if_finite()
    return ended
