"""Costs: immutable descriptions that `fit` takes, and functions of (output, y) that return the cost and its delta."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import types

from fastbp import kernels
from fastbp.checks import check_held, real_number
from fastbp.compiler.code import Code, call_code
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import array_at, fetch, read, write
from fastbp.compiler.raised import CELLS, noting, raise_again
from fastbp.data import convert, targets
from fastbp.data.arrays import dimensions
from fastbp.kernels.loss_arguments import AT_RAISED, AT_SCALE
from fastbp.kernels.loss_formulas import AT_COST, AT_WEIGHT
from fastbp.kernels.loss_formulas import Loss as LossBlock
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
        """The arguments of a call: labels, or all of the output's dtype."""
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
        """The targets that the cost can mean."""
        return DOMAINS.get(self.name, targets.ANY)

    def check(self, outputs: int, dtype: Any) -> None:
        """ValueError for as many outputs where the cost needs more, and for a parameter that `dtype` does not hold."""
        if self.takes_labels and outputs == 1:
            raise ValueError(
                f"loss: got {self.name} with one output, of which it learns nothing, expected binary_cross_entropy (y of 0 and "
                "1), mean_squared_error (numbers), or an output for each class"
            )
        if self.name in OPTIONS:
            name, bounds = OPTIONS[self.name]
            check_held(name, self.parameter, dtype, **bounds)

    def targets(self, y: Any, rows: int, columns: int, name: str = "y") -> np.ndarray:
        """y as an array of `rows` labels, where the cost takes them, or as (rows, columns) numbers; or the error."""
        if self.takes_labels and dimensions(name, y, "labels or real numbers") == 1:
            return convert.as_labels(name, y, columns)
        return convert.as_targets(name, y, rows, columns, or_labels=self.takes_labels)

    def fault(self, name: str, y: np.ndarray, dtype: Any, counts: np.ndarray | None = None) -> str | None:
        """The sentence that names the first target, of a row that counts, that the cost or `dtype` cannot mean; or None.

        y: what `targets` returned. counts: a bool for each row; None: all count.
        """
        if self.takes_labels and y.ndim == 1:
            return None
        return self.domain.fault(name, y, counts) or convert.first_overflow(name, y, dtype)

    def code(self, dtype: str) -> int:
        """The address of the compiled cost."""
        return cost_code.of(dtype, self.name).resolve()


OPTIONS = {  # the raw kernels that take Loss.parameter: its name and bounds
    "softmax_cross_entropy": ("label_smoothing", {"at_least": 0, "below": 1}),
    "huber": ("delta", {"above": 0}),
    "quantile": ("quantile", {"above": 0, "below": 1}),
}  # fmt: skip
DOMAINS = {  # of costs that do not take any number
    "softmax_cross_entropy": targets.CLASSES, "negative_log_likelihood": targets.CLASSES,
    "binary_cross_entropy": targets.CHANCES, "poisson": targets.COUNTS,
}  # fmt: skip


