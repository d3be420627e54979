"""Elementary functions of a `Vector`: exp, expm1, log, log1p, tanh, sigmoid, erf, the tail of the normal distribution.

All are branch-free: one polynomial or rational over a reduced argument, in explicit fma, the same for both dtypes but
for the coefficients. So the bits are the same on all CPUs with fused multiply-add. NaN gives NaN, infinities give
their limits, and underflow is gradual, in and out.

Coefficients are minimax fits by Remez exchange in 45 digits, rounded; in float32 then improved by trying neighbours. A
comment gives the interval, the degrees, and the largest relative error before evaluation, in float32 and in float64.

Cody and Waite, Software Manual for the Elementary Functions (1980): the reduction of exp by ln 2 in two parts.
Muller, Elementary Functions (2016): adding 1.5 * 2**p, which rounds to an integer and leaves it in the low bits.
"""

import math

from fastbp.compiler.jit import inlined
from fastbp.compiler.vector import (
    PerDtype,
    absolute,
    bits,
    copysign,
    fma,
    from_bits,
    maximum,
    minimum,
    polynomial,
    select,
    splat,
)  # fmt: skip

MANTISSA_BITS = PerDtype(23, 52)
SQRT2 = 1.4142135623730951
BIAS, BIAS_AND_ONE = PerDtype(127, 1023), PerDtype(128, 1024)  # of the exponent

# ----------------------------------------------------------------------------------------------------------------- exp

# exp underflows to zero below LOWEST, even after multiplication with 1 - LOWEST, and overflows above HIGHEST
LOWEST, HIGHEST = PerDtype(-110, -760), PerDtype(89, 710)
LOG2_E = PerDtype(1.442695, 1.4426950408889634)
# - ln 2 in two parts. The high one has as many trailing zeros as k has bits: its product is exact even without fma
MINUS_LN2_HIGH = PerDtype(-0.693145751953125, -0.693147180559663)
MINUS_LN2_LOW = PerDtype(-1.4286068e-06, -2.8235290563031577e-13)
# 1.5 * 2**p, p being MANTISSA_BITS: the sum with k has k in its low bits. 2 BIAS more keeps them positive
ROUND = PerDtype(1.5 * 2**23 + 2 * 127, 1.5 * 2**52 + 2 * 1023)

# exp(r), |r| <= ln(2)/2, degrees 6 and 11: 2**-28.2, 2**-56.5
EXP = PerDtype(
    (1, 1, 0.49999994, 0.1666652, 0.041668314, 0.008368825, 0.001381442),
    (
        1, 1, 0.5000000000000011, 0.1666666666666641, 0.04166666666652919, 0.008333333333495627, 0.0013888888943922725,
        0.000198412695047554, 2.4801492762742128e-05, 2.755758735209191e-06, 2.7630378630897197e-07,
        2.4999961973086914e-08,
    ),
)  # fmt: skip
# (exp(r) - 1 - r) / r**2, |r| <= ln(2)/2, degrees 5 and 10: 2**-30.3, 2**-59.7 of exp(r) - 1
EXPM1 = PerDtype(
    (0.5, 0.16666666, 0.041666415, 0.008333472, 0.0013940788, 0.00019845967),
    (
        0.5, 0.16666666666666677, 0.041666666666666505, 0.008333333333321608, 0.0013888888888962895,
        0.00019841269886207915, 2.4801587171854526e-05, 2.755724410422601e-06, 2.7557402932241094e-07,
        2.5109081382421237e-08, 2.0875330540501197e-09,
    ),
)  # fmt: skip


@inlined
def reduced(x):
    """r, |r| <= ln(2)/2, and bits that end in k + 2 BIAS, where x = k ln(2) + r."""
    sum_ = fma(x, LOG2_E, ROUND)
    k = sum_ - ROUND
    return fma(k, MINUS_LN2_LOW, fma(k, MINUS_LN2_HIGH, x)), bits(sum_)


@inlined
def power_of_two(exponent):
    """2**(the low bits of `exponent` - BIAS)."""
    return from_bits(exponent << MANTISSA_BITS)


@inlined
def factors_of_exp(r, k_bits):
    """Return two factors of 2**k exp(r), both in range where their product may not be."""
    half = k_bits >> 1
    return power_of_two(half), polynomial(r, EXP) * power_of_two(k_bits - half)


@inlined
def times_exp(factor, x):
    """factor * exp(x), also where exp(x) alone would underflow, for x <= HIGHEST."""
    r, k_bits = reduced(maximum(LOWEST, x))
    power, rest = factors_of_exp(r, k_bits)
    return (factor * power) * rest


