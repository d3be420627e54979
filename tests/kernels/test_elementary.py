"""exp, log, tanh and the like against mpmath: dense sweeps, special values, any bit pattern."""

import functools

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mpf
from numba import njit, types

from fastbp.compiler.llvm import address_of, has_fma
from fastbp.compiler.vector import load, store
from fastbp.kernels import elementary
from fastbp.kernels.elementary import normal_tail

REALS = [types.float32, types.float64]
DIGITS = 40
SLACK = 0 if has_fma() else 0.3  # ulps more where products are rounded before they are added


@functools.cache
def loop(function, real):
    """A compiled loop of `function` over an array."""
    size, lanes = real.bitwidth // 8, 512 // real.bitwidth

    @njit
    def over(x, out):
        source, target = address_of(x), address_of(out)
        for i in range(0, len(x), lanes):
            n = len(x) - i
            store(target + i * size, function(load(source + i * size, n, real)), n)
        return x.size + out.size

    return over


def mapped(function, x):
    """`function`, from a vector to a vector, over an array of float32 or float64."""
    out = np.empty_like(x)
    loop(function, getattr(types, x.dtype.name))(x, out)
    return out


def ulp(exact, info):
    """The distance of neighbouring floats at an exact value."""
    if exact == 0:
        return info.smallest_subnormal
    exponent = mpmath.frexp(exact)[1] - 1
    return mpf(2) ** (max(exponent, info.minexp) - info.nmant)


def error_in_ulps(got, exact):
    """How far a float is from an exact value; infinity counts as the first power of two beyond the largest float."""
    info = np.finfo(got.dtype)
    if mpmath.isnan(exact) or np.isnan(got):
        return 0.0 if mpmath.isnan(exact) and np.isnan(got) else np.inf
    limit = mpf(2) ** info.maxexp
    exact = min(max(exact, -limit), limit)
    got = limit * int(np.sign(got)) if np.isinf(got) else mpf(float(got))
    return float(abs(got - exact) / ulp(exact, info))


def worst(function, reference, x):
    """The largest error over an array, and where."""
    with mpmath.workdps(DIGITS):
        errors = [error_in_ulps(got, reference(mpf(float(at)))) for at, got in zip(x, mapped(function, x), strict=True)]
    i = int(np.argmax(errors))
    return errors[i], x[i]