@dataclass(frozen=True)
class CustomLoss(Loss):
    """A cost of the user's; see `custom`."""

    rows: tuple[Callable, ...] = field(default=(), repr=False)  # cost_row and delta_row

    def __reduce__(self) -> tuple:
        """For copies and pickles: a new one, since addresses of code mean nothing in another process."""
        return custom, self.rows

    def __call__(self, output: np.ndarray, y: Any, sample_weight: Any = None) -> tuple[float, np.ndarray]:
        output, y, weights = self._checked(output, y, sample_weight)
        output, y = np.ascontiguousarray(output), np.ascontiguousarray(y)
        delta = np.zeros_like(output)
        row, address = output.strides[0], 0 if weights is None else weights.ctypes.data
        places = (output.ctypes.data, row, y.ctypes.data, 0, row, address, delta.ctypes.data, row)
        block = np.zeros(len(LossBlock._fields), np.int64)
        block[: len(places) + 2] = (*places, *output.shape)
        block.view(np.float64)[AT_SCALE // 8] = self.scale
        raised = np.zeros(CELLS, np.int64)
        block[AT_RAISED // 8] = raised.ctypes.data
        call_code(self.code(output.dtype.name), block.ctypes.data)
        raise_again(raised)
        cost, weight = block.view(np.float64)[[AT_COST // 8, AT_WEIGHT // 8]]
        return float(cost / weight) if weight else 0.0, delta


def parameter(loss: str, value: Any) -> float:
    """The parameter of that loss, within its bounds; or the error."""
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
    """A loss, from itself or its name."""
    if isinstance(x, Loss):
        return x
    if isinstance(x, str) and x in KNOWN:
        return KNOWN[x]
    raise ValueError(f"loss: got {x!r}, expected one of {', '.join(KNOWN)}, or fb.losses.custom(...)")


# ------------------------------------------------------------------------------------------------------ of the user's own

_numbers = itertools.count()


def custom(cost_row: Callable, delta_row: Callable) -> Loss:
    """A cost from two `@njit` functions of one sample.

    cost_row(output, y) -> c_k, for output (m,) and y (m,); delta_row(output, y, delta) writes dc_k / d(output) into delta
    (m,). The cost of a minibatch is the mean of c_k. Both are compared by central differences at random points: a
    ValueError names the worst element if they disagree. The same functions give the same cost, compiled once, as with
    `fb.activations.custom`. What they raise in a call of fastbp ends that call.
    """
    for name, function in (("cost_row", cost_row), ("delta_row", delta_row)):
        if not hasattr(function, "py_func"):
            raise TypeError(f"{name}: got {function!r}, expected a function compiled with @njit")
    return _registered(cost_row, delta_row)


@functools.cache  # for as long as numba keeps their machine code: until the process ends
def _registered(cost_row: Callable, delta_row: Callable) -> Loss:
    check_rows(cost_row, delta_row)
    number = str(next(_numbers))
    codes = {
        dtype: Code(
            custom_cost(getattr(types, dtype), cost_row, delta_row),
            (__name__, "custom", cost_row.__name__, number, dtype),
            cached=False,  # numba cannot tell whether a user's function or what it calls has changed
        )
        for dtype in ("float32", "float64")
    }
    loss = CustomLoss(f"custom({cost_row.__name__})", rows=(cost_row, delta_row))
    object.__setattr__(loss, "code", lambda dtype: codes[dtype].resolve())
    return loss


def check_rows(cost_row: Callable, delta_row: Callable) -> None:
    rng, h = np.random.default_rng(0), 1e-5
    for _ in range(4):
        output, y = rng.standard_normal(3), rng.random(3)
        given = np.zeros(3)
        delta_row(output, y, given)
        steps = np.eye(3) * h
        measured = np.array([(cost_row(output + s, y) - cost_row(output - s, y)) / (2 * h) for s in steps])
        error = np.abs(given - measured) / np.maximum(1.0, np.abs(measured))
        worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
        if not error[worst] <= 1e-4:
            raise ValueError(
                f"delta_row: got {given[worst]:.6g} for element {worst} of output {output.tolist()}, y {y.tolist()}, "
                f"expected {measured[worst]:.6g}, the central difference of cost_row"
            )


def custom_cost(real: Any, cost_row: Callable, delta_row: Callable) -> Callable:
    """The cost code of kernels.losses, for functions of one sample; what these raise is noted."""
    size = real.bitwidth // 8

    @inner
    def add_rows(args):  # pragma: no cover (compiled)
        b = fetch(LossBlock, args)
        total, total_weight = 0.0, 0.0
        for k in range(b.rows):
            total_weight += 1.0 if b.weights == 0 else read(b.weights + size * k, real)
        for k in range(b.rows):
            weight = 1.0 if b.weights == 0 else read(b.weights + size * k, real)
            output, y = (
                array_at(b.z + k * b.z_stride, (b.columns,), 0, real),
                array_at(b.y + k * b.y_row_stride, (b.columns,), 0, real),
            )
            total += b.scale * weight * cost_row(output, y)
            if b.delta != 0:
                delta = array_at(b.delta + k * b.delta_stride, (b.columns,), 0, real)
                delta_row(output, y, delta)
                for j in range(b.columns):
                    delta[j] *= b.scale * weight / total_weight if total_weight != 0 else 0.0
        write(args + AT_COST, total)
        write(args + AT_WEIGHT, total_weight)

    def cost(args):  # pragma: no cover (compiled)
        noting(fetch(LossBlock, args).raised, add_rows, (args,))
        return 0

    return cost