@inlined
def plus_times_exp(addend, factor, x, tail):
    """addend + factor * exp(x + tail) for x <= HIGHEST; the tail is what a rounded product or sum x lacks.

    Rounded once at the end, gradual underflow included. Without a tail pass -0.0, whose addition compiles to nothing.
    """
    r, k_bits = reduced(maximum(LOWEST, x))
    power, rest = factors_of_exp(r + tail, k_bits)
    return fma(factor * power, rest, addend)


@inlined
def exp(x):
    return times_exp(1, minimum(HIGHEST, x))


@inlined
def expm1_of_reduced(r):
    """exp(r) - 1."""
    return fma(r * r, polynomial(r, EXPM1), r)


TINY = PerDtype(2.0**-60, 2.0**-500)  # far below where expm1(x) rounds to x, far above underflow


@inlined
def expm1(x):
    """exp(x) - 1 = 2 (s p + (s - 1/2)), s = 2**(k-1), p = exp(r) - 1: 2**k could overflow where the result does not."""
    r, k_bits = reduced(minimum(HIGHEST, maximum(-40, x)))
    s = power_of_two(k_bits - BIAS_AND_ONE)
    y = fma(s, expm1_of_reduced(r), s - 0.5)
    return select(absolute(x) < TINY, x, y + y)


# ---------------------------------------------------------------------------------------------------- tanh and sigmoid

TANH_IS_ONE = PerDtype(20, 40)  # twice the argument from which tanh rounds to 1, and more


@inlined
def tanh(x):
    """(1 - t) / (1 + t), t = exp(-2 |x|) = s + s p with the sign of x. 1 - s is exact: one rounding each side."""
    r, k_bits = reduced(-minimum(TANH_IS_ONE, absolute(x) + absolute(x)))
    s, p = power_of_two(k_bits - BIAS), expm1_of_reduced(r)
    return copysign(fma(s, p, s - 1) / fma(s, p, s + 1), x)


@inlined
def sigmoid(x):
    """1 / (1 + exp(-x)) = 1 - q, or t (1 - q) where x < 0, t = exp(-|x|), q = t / (1 + t); the error of q is damped."""
    t = times_exp(1, -absolute(x))
    y = select(x < 0, t, 1)
    return fma(-y, t / (1 + t), y)


# ----------------------------------------------------------------------------------------------------------- logarithm

