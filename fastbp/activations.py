"""Activations by name, by code, and of the user's own."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from fastbp.attributes import Declared, fixed
from fastbp.compiler.code import Code
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import fetch, read, write
from fastbp.compiler.raised import noting
from fastbp.kernels.activation_formulas import FORMULAS
from fastbp.kernels.activation_passes import Backward, Forward, backward_pass, forward_pass
from fastbp.kernels.activations import Activation

__all__ = ["Activation", "CustomActivation", "as_activation", "custom", "names"]

names = tuple(FORMULAS)
"""The names of the activations, in the order of their codes."""

_numbers = itertools.count()


class CustomActivation(Declared):
    """An activation of the user's; see `custom`."""

    f: Callable = fixed()
    derivative: Callable = fixed()
    from_output: bool = fixed()
    name: str = fixed()

    def __init__(self, f: Callable, derivative: Callable, from_output: bool):
        self.f, self.derivative, self.from_output = f, derivative, from_output
        self.name = getattr(f, "__name__", "custom")
        number = str(next(_numbers))
        self._codes = {}
        for dtype in ("float32", "float64"):
            place = (__name__, "custom", self.name, number, dtype)
            passes = custom_passes(getattr(types, dtype), f, derivative)
            # numba cannot tell whether a user's function or what it calls has changed: not cached on disk
            codes = [Code(p, (*place, p.__name__), cached=False) for p in passes]
            self._codes[dtype] = codes

    def __repr__(self) -> str:
        return f"custom({self.name})"

    def __reduce__(self) -> tuple:
        """For copies and pickles: a new one, since addresses of code mean nothing in another process."""
        return custom, (self.f, self.derivative, self.from_output)

    def passes(self, dtype: str) -> tuple[int, int]:
        forward, backward = self._codes[dtype]
        return forward.resolve(), backward.resolve()


def custom_passes(real: Any, f: Callable, derivative: Callable) -> tuple[Callable, Callable]:
    """The two passes of kernels.passes, for functions of one number; what these raise is noted."""
    size = real.bitwidth // 8

    @inner
    def activate(args, c, crs, row, column, rows, columns):  # pragma: no cover (compiled)
        p = fetch(Forward, args)
        for i in range(rows):
            for j in range(columns):
                place = c + i * crs + size * j
                source = place if p.source == 0 else p.source + (row + i) * p.source_stride + size * (column + j)
                x = read(source, real)
                if p.bias != 0:
                    x = x + read(p.bias + size * (column + j), real)
                if p.z != 0:
                    write(p.z + (row + i) * p.z_stride + size * (column + j), x)
                write(place, real(f(x)))

    @inner
    def differentiate(args, c, crs, row, column, rows, columns):  # pragma: no cover (compiled)
        p = fetch(Backward, args)
        for i in range(rows):
            for j in range(columns):
                place = c + i * crs + size * j
                source = place if p.source == 0 else p.source + (row + i) * p.source_stride + size * (column + j)
                stored = read(p.stored + (row + i) * p.stored_stride + size * (column + j), real)
                write(place, read(source, real) * real(derivative(stored)))

    def forward(args, c, crs, row, column, rows, columns):  # pragma: no cover (compiled)
        noting(fetch(Forward, args).raised, activate, (args, c, crs, row, column, rows, columns))
        return 0

    def backward(args, c, crs, row, column, rows, columns):  # pragma: no cover (compiled)
        noting(fetch(Backward, args).raised, differentiate, (args, c, crs, row, column, rows, columns))
        return 0

    return forward, backward


def custom(f: Callable, derivative: Callable, from_output: bool = False) -> CustomActivation:
    """An activation from two `@njit` functions of one number.

    f(z) is the activation; derivative(z), or derivative(f(z)) with `from_output`, its derivative. Both are compared with
    each other by central differences at points from -4 to 4: a ValueError names the worst one if they disagree.
    Use it as `Dense(..., activation=custom(f, derivative))`. The same functions give the same activation, compiled once; new
    ones, defined in a loop say, are compiled anew, and what numba has compiled stays in memory. What they raise in a call of
    fastbp ends that call.
    """
    for name, function in (("f", f), ("derivative", derivative)):
        if not hasattr(function, "py_func"):
            raise TypeError(f"{name}: got {function!r}, expected a function compiled with @njit")
    return _registered(f, derivative, bool(from_output))


@functools.cache  # for as long as numba keeps their machine code: until the process ends
def _registered(f: Callable, derivative: Callable, from_output: bool) -> CustomActivation:
    z = np.linspace(-4.0, 4.0, 161) + 1e-3 * np.sqrt(2.0)  # off the points where pieces tend to meet
    h = 1e-5
    measured = np.array([(f(x + h) - f(x - h)) / (2 * h) for x in z])
    given = np.array([derivative(f(x) if from_output else x) for x in z])
    error = np.abs(given - measured) / np.maximum(1.0, np.abs(measured))
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    if not error[worst] <= 1e-4:
        raise ValueError(
            f"derivative: got {given[worst]:.6g} at z = {z[worst]:.4g}, expected {measured[worst]:.6g}, "
            f"the central difference of f"
        )
    return CustomActivation(f, derivative, from_output)


def as_activation(x: Any) -> str | CustomActivation:
    """The name of an activation, from its name or code, or a custom one."""
    if isinstance(x, CustomActivation):
        return x
    if isinstance(x, int | np.integer) and not isinstance(x, bool) and 0 <= x < len(names):
        return names[x]
    if isinstance(x, str) and x in names:
        return x
    if isinstance(x, str) and x == "softmax":
        raise ValueError(
            "activation: got 'softmax', expected 'identity' for a last layer of logits: loss='softmax_cross_entropy' "
            "applies the softmax itself, and kernels.softmax(net.predict(x)) gives probabilities"
        )
    raise ValueError(f"activation: got {x!r}, expected one of {', '.join(names)}, or fb.activations.custom(...)")


def activation_passes(activation: str | CustomActivation, dtype: str) -> tuple[int, int, bool]:
    """The addresses of the forward and backward pass, and whether the derivative is computed from the output."""
    if isinstance(activation, CustomActivation):
        return *activation.passes(dtype), activation.from_output
    forward, backward = forward_pass.of(dtype, activation), backward_pass.of(dtype, activation)
    return forward.resolve(), backward.resolve(), FORMULAS[activation].from_output
