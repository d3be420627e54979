"""The costs and their derivatives over a minibatch: the block of arguments, the formulas, the bodies.

Each row's terms are summed in one partial sum a lane and then as a tree, the rows in float64 in ascending order, so
the bits do not depend on strides, threads or the width of registers.
"""

from collections.abc import Callable
from typing import NamedTuple

from numba import types

from fastbp._check import INTEGER
from fastbp._jit import code_family, inlined, inner
from fastbp._llvm import fetch, read, write
from fastbp._vector import (
    absolute,
    copysign,
    first,
    fma,
    load,
    minimum,
    reduce_add,
    reduce_max,
    select,
    splat,
    store,
    vector_of,
)
from fastbp.kernels.elementary import exp, log, log1p_of_fraction, times_exp
from fastbp.kernels.softmax import row_passes


class Loss(NamedTuple):
    """A cost over the rows of z, its targets, and where its derivative goes. Strides in bytes, rows contiguous."""

    z: int
    z_stride: int
    y: int  # a row of targets for each of z; or labels, `y_row_stride` bytes apart
    y_kind: int  # what y is made of, as in `_check`: `INTEGER` and above are labels
    y_row_stride: int
    weights: int  # one contiguous number of the dtype of z a row; 0: all are 1
    delta: int  # gets d(cost / weight)/dz; may be z itself; 0: is not computed
    delta_stride: int
    rows: int
    columns: int
    parameter: float  # label smoothing, huber's delta, the quantile
    cost: float  # result: the sum over the rows of weight times cost
    weight: float  # result: the sum of the weights


AT_COST, AT_WEIGHT = (8 * Loss._fields.index(name) for name in ("cost", "weight"))

# ------------------------------------------------------------------------------------------------------------- targets


@inner
def read_label(address, kind):
    """The integer of that kind at an address; a uint64 too large for int64 becomes negative."""
    if kind == INTEGER + 6 or kind == INTEGER + 7:
        return read(address, types.int64)
    if kind == INTEGER + 4:
        return types.int64(read(address, types.int32))
    if kind == INTEGER + 5:
        return types.int64(read(address, types.uint32))
    if kind == INTEGER + 2:
        return types.int64(read(address, types.int16))
    if kind == INTEGER + 3:
        return types.int64(read(address, types.uint16))
    return types.int64(read(address, types.int8)) if kind == INTEGER else types.int64(read(address, types.uint8))


@inner
def wrong_label(loss):
    """1 + the first row whose label is none of 0 .. columns - 1; 0 where all are, or there are no labels."""
    if loss.y_kind >= INTEGER:
        for k in range(loss.rows):
            label = read_label(loss.y + k * loss.y_row_stride, loss.y_kind)
            if label < 0 or label >= loss.columns:
                return k + 1
    return 0


def target_reader(real):
    """target(y, label, j, n): n targets of row y from column j on, read or, with a label >= 0, one-hot."""
    size = real.bitwidth // 8

    @inlined
    def target(y, label, j, n):
        if label >= 0:
            return select(first(label - j + 1, real) ^ first(label - j, real), splat(real, 1.0), 0)
        return load(y + size * j, n, real)

    return target


# ------------------------------------------------------------------------------------------------- element by element
# formula(z, y, parameter): the cost of an output and its derivative by z, for vectors.


@inlined
def squared_error(z, y, parameter):
    """(z - y)**2"""
    r = z - y
    return r * r, r + r


@inlined
def absolute_error(z, y, parameter):
    """|z - y|, whose derivative counts as 0 where it is 0."""
    r = z - y
    return absolute(r), select(r == 0, 0, copysign(splat(r, 1.0), r))


@inlined
def huber(z, y, parameter):
    """r**2 / 2 where |r| < delta, else delta (|r| - delta / 2), r = z - y: Huber (1964)"""
    r = z - y
    near = minimum(parameter, absolute(r))
    return near * fma(-0.5, near, absolute(r)), copysign(near, r)


@inlined
def pinball(z, y, parameter):
    """tau (y - z) where z < y, else (1 - tau) (z - y), whose derivative counts as 0 where z = y: Koenker and Bassett
    (1978)."""
    r = z - y
    slope = select(r < 0, splat(r, -parameter), 1 - parameter)
    return slope * r, select(r == 0, 0, slope)


@inlined
def poisson(z, y, parameter):
    """exp(z) - y z: the negative logarithm of Poisson's distribution with mean exp(z), but for log(y!)."""
    mean = exp(z)
    return fma(-y, z, mean), mean - y


@inlined
def binary_cross_entropy(z, y, parameter):
    """log(1 + exp(z)) - y z = log(1 + exp(-|z|)) + |z| (1 - y if z > 0 else y)"""
    e = times_exp(1, -absolute(z))
    sigmoid = select(z < 0, e, 1) / (1 + e)
    return fma(absolute(z), select(z > 0, 1 - y, y), log1p_of_fraction(e)), sigmoid - y


@inlined
def likelihood(p, y, parameter):
    """-y log(p), which counts as 0 where y is 0."""
    return select(y == 0, 0, -y * log(p)), select(y == 0, 0, -y / p)


