"""Costs: immutable descriptions, which `fit` takes; called with (output, y), they return the cost and its delta."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import types

from fastbp import kernels
from fastbp.checks import check_held, njit_function, real_number, same_derivative
from fastbp.compiler.code import Code, call_code
from fastbp.compiler.llvm import places, value_in
from fastbp.compiler.raised import nothing_raised, raise_again
from fastbp.data import convert, targets
from fastbp.data.arrays import dimensions
from fastbp.engine.memory import set_fields
from fastbp.kernels.custom import custom_cost
from fastbp.kernels.loss_arguments import LossArguments
from fastbp.kernels.loss_formulas import cost as cost_code

__all__ = [
    "Huber", "Loss", "Quantile", "SoftmaxCrossEntropy", "as_loss", "binary_cross_entropy", "custom", "huber",
    "mean_absolute_error", "mean_squared_error", "negative_log_likelihood", "poisson", "quantile", "softmax_cross_entropy",
]  # fmt: skip


@dataclass(frozen=True)
class Loss:
    """A cost, the mean over the minibatch: sum(w_k c_k) / sum(w_k) for sample weights w.

    Called with the output (K, m) of a network and y, returns the cost and delta = dC/d(output), (K, m).
    """

    name: str
    parameter: float = 0.0
    takes_labels: bool = False
    logits: bool = False  # the output is expected before softmax or sigmoid
    scale: float = 1.0  # what the cost and its derivative are multiplied by

    def __call__(self, output: np.ndarray, y: Any, sample_weight: Any = None) -> tuple[float, np.ndarray]:
        output, y, sample_weight = self._checked(output, y, sample_weight)
        options = (self.parameter,) if self.name in OPTIONS else ()
        cost, delta = getattr(kernels, self.name)(output, y, None, sample_weight, *options)
        return (cost, delta) if self.scale == 1 else (self.scale * cost, np.multiply(delta, self.scale, out=delta))

    def _checked(self, output: Any, y: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return the checked arguments of a call: y as labels or, as the weights, in the output's dtype."""
        output = convert.as_matrix("output", output)
        if output.dtype.name not in ("float32", "float64"):
            raise TypeError(f"output: got dtype {output.dtype}, expected float32 or float64")
        self.check(output.shape[1], output.dtype)
        y = self.targets(y, *output.shape)
        if weights is not None:
            weights = convert.as_weights("sample_weight", weights, len(output), output.dtype, minibatch=True)
            if weights.any():
                convert.check_weight("sample_weight", weights, output.dtype)
        if found := self.fault("y", y, output.dtype, None if weights is None else weights > 0):
            raise ValueError(found)
        labels = y.dtype.kind in "iu" and y.ndim == 1 and self.takes_labels
        return (
            output,
            y if labels else y.astype(output.dtype),
            weights if weights is None else weights.astype(output.dtype),
        )

    @property
    def domain(self) -> targets.Domain:
        """The targets that the cost can take."""
        return DOMAINS.get(self.name, targets.ANY)

    def check(self, outputs: int, dtype: Any) -> None:
        """ValueError if the cost needs more than `outputs` outputs, or if `dtype` does not hold its parameter."""
        if self.takes_labels and outputs == 1:
            raise ValueError(
                f"loss: got {self.name} with one output, of which it learns nothing, expected binary_cross_entropy (y of 0 and "
                "1), mean_squared_error (numbers), or an output for each class"
            )
        if self.name in OPTIONS:
            name, bounds = OPTIONS[self.name]
            check_held(name, self.parameter, dtype, **bounds)

    def targets(self, y: Any, rows: int, columns: int, name: str = "y") -> np.ndarray:
        """Return y as an array of `rows` labels, if the cost takes them, or of (rows, columns) numbers; or raise the error."""
        if self.takes_labels and dimensions(name, y, "labels or real numbers") == 1:
            return convert.as_labels(name, y, columns)
        return convert.as_targets(name, y, rows, columns, or_labels=self.takes_labels)

    def fault(self, name: str, y: np.ndarray, dtype: Any, counts: np.ndarray | None = None) -> str | None:
        """Return the sentence that names the first target that the cost does not take or `dtype` does not hold; None if
        there is none.

        y: what `targets` returned. counts: a bool for each row, whether it counts; None: all do.
        """
        if self.takes_labels and y.ndim == 1:
            return None
        return self.domain.fault(name, y, counts) or convert.first_overflow(name, y, dtype)

    def code(self, dtype: str) -> int:
        """Return the address of the compiled cost."""
        return cost_code.of(dtype, self.name).resolve()


OPTIONS = {  # name and bounds of Loss.parameter, for the raw kernels that take one
    "softmax_cross_entropy": ("label_smoothing", {"at_least": 0, "below": 1}),
    "huber": ("delta", {"above": 0}),
    "quantile": ("quantile", {"above": 0, "below": 1}),
}  # fmt: skip
DOMAINS = {  # the targets of costs that do not take every number
    "softmax_cross_entropy": targets.CLASSES, "negative_log_likelihood": targets.CLASSES,
    "binary_cross_entropy": targets.CHANCES, "poisson": targets.COUNTS,
}  # fmt: skip


