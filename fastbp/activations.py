"""Activations: their names and codes, and those made from functions of the user."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from fastbp.attributes import Declared, fixed
from fastbp.checks import njit_function, same_derivative
from fastbp.compiler.code import Code
from fastbp.kernels.activation_formulas import FORMULAS
from fastbp.kernels.activation_passes import backward_pass, forward_pass
from fastbp.kernels.activations import Activation
from fastbp.kernels.custom import custom_passes

__all__ = ["Activation", "CustomActivation", "as_activation", "custom", "names"]

names = tuple(FORMULAS)
"""The names of the activations, in the order of their codes."""

_numbers = itertools.count()


class CustomActivation(Declared):
    """An activation made of two functions of the user's; see `custom`."""

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
        """Copy and pickle as the call that makes the activation: addresses of code mean nothing in another process."""
        return custom, (self.f, self.derivative, self.from_output)

    def passes(self, dtype: str) -> tuple[int, int]:
        """Return the addresses of the forward and the backward pass."""
        forward, backward = self._codes[dtype]
        return forward.resolve(), backward.resolve()


def custom(f: Callable, derivative: Callable, from_output: bool = False) -> CustomActivation:
    """Make an activation from two `@njit` functions of one number.

    f(z) is the activation; derivative(z), or derivative(f(z)) with `from_output`, its derivative. Both are compared with
    each other by central differences at points from -4 to 4: a ValueError names the worst one if they disagree.
    Use it as `Dense(..., activation=custom(f, derivative))`. The same functions give the same activation, compiled once; new
    ones, defined in a loop say, are compiled anew, and what numba has compiled stays in memory. What they raise in a call of
    fastbp ends that call.
    """
    return _registered(njit_function("f", f), njit_function("derivative", derivative), bool(from_output))


@functools.cache  # for as long as numba keeps their machine code: until the process ends
def _registered(f: Callable, derivative: Callable, from_output: bool) -> CustomActivation:
    z = np.linspace(-4.0, 4.0, 161) + 1e-3 * np.sqrt(2.0)  # off the points where pieces tend to meet
    h = 1e-5
    measured = np.array([(f(x + h) - f(x - h)) / (2 * h) for x in z])
    given = np.array([derivative(f(x) if from_output else x) for x in z])
    same_derivative("derivative", given, measured, "f", [f"at z = {x:.4g}" for x in z])
    return CustomActivation(f, derivative, from_output)


def as_activation(x: Any) -> str | CustomActivation:
    """Return a custom activation as it is, and the name of any other, from its name or code."""
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
    """Return the addresses of the forward and backward pass, and whether the derivative is computed from the output."""
    if isinstance(activation, CustomActivation):
        return *activation.passes(dtype), activation.from_output
    forward, backward = forward_pass.of(dtype, activation), backward_pass.of(dtype, activation)
    return forward.resolve(), backward.resolve(), FORMULAS[activation].from_output
