"""Learning-rate schedules: immutable rules from the time since the start of a fit, in epochs, to the learning rate.

Time is fractional, step / steps_per_epoch, so that a schedule means the same for every batch size and the rate moves
with each step. `fit` asks once for a stretch of steps: a schedule takes and returns whole arrays.
"""

from __future__ import annotations

import functools
import math
import numbers
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp.checks import real_number


class Schedule(ABC):
    """A learning rate that depends on time. Derive from it for a rule of your own, best as a frozen dataclass."""

    @abstractmethod
    def __call__(self, epochs: np.ndarray) -> np.ndarray:
        """Return the learning rates, float64, finite and >= 0, at times `epochs` >= 0, of the same shape."""

    def _check(self, **fields: Any) -> None:
        """Store checked values, which a frozen dataclass allows in no other way."""
        for name, value in fields.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Constant(Schedule):
    """A rate that never changes."""

    learning_rate: float

    def __post_init__(self) -> None:
        self._check(learning_rate=real_number("learning_rate", self.learning_rate, at_least=0))

    def __call__(self, epochs: np.ndarray) -> np.ndarray:
        return np.full(np.shape(epochs), self.learning_rate)


@dataclass(frozen=True)
class Step(Schedule):
    """`learning_rate`, multiplied by `factor` after every `every` epochs."""

    learning_rate: float
    every: float
    factor: float = 0.1

    def __post_init__(self) -> None:
        self._check(
            learning_rate=real_number("learning_rate", self.learning_rate, at_least=0),
            every=real_number("every", self.every, above=0),
            factor=real_number("factor", self.factor, above=0),
        )

    def __call__(self, epochs: np.ndarray) -> np.ndarray:
        # 0.3 / 0.1 is just below 3 in floating point: without the allowance the drop would come one step late
        drops = np.floor(np.asarray(epochs, np.float64) / self.every + 1e-9)
        return self.learning_rate * self.factor**drops


@dataclass(frozen=True)
class Exponential(Schedule):
    """`learning_rate * decay ** epochs`: multiplied by `decay` over each epoch, smoothly."""

    learning_rate: float
    decay: float

    def __post_init__(self) -> None:
        self._check(
            learning_rate=real_number("learning_rate", self.learning_rate, at_least=0),
            decay=real_number("decay", self.decay, above=0),
        )

    def __call__(self, epochs: np.ndarray) -> np.ndarray:
        return self.learning_rate * self.decay ** np.asarray(epochs, np.float64)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From `learning_rate` to `final` along half a cosine wave of `epochs` epochs; `final` from then on."""

    learning_rate: float
    epochs: float
    final: float = 0.0

    def __post_init__(self) -> None:
        self._check(
            learning_rate=real_number("learning_rate", self.learning_rate, at_least=0),
            epochs=real_number("epochs", self.epochs, above=0),
            final=real_number("final", self.final, at_least=0),
        )

    def __call__(self, epochs: np.ndarray) -> np.ndarray:
        done = np.minimum(np.asarray(epochs, np.float64) / self.epochs, 1.0)
        return self.final + (self.learning_rate - self.final) * (0.5 + 0.5 * np.cos(np.pi * done))


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A linear rise over `epochs` epochs to the first rate of `then`, a schedule or a number, which begins after it.

    With r the rate of `then` at its time 0, the rate at time t < epochs is r (start + (1 - start) t / epochs), and at
    t >= epochs that of `then` at time t - epochs. `start` is above 0: a first step at rate 0 would be wasted.
    """

    epochs: float
    then: Schedule | float
    start: float = 0.01

    def __post_init__(self) -> None:
        self._check(
            epochs=real_number("epochs", self.epochs, above=0),
            then=as_schedule(self.then, "then"),
            start=real_number("start", self.start, above=0, below=1),
        )

    def __call__(self, epochs: np.ndarray) -> np.ndarray:
        epochs = np.asarray(epochs, np.float64)
        rate = as_schedule(self.then)(np.maximum(epochs - self.epochs, 0.0))  # its first rate while the warm-up lasts
        share = self.start + (1.0 - self.start) * epochs / self.epochs
        return np.where(epochs < self.epochs, rate * share, rate)


def as_schedule(x: Any, name: str = "learning_rate") -> Schedule:
    """Return a schedule as it is, a number >= 0 as a `Constant`; TypeError for anything else, ValueError for a bad number."""
    if isinstance(x, Schedule):
        return x
    if type(x) is float and 0.0 <= x < math.inf:  # what an optimizer keeps, at every fit
        return constant(x)
    if isinstance(x, bool) or not isinstance(x, numbers.Real):
        raise TypeError(f"{name}: got {x!r}, expected a number or a schedule such as fastbp.schedules.Cosine")
    return Constant(real_number(name, x, at_least=0))


@functools.lru_cache(256)
def constant(rate: float) -> Constant:
    """Return the schedule of that rate, made once."""
    return Constant(rate)
