"""Activations and their derivatives as formulas on a `Vector`, for whatever loops over arrays or over a register tile.

`f(z)` is the activation. `derivative(stored)` is f' from what a layer stores: the output where that determines the
derivative, otherwise the pre-activation z. NaN gives NaN in f; limits at infinities are right in f and derivative.
f is accurate to 4 ulp over the whole range, far tails and gradual underflow included; derivatives to 2.5 eps max(1, |f'|).
(Without fused multiply-add the far tails of gelu and gelu_tanh lose 6 bits in float32, 9 in float64.)

The smooth gates silu, gelu and gelu_tanh are z G(z) with G(-z) = 1 - G(z). They share one form that neither cancels nor
overflows: with t = |z|, f(z) = max(0, z) - t G(-t). G(-t) has a factor exp(-something), applied last of all: it may
underflow where the product does not.
"""

from collections.abc import Callable
from typing import NamedTuple

from fastbp.compiler.jit import inlined
from fastbp.compiler.vector import PerDtype, absolute, copysign, fma, maximum, minimum, select, splat
from fastbp.kernels.elementary import (
    LOWEST,
    exp,
    expm1,
    log1p_of_fraction,
    normal_tail,
    plus_times_exp,
    sigmoid,
    tanh,
    times_exp,
)


class Formula(NamedTuple):
    """An activation: `f(z)`, and `derivative` of the output if `from_output`, else of z."""

    f: Callable
    derivative: Callable
    from_output: bool


# ---------------------------------------------------------------------------------------------------- piecewise linear


@inlined
def identity(z):
    return z


@inlined
def identity_derivative(y):
    return splat(y, 1)


@inlined
def relu(z):
    """max(0, z)"""
    return maximum(0, z)


@inlined
def relu_derivative(y):
    """1 where y > 0, else 0: also at z = 0."""
    return select(y > 0, splat(y, 1), 0)


LEAKY_SLOPE = 0.01


@inlined
def leaky_relu(z):
    """z where z > 0, else z / 100"""
    return select(z > 0, z, LEAKY_SLOPE * z)


@inlined
def leaky_relu_derivative(y):
    return select(y > 0, splat(y, 1), LEAKY_SLOPE)


SIXTH = 1 / 6


@inlined
def hard_sigmoid(z):
    """z / 6 + 1 / 2 clipped to 0 .. 1, as PyTorch has it. Clipped before it is scaled, so that the ends are exact."""
    return minimum(6, maximum(0, z + 3)) * SIXTH


@inlined
def hard_sigmoid_derivative(y):
    """1 / 6 where 0 < y < 1, else 0."""
    return select((y > 0) & (y < 1), splat(y, SIXTH), 0)


# --------------------------------------------------------------------------------------------------------- exponential

# Klambauer et al., Self-Normalizing Neural Networks (2017)
SELU_SCALE, SELU_SCALE_ALPHA = 1.0507009873554805, 1.7580993408473766


@inlined
def elu(z):
    """z where z > 0, else exp(z) - 1"""
    return select(z > 0, z, expm1(z))


@inlined
def elu_derivative(y):
    """1 where y > 0, else exp(z) = y + 1."""
    return select(y > 0, splat(y, 1), y + 1)


@inlined
def selu(z):
    """scale (z where z > 0, else alpha (exp(z) - 1))"""
    return select(z > 0, SELU_SCALE * z, SELU_SCALE_ALPHA * expm1(z))


@inlined
def selu_derivative(y):
    """scale where y > 0, else scale alpha exp(z) = y + scale alpha."""
    return select(y > 0, splat(y, SELU_SCALE), y + SELU_SCALE_ALPHA)


@inlined
def softplus(z):
    """log(1 + exp(z)) = max(0, z) + log(1 + exp(-|z|))"""
    return maximum(0, z) + log1p_of_fraction(exp(-absolute(z)))


@inlined
def softplus_derivative(y):
    """sigmoid(z) = 1 - exp(-y)"""
    return -expm1(-y)


@inlined
def tanh_derivative(y):
    """1 - y**2"""
    return fma(-y, y, 1)


@inlined
def sigmoid_derivative(y):
    """y (1 - y)"""
    return fma(-y, y, y)


# -------------------------------------------------------------------------------------------------------------- gates

FAR = PerDtype(110, 760)  # exp(-FAR) FAR underflows to zero


@inlined
def silu(z):
    """z sigmoid(z); sigmoid(-t) = exp(-t) / (1 + exp(-t))"""
    t = minimum(FAR, absolute(z))
    return plus_times_exp(maximum(0, z), -t / (1 + times_exp(1, -t)), -t, -0.0)


@inlined
def gate_derivative(z, v, slope):
    """s + z s (1 - s) slope, s = sigmoid(v), as a quotient of sums in e = exp(-|v|): s = 1 / d or e / d, d = 1 + e.

    1 - s would leave an error of an ulp of one, times z.
    """
    e = times_exp(1, -absolute(v))
    d = 1 + e
    return fma(select(v < 0, e, 1), d, z * slope * e) / (d * d)


@inlined
def silu_derivative(z):
    """s + z s (1 - s), s = sigmoid(z)"""
    z = copysign(minimum(FAR, absolute(z)), z)
    return gate_derivative(z, z, 1)


