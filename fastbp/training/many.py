"""Many networks trained at once, each on one thread: `fit_many`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastbp import losses, optimizers
from fastbp.callbacks import EarlyStopping, Progress
from fastbp.checks import one_each, whole_number
from fastbp.data import convert
from fastbp.network.chain import check_loss
from fastbp.network.network import Network
from fastbp.network.samples import TRAINING, VALIDATION, Evaluation, Samples, parts_of_validation
from fastbp.parallel.region import region
from fastbp.training.history import History
from fastbp.training.jobs import Job, JobSpec, train

__all__ = ["fit_many"]


def fit_many(
    networks: Iterable[Network],
    x: Any,
    y: Any,
    *,
    loss: Any = "softmax_cross_entropy",
    optimizer: Any = "adam",
    batch_size: Any = 32,
    epochs: Any = 1,
    shuffle: bool = True,
    rows: Sequence[Any] | None = None,
    validation_rows: Sequence[Any] | None = None,
    validation_data: tuple[Any, ...] | None = None,
    sample_weight: Any = None,
    early_stopping: EarlyStopping | None = None,
    progress: bool = False,
) -> list[History]:
    """Train many networks on one data set, each on one thread; returns their histories, in the order of `networks`.

    Every network ends as `net.fit(x[rows], y[rows], ...)` alone would leave it: the same bits in its parameters, moments,
    counters and history (but for `seconds`), so that a second fit goes on. Networks may differ in layers, seed and dtype.
    A compiled call lasts some hundredths of a second, and the network with most left to do goes on first in the next.
    For networks that are large enough for the threads to share one (see `fit`), and few, a loop of `fit` is as fast.

    x (rows, inputs) and y are as in `fit`, and shared: no network copies them. `loss`, `optimizer`, `batch_size` and
    `epochs` are one value for all, or a list with one for each network. `rows`: for each network the rows it trains on,
    integers (repeated ones count again) or a mask, or None for all of them. `validation_rows`: likewise those whose cost
    is measured after each epoch, None for no validation; or `validation_data`, (x, y) or (x, y, sample_weight) for all
    networks. sample_weight: one for each row of x, not used for `validation_rows`. `early_stopping` acts on each network
    apart; the object itself is not changed, its `best_epoch` included. Overwritten are the networks' parameters, state of
    the optimizer and `history`, and gradients where `fit` would store them.

    Raises, before anything is changed: TypeError and ValueError for what it cannot take, NaN and infinity in the rows that
    are used included; RuntimeError while another thread trains one of the networks. FloatingPointError, when all others
    are trained, if the cost of some networks was not finite: it names their places, and each of those keeps the parameters
    of its last finite epoch, as after `fit`. KeyboardInterrupt passes through within some hundredths of a second (or the one
    step at hand), and so does what functions of yours raise (a layer, an activation, a cost); networks and histories are
    usable.
    """
    nets = checked_networks(networks)
    settings = zip(
        one_each("loss", loss, len(nets), "network", losses.as_loss),
        one_each("optimizer", optimizer, len(nets), "network", optimizers.as_optimizer),
        one_each("batch_size", batch_size, len(nets), "network", lambda n: whole_number("batch_size", n, at_least=1)),
        one_each("epochs", epochs, len(nets), "network", lambda n: whole_number("epochs", n, at_least=1)),
        strict=True,
    )
    if early_stopping is not None and not isinstance(early_stopping, EarlyStopping):
        raise TypeError(f"early_stopping: got {early_stopping!r}, expected a fastbp.EarlyStopping or None")
    trained = Shared(x, y, sample_weight)
    subsets = subsets_of(trained, "rows", rows, len(nets))
    held_out = validation_of(trained, validation_rows, validation_data, len(nets))
    specs = [job_spec(i, nets[i], chosen, trained, subsets[i], held_out[i]) for i, chosen in enumerate(settings)]
    refuse_wrong_numbers([spec.samples for spec in specs])
    refuse_wrong_numbers([spec.validation.samples for spec in specs if spec.validation is not None])
    bar = Progress(sum(spec.epochs for spec in specs)) if progress else None
    if bar is not None:
        bar.check_fit(())
    with contextlib.ExitStack() as turns:
        for net in nets:
            turns.enter_context(net.turn.taken("fit_many"))
        region.of().resolve()  # fails, where it does, before anything changes
        jobs = [Job(spec, shuffle, early_stopping) for spec in specs]
        train(jobs, bar)
    refuse_diverged(jobs)
    return [job.history for job in jobs]


# -------------------------------------------------------------------------------------------------------------- checks


class Shared:
    """A data set, which is checked and converted once for all networks that read it in the same form."""

    def __init__(self, x: Any, y: Any, weights: Any = None, names: str = TRAINING):
        self.x = convert.as_input(names.split()[0], x)
        self.y, self.weights, self.names = y, weights, names
        self._known: dict[tuple, Samples] = {}

    def samples(self, net: Network, loss: losses.Loss) -> Samples:
        key = (loss, net.inputs, net.outputs, net.dtype)
        if key not in self._known:
            self._known[key] = Samples(net, loss, self.x, self.y, self.weights, self.names)
        return self._known[key]


def checked_networks(networks: Any) -> list[Network]:
    if isinstance(networks, Network) or not isinstance(networks, Iterable):
        raise TypeError(f"networks: got {type(networks).__name__}, expected a list of fastbp.Sequential")
    nets = list(networks)
    if not nets:
        raise ValueError("networks: got none, expected at least one")
    places: dict[int, int] = {}
    for i, net in enumerate(nets):
        if not isinstance(net, Network):
            raise TypeError(f"networks: got {type(net).__name__} at place {i}, expected fastbp.Sequential")
        if places.setdefault(id(net), i) != i:
            raise ValueError(f"networks: got the same network at places {places[id(net)]} and {i}, expected each once")
        net.state.refuse_read_only()
        if not np.isfinite(net.parameters).all():
            raise ValueError(f"networks: got NaN or infinity in the parameters at place {i}, expected finite numbers")
    return nets


def subsets_of(shared: Shared, name: str, rows: Any, count: int) -> list[np.ndarray | None]:
    """Return the row numbers of each network; None: all rows."""
    if rows is None:
        return [None] * count
    if not isinstance(rows, list | tuple | np.ndarray):
        raise TypeError(f"{name}: got {type(rows).__name__}, expected a list with the rows of each network, or None")
    if len(rows) != count:
        raise ValueError(f"{name}: got {len(rows)} entries, expected {count}, one for each network")
    return [None if r is None else convert.as_rows(f"{name}[{i}]", r, len(shared.x)) for i, r in enumerate(rows)]


def validation_of(trained: Shared, rows: Any, pair: Any, count: int) -> list[tuple[Shared, np.ndarray | None] | None]:
    """Return what each network is validated on, a data set and the rows of it; None: nothing."""
    if rows is not None and pair is not None:
        raise ValueError("validation_rows, validation_data: got both, expected at most one of them")
    if pair is not None:
        return [(Shared(*parts_of_validation(pair), names=VALIDATION), None)] * count
    if rows is None:
        return [None] * count
    shared = Shared(trained.x, trained.y)  # without weights
    subsets = subsets_of(trained, "validation_rows", rows, count)
    return [None if subset is None else (shared, subset) for subset in subsets]


def job_spec(
    i: int, net: Network, settings: tuple[Any, ...], trained: Shared, rows: np.ndarray | None, held_out: Any
) -> JobSpec:
    """Return what the network at place i is to be trained with: its cost, optimizer, batch size and epochs, its samples, and
    those it is validated on; errors name its place."""
    loss, optimizer, batch_size, epochs = settings
    try:
        check_loss(net, loss)
        optimizer.check(net.dtype)
        samples = trained.samples(net, loss).only(rows)
        if rows is not None and samples.weights is not None:
            convert.check_weight("sample_weight", samples.weights[rows], net.dtype, f"all of rows[{i}]")
        validation = None
        if held_out is not None:
            shared, subset = held_out
            validation = Evaluation(net, loss, shared.samples(net, loss).only(subset))
    except (TypeError, ValueError) as error:
        raise type(error)(f"networks[{i}]: {error}") from error
    return JobSpec(net, loss, optimizer, batch_size, epochs, samples, validation)


def refuse_wrong_numbers(all_samples: Sequence[Any]) -> None:
    """Raise ValueError for NaN and infinity in a row that a network uses, and for a y that its cost cannot mean."""
    alike: dict[tuple, list[Samples]] = {}
    for samples in all_samples:
        alike.setdefault((id(samples.y), samples.loss, samples.dtype), []).append(samples)
    for group in alike.values():
        used = np.zeros(len(group[0].x), bool)
        for samples in group:
            used[slice(None) if samples.rows is None else samples.rows] = True
        if found := group[0].wrong_y(used) or group[0].wrong_number(used):
            raise ValueError(found)


def refuse_diverged(jobs: list[Job]) -> None:
    """Raise FloatingPointError that names the networks whose cost was not finite, if there are any."""
    diverged = {i: job for i, job in enumerate(jobs) if job.has_diverged}
    if diverged:
        places = ", ".join(f"{i} (epoch {job.read('epoch') + 1})" for i, job in diverged.items())
        raise FloatingPointError(
            f"networks: got a cost of NaN or infinity, from finite data, at places {places}; these keep the parameters of "
            "their last finite epoch, the others are trained. A smaller learning rate, or clip_norm, may help"
        )
