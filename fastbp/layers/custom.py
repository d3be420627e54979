"""Custom: an operation made of two `@njit` functions of the user's."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from fastbp.attributes import fixed
from fastbp.checks import njit_function, whole_number
from fastbp.compiler.code import Code
from fastbp.data.arrays import any_array
from fastbp.engine.memory import OperationSpec
from fastbp.engine.operations.custom import custom_backward, custom_forward
from fastbp.layers.base import Layer
from fastbp.layers.initial import initial
from fastbp.network.contract import Tensor


class Custom(Layer):
    """An operation of the user's, from two `@njit` functions on whole minibatches.

    forward(x, parameters, out) fills out (K, outputs) from x (K, inputs); backward(delta, x, out, parameters, gradients,
    delta_x) fills gradients (a flat vector like parameters) and delta_x (K, inputs) from delta = dC/d(out). parameters:
    the initial values of the operation's parameters, a vector; weight decay does not spare any of them. Compiled anew in
    every process, once for all layers of the same two functions. What they raise in a call of fastbp ends that call, with the
    network as it was before the step. `fb.check_gradients` tells whether forward and backward agree.
    """

    custom = "layers"

    parameters_init: np.ndarray = fixed()

    def __init__(self, inputs: int, outputs: int, forward: Callable, backward: Callable, parameters: Any = ()):
        super().__init__()
        self.inputs = whole_number("inputs", inputs, at_least=1)
        self.outputs = whole_number("outputs", outputs, at_least=1)
        functions = njit_function("forward", forward), njit_function("backward", backward)
        values = any_array("parameters", parameters, "a vector of real numbers")
        self.parameters_init = initial(values, "parameters", (values.size,), 0, 0)
        self._functions = functions

    def __repr__(self) -> str:
        return f"Custom({self.inputs}, {self.outputs}, {self._functions[0].__name__})"

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (Tensor("parameters", self.parameters_init.shape, self.parameters_init, "parameters"),)

    @property
    def flops(self) -> float:
        return 2.0 * self.inputs * self.outputs

    def operation(self, dtype: str) -> OperationSpec:
        forward, backward = custom_codes(*self._functions, dtype)
        return self.spec(forward, backward)


_numbers = itertools.count()


@functools.cache  # layers of the same functions share them, for as long as numba keeps machine code: until the process ends
def custom_codes(forward: Callable, backward: Callable, dtype: str) -> list[Code]:
    """Return the codes of an operation of the user's."""
    place, real = (__name__, "Custom", str(next(_numbers)), dtype), getattr(types, dtype)
    functions = (custom_forward(real, forward), custom_backward(real, backward))
    return [Code(f, (*place, f.__name__), cached=False) for f in functions]
