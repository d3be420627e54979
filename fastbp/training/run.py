"""The epoch loop in Python: a fit goes from piece to piece of its source, a compiled call each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastbp import losses
from fastbp.engine.train import train_slice
from fastbp.network.blocks import SliceBlock
from fastbp.network.configure import configure
from fastbp.network.network import Network
from fastbp.network.samples import Samples
from fastbp.schedules import Constant
from fastbp.training.history import History
from fastbp.training.rollback import RefusedData

GUESSED_SECONDS = 0.01  # what the first compiled call aims at
SLICE_SECONDS = 0.05  # what one compiled call aims at: it lasts less than 0.1 s, and costs some 10 us by itself
FIRST_ALONE = 0.02  # seconds of an estimator's fit on one thread: one that is over sooner need not wait for busy cores


class Piece(NamedTuple):
    """The rows that one compiled call trains on."""

    samples: Samples
    first: int
    last: int
    steps: int
    order: np.ndarray | None = None  # row numbers, of which `first` to `last` are used; None: the rows as they lie


class Source(Protocol):
    """What a fit goes over, epoch by epoch."""

    batch_size: int  # of the largest minibatch so far
    steps_per_epoch: int
    settings: dict[str, Any]  # what the bits depend on, beside network, cost, optimizer and data

    @property
    def samples(self) -> Samples | None:
        """All of them; None where they cannot be looked at ahead."""

    def pieces(self, epoch: int, run: Run) -> Iterator[Piece]:
        """Yield the pieces of an epoch, of about `run.steps_at_once` steps each where there is a choice."""


class Run:
    """One call of `fit`: what it was given, and how far it is."""

    def __init__(self, net: Network, source: Source, loss: losses.Loss, optimizer: Any, epochs: int):
        self.net, self.source, self.loss = net, source, loss
        self.optimizer, self.epochs, self.history = optimizer, epochs, History()
        self.scheduled = not isinstance(optimizer.schedule, Constant)
        net.sharing.region_for(source.batch_size)  # fails, where it does, before anything changes
        net.use(optimizer)
        self.make_room()
        self.steps_at_once = self.guess_steps()
        self.samples: Samples | None = None  # of the latest piece
        self.cost = self.weight = 0.0  # of the epoch at hand, added up from piece to piece

    def make_room(self) -> None:
        """Take a workspace for minibatches of the source's batch size."""
        net, self.batch_size = self.net, self.source.batch_size
        fused = net.fuses(self.optimizer, self.batch_size)
        self.training = net.workspaces.for_purpose("fit", self.batch_size, stores=not fused)
        configure(self.training, self.loss, self.optimizer, net.dtype.name, fused)
        self.workers = net.sharing.region_for(self.batch_size)

    def guess_steps(self) -> int:
        """Return the number of steps for the first compiled call, which then lasts some thousandths of a second."""
        flops = 3.0 * self.batch_size * self.net.sharing.flops
        return max(1, int(GUESSED_SECONDS / (flops / 1e10 + 5e-6)))

    def epoch(self, number: int) -> None:
        """Train for one epoch; the first is number 0. Raises what `stop` does, and RefusedData where all weights are 0."""
        began, step = time.perf_counter(), 0
        self.cost = self.weight = 0.0
        for piece in self.source.pieces(number, self):
            self.advance(piece, number, step)
            step += piece.steps
        if self.weight == 0:
            raise RefusedData(
                f"sample_weight: got 0 in {self.net.dtype} in every row of epoch {number + 1}, expected at least one weight > 0"
            )
        self.end_epoch(number, began)

    def advance(self, piece: Piece, epoch: int, step: int) -> None:
        """Train on a piece, which begins with that step of the epoch."""
        block = self.block_of(piece.samples)
        rates = self.rates(epoch * self.source.steps_per_epoch + step, piece.steps) if self.scheduled else None
        block.set(
            first=piece.first, last=piece.last, order=address_of(piece.order), rates=address_of(rates), cost=self.cost,
            weight=self.weight,
        )  # fmt: skip
        self.call(block, piece.steps)
        if block["stopped"] >= 0:
            self.stop(epoch, step + (block["stopped"] - piece.first) // self.batch_size)
        self.cost, self.weight = block["cost"], block["weight"]
        self.history.steps += piece.steps

    def block_of(self, samples: Samples) -> SliceBlock:
        """Return the block of arguments for these samples, with room for their minibatches."""
        if self.source.batch_size > self.batch_size:
            self.make_room()
        if samples is not self.samples:
            self.samples, self.block = samples, samples.block(self.training)
        return self.block

    def call(self, block: SliceBlock, count: int) -> None:
        """Make `count` steps in one compiled call, and see how many the next one should make."""
        train_slice.of(self.net.dtype.name).resolve()  # so that the first call's time is not that of loading it
        began = time.perf_counter()
        block.run(train_slice, self.workers)
        seconds = max(time.perf_counter() - began, 1e-6)
        self.steps_at_once = max(1, min(max(4 * count, self.steps_at_once), int(count * SLICE_SECONDS / seconds)))

    def rates(self, step: int, count: int) -> np.ndarray:
        """Return the learning rates of `count` steps from `step` on, counted from the start of the fit."""
        per_epoch = self.source.steps_per_epoch
        epoch, step_of_epoch = np.divmod(np.arange(step, step + count), per_epoch)
        return np.ascontiguousarray(self.optimizer.schedule(epoch + step_of_epoch / per_epoch), np.float64)

    def end_epoch(self, epoch: int, began: float) -> None:
        """Add the epoch to the history, unless its last update, which no cost has shown yet, has spoilt the parameters."""
        if not self.net.state.keep_if_finite(epoch + 1 < self.epochs):
            self.stop(epoch, self.source.steps_per_epoch - 1)
        self.history.seconds.append(time.perf_counter() - began)
        self.history.cost.append(self.cost / self.weight)
        self.history.learning_rate.append(float(self.training.learning_rate[0]))

    def stop(self, epoch: int, step: int) -> None:
        """Raise RefusedData for data that are not finite, FloatingPointError for a cost that is not though the data are."""
        if self.samples is not None and (found := self.samples.wrong_number()):
            raise RefusedData(found)
        raise FloatingPointError(
            f"cost: got NaN or infinity in epoch {epoch + 1}, step {step + 1}, from finite data; the network keeps the "
            "parameters of the last finite epoch. A smaller learning rate, or clip_norm, may help"
        )


def address_of(array: np.ndarray | None) -> int:
    """Return the address of the first element, 0 for None."""
    return 0 if array is None else array.ctypes.data