DENSITY_AT_ZERO = 0.3989422804014327  # 1 / sqrt(2 pi)
NORMAL_FAR = PerDtype(15, 39)  # z Phi(-z) underflows to zero


@inlined
def gelu(z):
    """z Phi(z), Phi the normal distribution; Phi(-t) = normal_tail(t) exp(-t**2 / 2), t**2 in twice the precision."""
    t = minimum(NORMAL_FAR, absolute(z))
    exponent = 0.5 * t * t
    return plus_times_exp(maximum(0, z), -t * normal_tail(t), -exponent, fma(-0.5 * t, t, exponent))


@inlined
def gelu_derivative(z):
    """Phi(z) + z phi(z), phi the normal density."""
    t = minimum(NORMAL_FAR, absolute(z))
    bell = times_exp(1, -0.5 * t * t)
    tail = normal_tail(t) * bell
    return fma(copysign(t, z) * DENSITY_AT_ZERO, bell, select(z > 0, 1 - tail, tail))


# gelu_tanh(z) = z sigmoid(v), v = 2 sqrt(2 / pi) (z + 0.044715 z**3): the coefficients of z and z**3, in two parts
LINEAR = PerDtype(1.5957692, 1.5957691216057308)
LINEAR_LOW = PerDtype(-4.534068e-08, -9.96930880911092e-17)
CUBIC = PerDtype(0.071354814, 0.07135481627260025)
CUBIC_LOW = PerDtype(2.3988325e-09, -6.175149918155315e-19)
THREE_CUBIC = 0.21406444881780073
TANH_FAR = PerDtype(12, 24)  # where z sigmoid(-v) underflows to zero


@inlined
def gelu_tanh(z):
    """z (1 + tanh(v / 2)) / 2 = z sigmoid(v), v = 2 sqrt(2 / pi) (z + 0.044715 z**3)

    v in twice the precision: v is up to 110 (float64: 760), and its error is the relative error of exp(-v).
    """
    t = minimum(TANH_FAR, absolute(z))
    square = t * t
    square_low = fma(t, t, -square)
    cubic = CUBIC * square
    cubic_low = fma(CUBIC, square, -cubic) + fma(CUBIC, square_low, CUBIC_LOW * square)
    slope = LINEAR + cubic  # Knuth's two-sum
    shift = slope - LINEAR
    slope_low = (LINEAR - (slope - shift)) + (cubic - shift) + (cubic_low + LINEAR_LOW)
    v = t * slope
    v_low = fma(t, slope_low, fma(t, slope, -v))
    d = plus_times_exp(splat(z, 1), 1, -v, -v_low)
    return plus_times_exp(maximum(0, z), -t / d, -v, -v_low)


@inlined
def gelu_tanh_derivative(z):
    """s + z s (1 - s) v', s = sigmoid(v), v' = 2 sqrt(2 / pi) (1 + 3 * 0.044715 z**2)"""
    z = copysign(minimum(TANH_FAR, absolute(z)), z)
    square = z * z
    return gate_derivative(z, z * fma(CUBIC, square, LINEAR), fma(THREE_CUBIC, square, LINEAR))


MISH_IS_Z = PerDtype(20, 40)


@inlined
def mish(z):
    """z tanh(softplus(z)) = z (1 - 2 / d), or z e (1 - e (1 + e) / d) where z < 0, d = e (e + 2) + 2, e = exp(z)"""
    x = minimum(MISH_IS_Z, maximum(LOWEST, z))
    e = times_exp(1, x)
    d = fma(e, e + 2, 2)
    y = fma(-x, select(x > 0, splat(x, 2), fma(e, e, e)) / d, x)
    return select(z > MISH_IS_Z, z, select(x > 0, y, times_exp(y, x)))


@inlined
def mish_derivative(z):
    """w + 4 z e (1 + e) / d**2, w = tanh(softplus(z)) = (d - 2) / d, d = e (e + 2) + 2, e = exp(z)"""
    x = minimum(MISH_IS_Z, maximum(LOWEST, z))
    e = times_exp(1, x)
    n = e * (e + 2)
    d = n + 2
    return fma(n, d, 4 * x * e * (1 + e)) / (d * d)


FORMULAS = {
    "identity": Formula(identity, identity_derivative, True),
    "relu": Formula(relu, relu_derivative, True),
    "leaky_relu": Formula(leaky_relu, leaky_relu_derivative, True),
    "elu": Formula(elu, elu_derivative, True),
    "selu": Formula(selu, selu_derivative, True),
    "gelu": Formula(gelu, gelu_derivative, False),
    "gelu_tanh": Formula(gelu_tanh, gelu_tanh_derivative, False),
    "silu": Formula(silu, silu_derivative, False),
    "mish": Formula(mish, mish_derivative, False),
    "softplus": Formula(softplus, softplus_derivative, True),
    "tanh": Formula(tanh, tanh_derivative, True),
    "sigmoid": Formula(sigmoid, sigmoid_derivative, True),
    "hard_sigmoid": Formula(hard_sigmoid, hard_sigmoid_derivative, True),
}
"""The activations. Their order gives them their codes."""