def elementwise_row(formula):
    """The maker of row(loss, z, y, label, delta, scale) for a formula."""

    def make(real):
        size, lanes, target = real.bitwidth // 8, vector_of(real).lanes, target_reader(real)

        @inner
        def row(loss, z, y, label, delta, scale):
            total = splat(real, 0.0)
            for j in range(0, loss.columns, lanes):
                n = loss.columns - j
                cost, slope = formula(load(z + size * j, n, real), target(y, label, j, n), loss.parameter)
                total = total + select(first(n, real), cost, 0)
                if delta != 0:
                    store(delta + size * j, scale * slope, n)
            return types.float64(reduce_add(total))

        return row

    return make


# ------------------------------------------------------------------------------------------------ softmax cross-entropy


def softmax_row(real):
    """row(...): -sum of t log(softmax(z)) = sum(t) log(sum(exp(x))) - sum(t x), x = z - max(z), and scale times its
    derivative softmax(z) sum(t) - t. With smoothing s, t = (1 - s) y + s / columns: Szegedy et al. (2016)."""
    size, lanes, target = real.bitwidth // 8, vector_of(real).lanes, target_reader(real)
    highest, exponentials = row_passes(real)

    @inner
    def target_sums(z, y, label, columns, top, keep, even):
        """(sum(t), sum(t x)); a term counts as 0 where t is 0."""
        sum_t, sum_tx = splat(real, 0.0), splat(real, 0.0)
        for j in range(0, columns, lanes):
            n = columns - j
            t = select(first(n, real), fma(keep, target(y, label, j, n), even), 0)
            sum_t = sum_t + t
            sum_tx = sum_tx + select(t == 0, 0, t * (load(z + size * j, n, real) - top))
        return types.float64(reduce_add(sum_t)), types.float64(reduce_add(sum_tx))

    @inner
    def write_delta(delta, y, label, columns, share, keep, even, scale):
        for j in range(0, columns, lanes):
            n, place = columns - j, delta + size * j
            t = fma(keep, target(y, label, j, n), even)
            store(place, scale * fma(share, load(place, n, real), -t), n)

    @inner
    def row(loss, z, y, label, delta, scale):
        columns, keep, even = loss.columns, 1 - loss.parameter, loss.parameter / loss.columns
        top = highest(z, columns)
        if label >= 0 and even == 0:
            sum_t, sum_tx = 1.0, types.float64(read(z + size * label, real) - top)
        else:
            sum_t, sum_tx = target_sums(z, y, label, columns, top, keep, even)
        total = exponentials(z, delta, columns, top)
        if delta != 0:
            write_delta(delta, y, label, columns, sum_t / total, keep, even, scale)
        return sum_t * reduce_max(log(splat(real, total))) - sum_tx

    return row


# ---------------------------------------------------------------------------------------------------------- the bodies


class Cost(NamedTuple):
    """`make_row(real)`: row(loss, z, y, label, delta, scale), the cost of a row; it stores scale times its derivative
    at delta unless that is 0. `takes_labels`: the outputs are classes, and their costs are added, not averaged."""

    make_row: Callable
    takes_labels: bool = False


COSTS = {
    "softmax_cross_entropy": Cost(softmax_row, takes_labels=True),
    "negative_log_likelihood": Cost(elementwise_row(likelihood), takes_labels=True),
    "binary_cross_entropy": Cost(elementwise_row(binary_cross_entropy)),
    "mean_squared_error": Cost(elementwise_row(squared_error)),
    "mean_absolute_error": Cost(elementwise_row(absolute_error)),
    "huber": Cost(elementwise_row(huber)),
    "poisson": Cost(elementwise_row(poisson)),
    "quantile": Cost(elementwise_row(pinball)),
}


@code_family(COSTS)
def cost(real, name):
    """cost(args): the Loss at `args`, its results and delta; returns 0, or with nothing written 1 + the first row whose
    label is out of range. Where the weights sum to 0, delta is 0."""
    make_row, takes_labels = COSTS[name]
    size, row = real.bitwidth // 8, make_row(real)

    @inner
    def weight_of(loss, k):
        return types.float64(read(loss.weights + size * k, real)) if loss.weights != 0 else 1.0

    @inner
    def sum_of_weights(loss):
        total = 0.0
        for k in range(loss.rows):
            total += weight_of(loss, k)
        return total

    def cost(args):
        loss = fetch(Loss, args)
        wrong = wrong_label(loss) if takes_labels else 0
        if wrong != 0:
            return wrong
        weight, total = sum_of_weights(loss), 0.0
        outputs = 1 if takes_labels else loss.columns
        for k in range(loss.rows if loss.columns > 0 else 0):
            z, y, label = loss.z + k * loss.z_stride, loss.y + k * loss.y_row_stride, -1
            if takes_labels and loss.y_kind >= INTEGER:
                label = read_label(y, loss.y_kind)
            delta = loss.delta + k * loss.delta_stride if loss.delta != 0 else 0
            share = weight_of(loss, k)
            scale = share / (weight * outputs) if weight != 0 else 0.0
            total += share * row(loss, z, y, label, delta, scale)
        write(args + AT_COST, total / outputs if total != 0 else 0.0)
        write(args + AT_WEIGHT, weight)
        return 0

    return cost