def sweep(dtype, low, high, count=1000, seed=0):
    """Points of an interval: evenly spread, spread evenly in the exponent, its ends."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    even = rng.uniform(low, high, count)
    largest = np.log2(max(abs(low), abs(high)))
    near_one = 2.0 ** rng.uniform(-6, min(largest, 4), count) * rng.choice([-1, 1], count)
    wide = 2.0 ** rng.uniform(info.minexp - info.nmant + 1, largest, count) * rng.choice([-1, 1], count)
    x = np.concatenate([even, near_one, wide, [low, high]]).astype(dtype)
    return x[(x >= low) & (x <= high)]


def sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def log(x):
    return mpmath.log(x) if x > 0 else -mpmath.inf if x == 0 else mpmath.nan


def log1p(x):
    return mpmath.log1p(x) if x > -1 else -mpmath.inf if x == -1 else mpmath.nan


# the function, its definition, where it is not constant in float32 and in float64, largest errors in ulps
CASES = {
    "exp": (mpmath.exp, (-104, 89), (-746, 710), 1, 1),
    "expm1": (mpmath.expm1, (-18, 89), (-38, 710), 1.5, 1.7),
    "log": (log, (0, 3.4e38), (0, 1e308), 1, 1),
    "log1p": (log1p, (-1, 3.4e38), (-1, 1e308), 1.5, 1.5),
    "tanh": (mpmath.tanh, (-10, 10), (-20, 20), 2, 2.2),
    "sigmoid": (sigmoid, (-104, 18), (-746, 38), 1.7, 1.7),
    "erf": (mpmath.erf, (-4, 4), (-6, 6), 1.3, 1.3),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("real", REALS)
def test_errors_are_small_everywhere(name, real):
    reference, single, double, *bounds = CASES[name]
    interval, bound = (single, bounds[0]) if real == types.float32 else (double, bounds[1])
    error, at = worst(getattr(elementary, name), reference, sweep(real.name, *interval))
    assert error <= bound + SLACK, f"{name}({at!r}) is off by {error:.2f} ulp"


SPECIAL = {  # at 0, -0, infinity, -infinity
    "exp": (1, 1, np.inf, 0),
    "expm1": (0, -0.0, np.inf, -1),
    "log": (-np.inf, -np.inf, np.inf, np.nan),
    "log1p": (0, -0.0, np.inf, np.nan),
    "tanh": (0, -0.0, 1, -1),
    "sigmoid": (0.5, 0.5, 1, 0),
    "erf": (0, -0.0, 1, -1),
}


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("real", REALS)
def test_special_values(name, real):
    got = mapped(getattr(elementary, name), np.array([0.0, -0.0, np.inf, -np.inf], real.name))
    np.testing.assert_array_equal(got, SPECIAL[name])
    zeros = got == 0
    np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(np.array(SPECIAL[name]))[zeros])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("real", REALS)
def test_nan_stays_nan(name, real):
    patterns = np.array([2**23 - 1, 2**22, 1, 12345]) << (29 if real == types.float64 else 0)
    infinite = np.array([np.inf, -np.inf], real.name).view(f"i{real.bitwidth // 8}")
    nans = (patterns[:, None].astype(infinite.dtype) | infinite).ravel().view(real.name)
    assert np.all(np.isnan(nans))
    assert np.all(np.isnan(mapped(getattr(elementary, name), nans)))


@pytest.mark.parametrize("name", ["log1p", "log"])
@pytest.mark.parametrize("real", REALS)
def test_logarithms_at_and_below_the_pole(name, real):
    pole = -1 if name == "log1p" else 0
    x = np.array([pole, pole - 1, -3e38, pole + 1e-5], real.name)
    np.testing.assert_array_equal(mapped(getattr(elementary, name), x)[:3], [-np.inf, np.nan, np.nan])


@pytest.mark.parametrize("name", ["tanh", "erf"])
@pytest.mark.parametrize("real", REALS)
def test_odd_functions_are_odd_to_the_bit(name, real):
    x = np.abs(sweep(real.name, -10, 10))
    function = getattr(elementary, name)
    np.testing.assert_array_equal(mapped(function, -x), -mapped(function, x))


@pytest.mark.parametrize("real", REALS)
def test_tail_of_the_normal_distribution(real):
    def reference(t):
        return mpmath.erfc(t / mpmath.sqrt(2)) / 2 * mpmath.exp(t * t / 2)

    error, at = worst(normal_tail, reference, sweep(real.name, 0, 15 if real == types.float32 else 39))
    assert error <= 3.5 + SLACK, at


@settings(deadline=None, max_examples=60)
@given(patterns=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40), name=st.sampled_from(sorted(CASES)))
@pytest.mark.parametrize("real", REALS)
def test_any_bit_pattern(real, name, patterns):
    reference, _, _, *bounds = CASES[name]
    x = np.array(patterns, np.uint64).astype(f"u{real.bitwidth // 8}").view(real.name)

    def clipped(at):  # mpmath would compute exp(1e308); every function here is flat or overflowing beyond
        return reference(at) if name.startswith("log") else reference(min(max(at, mpf(-2000)), mpf(2000)))

    for at, got in zip(x, mapped(getattr(elementary, name), x), strict=True):
        if np.isnan(at):
            assert np.isnan(got)
        elif np.isfinite(at):
            with mpmath.workdps(DIGITS):
                assert error_in_ulps(got, clipped(mpf(float(at)))) <= bounds[real == types.float64] + SLACK
