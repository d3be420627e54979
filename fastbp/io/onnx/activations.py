"""The activations in the operators of opset 17, stable at arguments of any size.

An operator with attributes serves float32 alone: attributes are float32 (0.01 is 2e-8 off), and onnxruntime computes
Elu, Selu, Softplus, HardSigmoid and Erf in float32 alone. Gelu and Mish came with later opsets. Elu, and with it Selu, is
written out for float32 too: as exp(z) - 1 onnxruntime's loses all digits near zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastbp.io.onnx.graph import Value, node
from fastbp.kernels.activation_formulas import CUBIC, LEAKY_SLOPE, LINEAR, NORMAL_FAR, SELU_SCALE, SELU_SCALE_ALPHA
from fastbp.kernels.elementary import SQRT_2PI, TAIL_A, TAIL_B


def activate(z: Value, name: Any) -> Value:
    """Return the activation of that name."""
    if name in SINGLE_PRECISION and z.graph.dtype == np.float32:
        return SINGLE_PRECISION[name](z)
    return FORMULAS[name](z)


def leaky_relu(z: Value) -> Value:
    return node("Max", z, LEAKY_SLOPE * z)


def expm1_below_zero(z: Value) -> Value:
    """exp(z) - 1 where z < 0, else 0: tanh(z / 2) (exp(z) + 1), in which nothing cancels."""
    below = node("Min", z, 0.0)
    return node("Tanh", below * 0.5) * (node("Exp", below) + 1.0)


def elu(z: Value) -> Value:
    return node("Relu", z) + expm1_below_zero(z)


def selu(z: Value) -> Value:
    return SELU_SCALE * node("Relu", z) + SELU_SCALE_ALPHA * expm1_below_zero(z)


def softplus(z: Value) -> Value:
    """max(0, z) + log(1 + e), e = exp(-|z|): log(1 + e) = e log(u) / (u - 1), u the rounded 1 + e (Kahan)."""
    e = node("Exp", -node("Abs", z))
    u = e + 1.0
    rest = u - 1.0
    log1p = node("Where", node("Equal", rest, 0.0), e, e * node("Log", u) / rest)
    return node("Relu", z) + log1p


def gelu_by_erf(z: Value) -> Value:
    """z (1 + erf(z / sqrt(2))) / 2, in the form that runtimes know and fuse."""
    return z * (node("Erf", z / math.sqrt(2)) + 1.0) * 0.5


def gelu(z: Value) -> Value:
    """max(0, z) - t Phi(-t), t = |z|: the tail of the normal distribution as kernels.elementary.normal_tail has it."""
    t = node("Min", node("Abs", z), NORMAL_FAR.float64)
    b = polynomial(t, TAIL_B.float64)
    tail = b / (SQRT_2PI * t * b + polynomial(t, TAIL_A.float64)) * node("Exp", t * t * -0.5)
    return node("Relu", z) - t * tail


def polynomial(t: Value, coefficients: Sequence[float]) -> Value:
    """Return the polynomial by Horner's rule, from the coefficient of the constant on."""
    *rest, highest = coefficients
    total = highest * t + rest.pop()
    for coefficient in reversed(rest):
        total = total * t + coefficient
    return total


def gelu_tanh(z: Value) -> Value:
    """z sigmoid(v), v = 2 sqrt(2 / pi) (z + 0.044715 z**3)"""
    return z * node("Sigmoid", z * (z * z * CUBIC.float64 + LINEAR.float64))


def silu(z: Value) -> Value:
    return z * node("Sigmoid", z)


def mish(z: Value) -> Value:
    return z * node("Tanh", activate(z, "softplus"))


def hard_sigmoid(z: Value) -> Value:
    return node("Clip", z + 3.0, 0.0, 6.0) * (1 / 6)


FORMULAS: dict[str, Callable[[Value], Value]] = {
    "identity": lambda z: z,
    "relu": lambda z: node("Relu", z),
    "leaky_relu": leaky_relu,
    "elu": elu,
    "selu": selu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": silu,
    "mish": mish,
    "softplus": softplus,
    "tanh": lambda z: node("Tanh", z),
    "sigmoid": lambda z: node("Sigmoid", z),
    "hard_sigmoid": hard_sigmoid,
}

SINGLE_PRECISION: dict[str, Callable[[Value], Value]] = {
    "leaky_relu": lambda z: node("LeakyRelu", z, alpha=LEAKY_SLOPE),
    "gelu": gelu_by_erf,
    "softplus": lambda z: node("Softplus", z),
    "hard_sigmoid": lambda z: node("HardSigmoid", z, alpha=1 / 6, beta=0.5),
}