MANTISSA = PerDtype(2**23 - 1, 2**52 - 1)
SQRT_HALF_BITS = PerDtype(0x3F3504F3, 0x3FE6A09E667F3BCD)
ONE_LESS_SQRT_HALF_BITS = PerDtype(0x3F800000 - 0x3F3504F3, 0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
TWO_POWER_BITS, TWO_POWER_AND_BIAS = PerDtype(0x4B000000, 0x4330000000000000), PerDtype(2**23 + 127, 2**52 + 1023)
SMALLEST_NORMAL = PerDtype(2.0**-126, 2.0**-1022)
LN2_HIGH, LN2_LOW = PerDtype(0.693145751953125, 0.693147180559663), PerDtype(1.4286068e-06, 2.8235290563031577e-13)
DENORMAL_SCALE, DENORMAL_SHIFT = PerDtype(2.0**24, 2.0**54), PerDtype(24, 54)
TWICE_BIAS_AND_TWO = PerDtype(2 * 127 + 2, 2 * 1023 + 2)

# (log((1 + s) / (1 - s)) - 2 s) / s**3 in s**2, |s| <= 0.1716, degrees 2 and 6: 2**-30.1, 2**-58.8 of the logarithm
LOG = PerDtype(
    (0.66666776, 0.39977527, 0.29872152),
    (
        0.6666666666666734, 0.3999999999941355, 0.2857142874266381, 0.22222198542500013, 0.18183566035638932,
        0.1531400402214549, 0.14796441992962425,
    ),
)  # fmt: skip


@inlined
def split_exponent(x):
    """k + BIAS, and the bits of m, where x = m 2**k, sqrt(1/2) <= m < sqrt(2), for x normal and positive."""
    moved = bits(x) + ONE_LESS_SQRT_HALF_BITS
    return moved >> MANTISSA_BITS, (moved & MANTISSA) + SQRT_HALF_BITS


@inlined
def exponent_as_float(biased):
    """k, from k + BIAS: put into the low bits of 2**p. AVX2 has no conversion of 64-bit integers."""
    return from_bits(biased | TWO_POWER_BITS) - TWO_POWER_AND_BIAS


@inlined
def log_of_parts(f, k):
    """log(1 + f) + k ln(2), by log(1 + f) = f - f f/2 + s (f f/2 + R(s)), s = f / (2 + f), as in Sun's fdlibm."""
    s = f / (2 + f)
    square = s * s
    half_f_f = 0.5 * f * f
    correction = fma(s, fma(square, polynomial(square, LOG), half_f_f), k * LN2_LOW)
    return fma(k, LN2_HIGH, f - (half_f_f - correction))


@inlined
def with_limits(y, x, at_zero):
    """y, but for the logarithm's values at and below its pole, where `at_zero` is zero, at infinity and NaN."""
    y = select(at_zero < 0, math.nan, select(at_zero == 0, -math.inf, y))
    return select(x < math.inf, y, x)  # NaN is not below infinity


@inlined
def log(x):
    tiny = x < SMALLEST_NORMAL
    biased, mantissa = split_exponent(select(tiny, x * DENORMAL_SCALE, x))
    k = exponent_as_float(biased) - select(tiny, splat(x, DENORMAL_SHIFT), 0)
    return with_limits(log_of_parts(from_bits(mantissa) - 1, k), x, x)


@inlined
def log1p(x):
    """log(1 + x): with k from the rounded 1 + x and s = 2**-k, the reduced argument is s (1 + x) - 1 = s x + (s - 1)"""
    biased, _ = split_exponent(1 + x)
    s = 0.25 * power_of_two(TWICE_BIAS_AND_TWO - biased)  # it can be denormal
    y = log_of_parts(fma(s, x, s - 1), exponent_as_float(biased))
    return copysign(with_limits(y, x, 1 + x), x)


@inlined
def log1p_of_fraction(x):
    """log(1 + x) for 0 <= x <= 1: k is 0 or 1."""
    upper = x > SQRT2 - 1
    return log_of_parts(select(upper, fma(x, 0.5, -0.5), x), select(upper, splat(x, 1), 0))


# ------------------------------------------------------------------------------------------- the normal distribution

# erf(x) / x - 1 in x**2, |x| <= 7/8, degrees 5 and 11: 2**-26.1, 2**-55 of erf
ERF = PerDtype(
    (0.12837915, -0.37612548, 0.11282461, -0.026791543, 0.0050321543, -0.00062033563),
    (
        0.1283791670955126, -0.37612638903183737, 0.11283791670954303, -0.02686617064493261, 0.005223977622956106,
        -0.0008548326839443894, 0.00012055324326079941, -1.4925381488956766e-05, 1.6456518563412486e-06,
        -1.6288380497348824e-07, 1.4118057932963e-08, -8.655114106334548e-10,
    ),
)  # fmt: skip

SQRT_2PI = 2.5066282746310007
# exp(-t**2 / 2) / Phi(-t) - sqrt(2 pi) t as a quotient A / B, 0 <= t <= 15 and 39, degrees 4/5 and 9/10: 2**-29.2 and
# 2**-56.1 of the sum with sqrt(2 pi) t. A(0) is 3/2 because what is just above 1 loses most in rounding
TAIL_A = PerDtype(
    (1.5, 0.9463092, 0.31271985, 0.056201153, 0.004701312),
    (
        1.5, 1.8573003071293237, 1.1760280338317228, 0.4834104836887394, 0.14009721972909692, 0.029465691927668628,
        0.004485417981910169, 0.0004771070403569578, 3.2353797958173706e-05, 1.078369528909035e-06,
    ),
)  # fmt: skip
TAIL_B = PerDtype(
    (0.75, 0.8147268, 0.4249453, 0.12830836, 0.022430066, 0.0018753748),
    (
        0.75, 1.2702223359491376, 1.0640460081783996, 0.5707462431411507, 0.2152396637126485, 0.059392079597373755,
        0.012133206468161226, 0.0018152374446373475, 0.00019119858564432105, 1.2907297930404978e-05,
        4.302071990138354e-07,
    ),
)  # fmt: skip


@inlined
def normal_tail(t):
    """exp(t**2 / 2) Phi(-t), Phi the normal distribution, for 0 <= t <= 15 in float32, 39 in float64.

    As 1 / (sqrt(2 pi) t + A(t) / B(t)): the larger t, the smaller the quotient's share, and with it the share of the
    errors of A and B in the result. All coefficients are positive: nothing cancels.
    """
    b = polynomial(t, TAIL_B)
    return b / fma(SQRT_2PI * t, b, polynomial(t, TAIL_A))


@inlined
def erf(x):
    """x + x P(x**2) up to 7/8; above, 1 - 2 Phi(-sqrt(2) |x|)."""
    y = minimum(6, absolute(x))  # where erf has long been 1
    square = y * y
    tail = times_exp(normal_tail(SQRT2 * y), -square)
    return copysign(select(y < 0.875, fma(y, polynomial(square, ERF), y), 1 - (tail + tail)), x)
