"""Activations and derivatives against their definitions in mpmath; the same bits whatever the registers' width."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mpf
from numba import types
from test_elementary import DIGITS, REALS, SLACK, error_in_ulps, log1p, mapped, sigmoid, sweep, worst

from fastbp.compiler.llvm import has_fma, target_features
from fastbp.kernels.activation_formulas import FORMULAS

SCALE, ALPHA = mpf("1.0507009873554805"), mpf("1.6732632423543772")
GELU = "0.044715"


def phi(z):
    """The normal distribution."""
    return mpmath.erfc(-z / mpmath.sqrt(2)) / 2


def density(z):
    return mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi)


def softplus(z):
    return z + log1p(mpmath.exp(-z)) if z > 0 else log1p(mpmath.exp(z))


def steep(z):
    """gelu_tanh(z) = z sigmoid(steep(z))"""
    return 2 * mpmath.sqrt(2 / mpmath.pi) * (z + mpf(GELU) * z**3)


def steep_slope(z):
    return 2 * mpmath.sqrt(2 / mpmath.pi) * (1 + 3 * mpf(GELU) * z**2)


def gate_slope(z, v, slope):
    """The derivative of z sigmoid(v(z))"""
    return sigmoid(v) + z * sigmoid(v) * sigmoid(-v) * slope


# the definition of f; that of f' from what is stored; the largest errors of f in ulps in float32 and in float64
CASES = {
    "identity": (lambda z: z, lambda y: 1, 0, 0),
    "relu": (lambda z: max(z, 0), lambda y: int(y > 0), 0, 0),
    "leaky_relu": (lambda z: z if z > 0 else z / 100, lambda y: 1 if y > 0 else mpf("0.01"), 1, 1),
    "elu": (lambda z: z if z > 0 else mpmath.expm1(z), lambda y: 1 if y > 0 else y + 1, 1.5, 1.5),
    "selu": (
        lambda z: SCALE * z if z > 0 else SCALE * ALPHA * mpmath.expm1(z),
        lambda y: SCALE if y > 0 else y + SCALE * ALPHA,
        2, 2.7,
    ),
    "gelu": (lambda z: z * phi(z), lambda z: phi(z) + z * density(z), 4, 4),
    "gelu_tanh": (lambda z: z * sigmoid(steep(z)), lambda z: gate_slope(z, steep(z), steep_slope(z)), 4, 4),
    "silu": (lambda z: z * sigmoid(z), lambda z: gate_slope(z, z, 1), 3.5, 3.5),
    "mish": (
        lambda z: z * mpmath.tanh(softplus(z)),
        lambda z: mpmath.tanh(softplus(z)) + z * mpmath.sech(softplus(z)) ** 2 * sigmoid(z),
        3.5, 3.5,
    ),
    "softplus": (softplus, lambda y: -mpmath.expm1(-y), 2, 2),
    "tanh": (mpmath.tanh, lambda y: 1 - y * y, 2, 2.2),
    "sigmoid": (sigmoid, lambda y: y * (1 - y), 1.7, 1.7),
    "hard_sigmoid": (
        lambda z: min(max(z / 6 + mpf(1) / 2, mpf(0)), mpf(1)),
        lambda y: mpf(1) / 6 if 0 < y < 1 else 0,
        1.5, 1.5,
    ),
}  # fmt: skip
FROM_Z = {"gelu", "gelu_tanh", "silu", "mish"}
OUTPUTS = {
    "tanh": (-1, 1), "sigmoid": (0, 1), "hard_sigmoid": (0, 1),
    "elu": (-1, 50), "selu": (-1.75, 50), "softplus": (0, 100), "relu": (0, 50),
}  # fmt: skip
FAR = {types.float32: 112, types.float64: 765}  # beyond, every activation is zero, constant or linear


def bound_of(name, real):
    """The largest error of f, in ulps. Without fma the far tails of two functions lack a square in twice the precision."""
    if name in ("gelu", "gelu_tanh") and not has_fma():
        return {types.float32: 150, types.float64: 1500}[real]
    return CASES[name][2 + (real == types.float64)] + SLACK


def test_the_table_and_the_order_of_the_codes():
    order = "identity relu leaky_relu elu selu gelu gelu_tanh silu mish softplus tanh sigmoid hard_sigmoid"
    assert list(FORMULAS) == order.split() == list(CASES)
    assert {name for name, formula in FORMULAS.items() if not formula.from_output} == FROM_Z


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("real", REALS)
def test_errors_are_small_everywhere(name, real):
    reference, bound = CASES[name][0], bound_of(name, real)
    x = np.concatenate([sweep(real.name, -FAR[real], FAR[real], 500), sweep(real.name, -40, 8, 300)])
    error, at = worst(FORMULAS[name].f, reference, x)
    assert error <= bound, f"{name}({at!r}) is off by {error:.2f} ulp"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("real", REALS)
def test_derivatives(name, real):
    """Within 4 eps max(1, |f'|), f' taken of what is stored."""
    stored = sweep(real.name, *OUTPUTS.get(name, (-FAR[real], FAR[real])), 500)
    eps = np.finfo(real.name).eps
    with mpmath.workdps(DIGITS):
        for at, got in zip(stored, mapped(FORMULAS[name].derivative, stored), strict=True):
            exact = CASES[name][1](mpf(float(at)))
            assert abs(mpf(float(got)) - exact) <= 4 * eps * max(1, abs(exact)), at


SPECIAL = {  # f at 0, infinity, -infinity
    "identity": (0, np.inf, -np.inf),
    "relu": (0, np.inf, 0),
    "leaky_relu": (0, np.inf, -np.inf),
    "elu": (0, np.inf, -1),
    "selu": (0, np.inf, -1.7580993408473766),
    "softplus": (np.log(2), np.inf, 0),
    "tanh": (0, 1, -1),
    "sigmoid": (0.5, 1, 0),
    "hard_sigmoid": (0.5, 1, 0),
}
GATE = (0, np.inf, 0)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("real", REALS)
def test_limits_and_nan(name, real):
    got = mapped(FORMULAS[name].f, np.array([0, np.inf, -np.inf, np.nan], real.name))
    np.testing.assert_array_equal(got[:3], np.array(SPECIAL.get(name, GATE), real.name))
    assert np.isnan(got[3])


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("real", REALS)
def test_derivatives_at_the_limits_are_finite(name, real):
    """Of what a layer stores where z is 0, infinite or -infinite."""
    f, derivative, from_output = FORMULAS[name]
    z = np.array([0, np.inf, -np.inf], real.name)
    got = mapped(derivative, mapped(f, z) if from_output else z)
    assert np.all(np.isfinite(got))
    if name in FROM_Z:
        want = (0.6 if name == "mish" else 0.5, 1, 0)
        np.testing.assert_allclose(got, want, rtol=4 * np.finfo(real.name).eps)
    if name == "relu":
        np.testing.assert_array_equal(got, [0, 1, 0])


@settings(deadline=None, max_examples=60)
@given(patterns=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40), name=st.sampled_from(list(CASES)))
@pytest.mark.parametrize("real", REALS)
def test_any_bit_pattern(real, name, patterns):
    reference = CASES[name][0]
    x = np.array(patterns, np.uint64).astype(f"u{real.bitwidth // 8}").view(real.name)
    for at, got in zip(x, mapped(FORMULAS[name].f, x), strict=True):
        if np.isnan(at):
            assert np.isnan(got)
        elif abs(at) < 2000:
            with mpmath.workdps(DIGITS):
                assert error_in_ulps(got, reference(mpf(float(at)))) <= bound_of(name, real)


def digest():
    """A hash of the bits of the formulas that are not piecewise linear, over many arguments."""
    hashed = hashlib.sha256()
    functions = [FORMULAS[name].f for name in ("elu", "softplus", "tanh", "sigmoid", *sorted(FROM_Z))]
    functions += [FORMULAS[name].derivative for name in sorted(FROM_Z)]
    for real in REALS:
        x = sweep(real.name, -FAR[real], FAR[real])
        for function in functions:
            hashed.update(mapped(function, x).tobytes())
    return hashed.hexdigest()


@pytest.mark.skipif("avx512f" not in target_features(), reason="compares AVX2 with AVX-512")
def test_avx2_and_avx512_give_the_same_bits():
    environment = {**os.environ, "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}
    child = subprocess.run(
        [sys.executable, "-c", "import test_formulas; print(test_formulas.digest())"],
        cwd=Path(__file__).parent, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert child.stdout.split()[-1] == digest()