@dataclass(frozen=True)
class CustomLoss(Loss):
    """A cost made of two functions of the user's; see `custom`."""

    rows: tuple[Callable, ...] = field(default=(), repr=False)  # cost_row and delta_row

    def __reduce__(self) -> tuple:
        """Copy and pickle as the call that makes the cost: addresses of code mean nothing in another process."""
        return custom, self.rows

    def __call__(self, output: np.ndarray, y: Any, sample_weight: Any = None) -> tuple[float, np.ndarray]:
        output, y, weights = self._checked(output, y, sample_weight)
        output, y = np.ascontiguousarray(output), np.ascontiguousarray(y)
        delta, raised = np.zeros_like(output), nothing_raised()
        (rows, columns), stride = output.shape, output.strides[0]
        block = np.zeros(len(places(LossArguments)), np.int64)
        set_fields(
            block, places(LossArguments), z=output.ctypes.data, z_stride=stride, y=y.ctypes.data, y_row_stride=stride,
            weights=0 if weights is None else weights.ctypes.data, delta=delta.ctypes.data, delta_stride=stride,
            rows=rows, columns=columns, scale=float(self.scale), raised=raised.ctypes.data,
        )  # fmt: skip
        call_code(self.code(output.dtype.name), block.ctypes.data)
        raise_again(raised)
        cost, weight = (value_in(block, LossArguments, name) for name in ("cost", "weight"))
        return cost / weight if weight else 0.0, delta

    def code(self, dtype: str) -> int:
        return custom_code(*self.rows, dtype).resolve()


def parameter(loss: str, value: Any) -> float:
    """Return the parameter of a loss, checked against its bounds."""
    name, bounds = OPTIONS[loss]
    return real_number(name, value, **bounds)


def SoftmaxCrossEntropy(label_smoothing: float = 0.0) -> Loss:  # noqa: N802 (a class to its users)
    """-log softmax(z)[y], on logits; y: integer labels (K,), or one-hot rows or probabilities (K, m).

    With label smoothing s the targets are (1 - s) y + s / m (Szegedy et al. 2016).
    """
    return Loss(
        "softmax_cross_entropy", parameter("softmax_cross_entropy", label_smoothing), takes_labels=True, logits=True
    )


def Huber(delta: float = 1.0) -> Loss:  # noqa: N802
    """r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2), for r = output - y (Huber 1964); the mean over elements."""
    return Loss("huber", parameter("huber", delta))


def Quantile(quantile: float = 0.5) -> Loss:  # noqa: N802
    """max(q r, (q - 1) r) for r = y - output (Koenker & Bassett 1978); the mean over elements."""
    return Loss("quantile", parameter("quantile", quantile))


softmax_cross_entropy = SoftmaxCrossEntropy()
negative_log_likelihood = Loss("negative_log_likelihood", takes_labels=True)
binary_cross_entropy = Loss("binary_cross_entropy", logits=True)
mean_squared_error = Loss("mean_squared_error")
mean_absolute_error = Loss("mean_absolute_error")
huber = Huber()
poisson = Loss("poisson")
quantile = Quantile()

KNOWN = {loss.name: loss for loss in (
    softmax_cross_entropy, negative_log_likelihood, binary_cross_entropy, mean_squared_error, mean_absolute_error, huber,
    poisson, quantile,
)}  # fmt: skip


def as_loss(x: Any) -> Loss:
    """Return the loss itself, or the one of that name."""
    if isinstance(x, Loss):
        return x
    if isinstance(x, str) and x in KNOWN:
        return KNOWN[x]
    raise ValueError(f"loss: got {x!r}, expected one of {', '.join(KNOWN)}, or fb.losses.custom(...)")


# ------------------------------------------------------------------------------------------------------ of the user's own

_numbers = itertools.count()


def custom(cost_row: Callable, delta_row: Callable) -> Loss:
    """Make a cost from two `@njit` functions of one sample.

    cost_row(output, y) -> c_k, for output (m,) and y (m,); delta_row(output, y, delta) writes dc_k / d(output) into delta
    (m,). The cost of a minibatch is the mean of c_k. Both are compared by central differences at random points: a
    ValueError names the worst element if they disagree. The same functions give the same cost, compiled once, as with
    `fb.activations.custom`. What they raise in a call of fastbp ends that call.
    """
    return _registered(njit_function("cost_row", cost_row), njit_function("delta_row", delta_row))


@functools.cache  # for as long as numba keeps their machine code: until the process ends
def _registered(cost_row: Callable, delta_row: Callable) -> Loss:
    check_rows(cost_row, delta_row)
    return CustomLoss(f"custom({cost_row.__name__})", rows=(cost_row, delta_row))


@functools.cache
def custom_code(cost_row: Callable, delta_row: Callable, dtype: str) -> Code:
    """Return the code of a custom cost, compiled when it is first needed."""
    place = (__name__, "custom", cost_row.__name__, str(next(_numbers)), dtype)
    # numba cannot tell whether a user's function or what it calls has changed: not cached on disk
    return Code(custom_cost(getattr(types, dtype), cost_row, delta_row), place, cached=False)


def check_rows(cost_row: Callable, delta_row: Callable) -> None:
    """ValueError unless delta_row is the derivative of cost_row, at random outputs and targets."""
    rng, h = np.random.default_rng(0), 1e-5
    for _ in range(4):
        output, y = rng.standard_normal(3), rng.random(3)
        given = np.zeros(3)
        delta_row(output, y, given)
        steps = np.eye(3) * h
        measured = np.array([(cost_row(output + s, y) - cost_row(output - s, y)) / (2 * h) for s in steps])
        elements = [f"for element {i} of output {output.tolist()}, y {y.tolist()}" for i in range(3)]
        same_derivative("delta_row", given, measured, "cost_row", elements)
