"""Training on minibatches that an iterable hands out: a list, a generator, a function that makes one, a DataLoader."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Any

from fastbp import losses, optimizers
from fastbp.checks import whole_number
from fastbp.data.arrays import is_array
from fastbp.network.network import Network
from fastbp.network.samples import Samples
from fastbp.schedules import Constant
from fastbp.training.rollback import RefusedData
from fastbp.training.run import Fit


def are_batches(x: Any, y: Any) -> bool:
    """Whether x, of `fit` without a y, hands out minibatches: it is no array, and can be iterated over or called."""
    return y is None and not is_array(x) and (isinstance(x, Iterable) or callable(x))


class Batches:
    """Minibatches (x, y) or (x, y, sample_weight), checked one by one, an epoch at a time.

    source: an iterable, or a function of no arguments that returns one. An epoch is one pass over it, or `steps_per_epoch`
    minibatches, where a source that ends is begun again. An iterator, which can be gone through once only, needs the latter
    for more than one epoch.
    """

    def __init__(self, net: Network, loss: losses.Loss, source: Any, steps_per_epoch: int | None, epochs: int):
        self.net, self.loss, self.source = net, loss, source
        self.once = isinstance(source, Iterator)
        self.limit = None
        if steps_per_epoch is not None:
            self.limit = whole_number("steps_per_epoch", steps_per_epoch, at_least=1)
        elif self.once and epochs > 1:
            raise ValueError(
                f"steps_per_epoch: got None for {epochs} epochs of an iterator, which can be gone through once only, "
                "expected an integer >= 1, or x that can be iterated over again"
            )
        self.rest = self.passes()
        batch = next(self.rest, self)
        if batch is self:
            raise ValueError("x: got no minibatch, expected at least one")
        self.first = self.checked(batch, 0, 0)
        self.rest = itertools.chain([self.first], self.rest)
        self.handed_out = 0  # epochs, of limited ones

    def length_for(self, optimizer: optimizers.Optimizer) -> int | None:
        """How many minibatches an epoch has; None if that cannot be known, and ValueError if the optimizer has to."""
        try:
            return self.limit or len(self.source)
        except TypeError as error:  # what is without a length, and a DataLoader over such
            if isinstance(optimizer.schedule, Constant):
                return None
            raise ValueError(
                "steps_per_epoch: got None, and x has no length, expected an integer >= 1: the schedule of the learning "
                "rate has to know how long an epoch is"
            ) from error

    def passes(self) -> Iterator[Any]:
        """One pass; where epochs have a limit pass after pass, as often as the source can be gone through."""
        while True:
            count = 0
            for count, batch in enumerate(self.source if isinstance(self.source, Iterable) else self.source(), 1):  # noqa: B007
                yield batch
            if self.limit is None or self.once or count == 0:
                return

    def epoch(self, epoch: int) -> Iterator[Samples]:
        """The minibatches of an epoch; ValueError where there are fewer than there must be."""
        if self.limit is not None:
            for _ in itertools.islice(self.rest, (epoch - self.handed_out) * self.limit):  # those that a checkpoint has
                pass
            self.handed_out = epoch + 1
        count = 0
        for batch in itertools.islice(self.rest, self.limit):
            yield batch if isinstance(batch, Samples) else self.checked(batch, epoch, count)
            count += 1
        if count < (self.limit or 1):
            raise ValueError(
                f"x: got {count} minibatches in epoch {epoch + 1}, expected {self.limit or 'at least one'}"
            )
        if self.limit is None:
            self.rest = self.passes()

    def checked(self, batch: Any, epoch: int, step: int) -> Samples:
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            raise TypeError(
                f"x: got {type(batch).__name__} for a minibatch, expected tuples (x, y) or (x, y, sample_weight); or give y "
                "beside an array x"
            )
        try:
            x, y, weights = (*batch, None)[:3]
            return Samples(self.net, self.loss, x, y, weights, minibatch=True).checked()
        except (TypeError, ValueError) as error:
            raise type(error)(f"minibatch {step + 1} of epoch {epoch + 1}: {error}") from error


class BatchFit(Fit):
    """A call of `fit` on minibatches, whose sizes may differ: the workspace grows to the largest seen."""

    def __init__(self, batches: Batches, optimizer: Any, epochs: int):
        super().__init__(batches.net, batches.first, batches.loss, optimizer, len(batches.first), epochs, shuffle=False)
        self.batches, self.steps_per_epoch = batches, batches.length_for(optimizer) or 1

    def run_epoch(self, epoch: int) -> None:
        began, cost, weight = time.perf_counter(), 0.0, 0.0
        for step, samples in enumerate(self.batches.epoch(epoch)):
            if len(samples) > self.batch_size:
                self.batch_size = len(samples)
                self.make_room()
            self.samples, self.block = samples, samples.block(self.training)
            rates = self.rates(epoch * self.steps_per_epoch + step, 1)
            self.block.set(cost=cost, weight=weight, first=0, last=len(samples), rates=rates.ctypes.data)
            self.run_slice(1)
            if self.block["stopped"] >= 0:
                self.stop(epoch, step)
            cost, weight = self.block["cost"], self.block["weight"]
            self.history.steps += 1
        if weight == 0:
            raise RefusedData(
                f"sample_weight: got 0 in {self.net.dtype} in every row of epoch {epoch + 1}, expected at least one weight > 0"
            )
        self.end_epoch(epoch, began)
