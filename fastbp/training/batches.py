"""Training on minibatches that an iterable hands out: a list, a generator, a function that makes one, a DataLoader."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from fastbp import losses, optimizers
from fastbp.checks import whole_number
from fastbp.data.arrays import is_array
from fastbp.network.network import Network
from fastbp.network.samples import Samples
from fastbp.schedules import Constant
from fastbp.training.run import Piece, Run


def are_batches(x: Any, y: Any) -> bool:
    """Return whether x, of `fit` without a y, hands out minibatches: it is no array, and can be iterated over or called."""
    return y is None and not is_array(x) and (isinstance(x, Iterable) or callable(x))


class Batches:
    """Minibatches (x, y) or (x, y, sample_weight) of any length, checked one by one; a Source.

    source: an iterable, or a function of no arguments that returns one. An epoch is one pass over it, or `steps_per_epoch`
    minibatches, where a source that ends is begun again. An iterator, which can be gone through once only, needs the latter
    for more than one epoch.
    """

    samples = None

    def __init__(
        self, net: Network, loss: losses.Loss, optimizer: optimizers.Optimizer, source: Any, steps_per_epoch: int | None,
        epochs: int,
    ):  # fmt: skip
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
        first = self.checked(batch, 0, 0)
        self.rest = itertools.chain([first], self.rest)
        self.batch_size = len(first)
        self.finished = 0  # epochs, where they have a limit
        length = self.length_for(optimizer)
        self.steps_per_epoch, self.settings = length or 1, {"steps_per_epoch": length}

    def length_for(self, optimizer: optimizers.Optimizer) -> int | None:
        """Return the number of minibatches in an epoch; None if it cannot be known, ValueError if the optimizer needs it."""
        try:
            return self.limit or len(self.source)
        except TypeError as error:  # a source without a length, or a DataLoader over one
            if isinstance(optimizer.schedule, Constant):
                return None
            raise ValueError(
                "steps_per_epoch: got None, and x has no length, expected an integer >= 1: the schedule of the learning "
                "rate has to know how long an epoch is"
            ) from error

    def passes(self) -> Iterator[Any]:
        """Yield the minibatches of one pass; where epochs have a limit, of pass after pass, as often as the source allows."""
        while True:
            count = 0
            for count, batch in enumerate(self.source if isinstance(self.source, Iterable) else self.source(), 1):  # noqa: B007
                yield batch
            if self.limit is None or self.once or count == 0:
                return

    def pieces(self, epoch: int, run: Run) -> Iterator[Piece]:
        """Yield the minibatches of an epoch, a piece each; ValueError where there are fewer than there must be."""
        if self.limit is not None:
            for _ in itertools.islice(self.rest, (epoch - self.finished) * self.limit):  # epochs that a checkpoint has
                pass
            self.finished = epoch + 1
        count = 0
        for batch in itertools.islice(self.rest, self.limit):
            samples = batch if isinstance(batch, Samples) else self.checked(batch, epoch, count)
            self.batch_size = max(self.batch_size, len(samples))
            yield Piece(samples, 0, len(samples), steps=1)
            count += 1
        if count < (self.limit or 1):
            raise ValueError(
                f"x: got {count} minibatches in epoch {epoch + 1}, expected {self.limit or 'at least one'}"
            )
        if self.limit is None:
            self.rest = self.passes()

    def checked(self, batch: Any, epoch: int, step: int) -> Samples:
        """Return a minibatch as Samples; TypeError or ValueError, which name it, for what it must not hold."""
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
