"""Optimizers: immutable hyper-parameters and the name of the update rule; the arithmetic lies in the kernels.

An optimizer holds no state, so that networks and threads may share one; moments and the step count belong to a network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from fastbp.checks import check_held, real_number
from fastbp.schedules import Schedule, as_schedule

_BOUNDS = {  # of every hyper-parameter that is a number
    "momentum": {"at_least": 0, "below": 1},
    "beta1": {"at_least": 0, "below": 1},
    "beta2": {"at_least": 0, "below": 1},
    "rho": {"at_least": 0, "below": 1},
    "epsilon": {"above": 0},  # 0 would divide 0 by 0 where a gradient is always 0, as behind a dead relu
    "weight_decay": {"at_least": 0},
    "clip_norm": {"above": 0},
    "clip_value": {"above": 0},
}


@dataclass(frozen=True, repr=False)
class Optimizer(ABC):
    """The base of all optimizers, which clip gradients alike.

    The gradient g is clipped first, by at most one of
    - `clip_norm`: g min(1, clip_norm / |g|), |g| the Euclidean norm over all parameters of the network;
    - `clip_value`: every element limited to [-clip_value, clip_value].

    Weight decay acts on weights, not on biases.
    """

    name: ClassVar[str]
    moments: ClassVar[int]  # vectors as long as the parameters, which the rule keeps between steps

    learning_rate: float | Schedule
    clip_norm: float | None = field(default=None, kw_only=True)
    clip_value: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for f in fields(self):
            object.__setattr__(self, f.name, _checked(f.name, getattr(self, f.name)))
        if self.clip_norm is not None and self.clip_value is not None:
            got = f"{self.clip_norm!r} and {self.clip_value!r}"
            raise ValueError(f"clip_norm, clip_value: got {got}, expected at most one of the two")

    @property
    def rule(self) -> str:
        """Which kernel makes the update: "sgd", "momentum", "adam", "adamw", "rmsprop" or "adagrad"."""
        return self.name

    @property
    @abstractmethod
    def numbers(self) -> tuple[float, ...]:
        """The kernel's arguments after the learning rate, in its order; weight decay is the last."""

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a schedule, constant if it was given as a number."""
        return as_schedule(self.learning_rate)

    def check(self, dtype: Any) -> None:
        """ValueError for a hyper-parameter that `dtype` rounds to 0, to infinity, or out of its bounds.

        A learning rate that is infinite there is left to the cost, which then diverges as with other large ones.
        """
        for f in fields(self):
            if f.name in _BOUNDS and getattr(self, f.name) is not None:
                check_held(f.name, getattr(self, f.name), dtype, **_BOUNDS[f.name])
        check_held("learning_rate", min(float(self.schedule(np.zeros(1))[0]), 1.0), dtype)

    def __repr__(self) -> str:
        own = [f for f in fields(self) if not f.kw_only]
        clipping = [f for f in fields(self) if f.kw_only and getattr(self, f.name) is not None]
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in own + clipping)})"


def _checked(name: str, value: Any) -> Any:
    """Return the hyper-parameter as the type it is stored in, or raise the error that names it."""
    if name == "learning_rate":
        as_schedule(value)
        return value if isinstance(value, Schedule) else float(value)
    if name == "nesterov":
        if not isinstance(value, bool):
            raise TypeError(f"nesterov: got {value!r}, expected True or False")
        return value
    if name.startswith("clip_") and value is None:
        return None
    return real_number(name, value, **_BOUNDS[name])


@dataclass(frozen=True, repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's variant as PyTorch has them.

    With g the gradient plus weight_decay * w: v <- momentum v + g; w <- w - learning_rate v, or with `nesterov`
    w <- w - learning_rate (g + momentum v).
    """

    name: ClassVar[str] = "sgd"

    learning_rate: float | Schedule
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: got True with momentum=0.0, expected a momentum > 0 to look ahead with")

    @property
    def rule(self) -> str:
        return "momentum" if self.momentum else "sgd"

    @property
    def moments(self) -> int:  # type: ignore[override]
        return 1 if self.momentum else 0

    @property
    def numbers(self) -> tuple[float, ...]:
        if self.momentum:
            return (self.momentum, float(self.nesterov), self.weight_decay)
        return (self.weight_decay,)


@dataclass(frozen=True, repr=False)
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), with bias correction.

    With g the gradient plus weight_decay * w, t the step from 1: m <- beta1 m + (1 - beta1) g;
    v <- beta2 v + (1 - beta2) g^2; w <- w - learning_rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon).
    """

    name: ClassVar[str] = "adam"
    moments: ClassVar[int] = 2

    learning_rate: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    @property
    def numbers(self) -> tuple[float, ...]:
        return (self.beta1, self.beta2, self.epsilon, self.weight_decay)


@dataclass(frozen=True, repr=False)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): w <- w - learning_rate weight_decay w apart."""

    name: ClassVar[str] = "adamw"
    moments: ClassVar[int] = 2

    learning_rate: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01

    @property
    def numbers(self) -> tuple[float, ...]:
        return (self.beta1, self.beta2, self.epsilon, self.weight_decay)


@dataclass(frozen=True, repr=False)
class RMSprop(Optimizer):
    """RMSprop: v <- rho v + (1 - rho) g^2; w <- w - learning_rate g / (sqrt(v) + epsilon), g with weight_decay * w."""

    name: ClassVar[str] = "rmsprop"
    moments: ClassVar[int] = 1

    learning_rate: float | Schedule = 1e-3
    rho: float = 0.9
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    @property
    def numbers(self) -> tuple[float, ...]:
        return (self.rho, self.epsilon, self.weight_decay)


@dataclass(frozen=True, repr=False)
class Adagrad(Optimizer):
    """Adagrad: v <- v + g^2; w <- w - learning_rate g / (sqrt(v) + epsilon), g with weight_decay * w."""

    name: ClassVar[str] = "adagrad"
    moments: ClassVar[int] = 1

    learning_rate: float | Schedule = 1e-2
    epsilon: float = 1e-10
    weight_decay: float = 0.0

    @property
    def numbers(self) -> tuple[float, ...]:
        return (self.epsilon, self.weight_decay)


_NAMED = {"sgd": SGD(0.01), "adam": Adam(), "adamw": AdamW(), "rmsprop": RMSprop(), "adagrad": Adagrad()}


def as_optimizer(x: Any, dtype: Any = np.float64) -> Optimizer:
    """Return an optimizer as it is, or the one of that name with its defaults ("sgd" is SGD(0.01)).

    ValueError for an unknown name lists the known ones; TypeError for what is neither. ValueError for hyper-parameters that
    `dtype` does not hold.
    """
    if isinstance(x, Optimizer):
        x.check(dtype)
        return x
    if not isinstance(x, str):
        expected = f"an instance, {x.__name__}(...)," if isinstance(x, type) else "an optimizer"
        raise TypeError(f"optimizer: got {x!r}, expected {expected} or one of the names {', '.join(_NAMED)}")
    if x not in _NAMED:
        raise ValueError(f"optimizer: got {x!r}, expected one of {', '.join(_NAMED)}")
    return _NAMED[x]
