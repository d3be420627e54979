"""The costs and their derivatives over a minibatch: the formulas and the bodies.

Each row's terms are summed in one partial sum a lane and then as a tree, the rows in float64 in ascending order, so
the bits do not depend on strides, threads or the width of registers.
"""

from collections.abc import Callable
from typing import NamedTuple

from numba import types

from fastbp.compiler.arrays import INTEGER
from fastbp.compiler.code import code_family
from fastbp.compiler.jit import inlined, inner
from fastbp.compiler.llvm import fetch, put, read, stack_room, write
from fastbp.compiler.vector import (
    absolute,
    copysign,
    first,
    fma,
    load,
    maximum,
    minimum,
    reduce_add,
    select,
    splat,
    store,
    vector_of,
)
from fastbp.gemm.pack import block_transpose
from fastbp.kernels.elementary import exp, log, log1p_of_fraction, times_exp
from fastbp.kernels.loss_arguments import LossArguments, sample_readers, target_reader, wrong_label
from fastbp.kernels.softmax import row_passes

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
    return absolute(r), select(absolute(r) > 0, copysign(splat(r, 1.0), r), r)


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
    return slope * r, select(absolute(r) > 0, slope, r)


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


def elementwise_rows(formula):
    """Return the maker of rows(loss, unit) for a formula."""

    def make(real, takes_labels):
        size, lanes, target = real.bitwidth // 8, vector_of(real).lanes, target_reader(real)
        weight_of, sample = sample_readers(real, takes_labels)

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

        @inner
        def rows(loss, unit):
            total = 0.0
            for k in range(loss.rows):
                weight, (z, y, label, delta) = weight_of(loss, k), sample(loss, k)
                total += weight * row(loss, z, y, label, delta, weight * unit)
            return total

        return rows

    return make


# ------------------------------------------------------------------------------------------------ softmax cross-entropy


def cross_entropy_row(real):
    """row(loss, z, y, label, delta, scale): (sum(t), sum(t x), sum(exp(x))), x = z - max(z), of which the cost is
    sum(t) log(sum(exp(x))) - sum(t x); its derivative is softmax(z) sum(t) - t.

    With smoothing s, t = (1 - s) y + s / columns: Szegedy et al. (2016). A term t x counts as 0 where t is 0.
    """
    size, lanes, target = real.bitwidth // 8, vector_of(real).lanes, target_reader(real)
    highest, exponentials = row_passes(real)

    @inner
    def target_sums(z, y, label, columns, top, keep, even):
        if label >= 0 and even == 0:
            return 1.0, types.float64(read(z + size * label, real) - top)
        sum_t, sum_tx = splat(real, 0.0), splat(real, 0.0)
        for j in range(0, columns, lanes):
            n = columns - j
            t = select(first(n, real), fma(keep, target(y, label, j, n), even), 0)
            sum_t = sum_t + t
            sum_tx = sum_tx + select(t == 0, 0, t * (load(z + size * j, n, real) - top))
        return types.float64(reduce_add(sum_t)), types.float64(reduce_add(sum_tx))

    @inner
    def row(loss, z, y, label, delta, scale):
        columns, keep, even = loss.columns, 1 - loss.parameter, loss.parameter / loss.columns
        top = highest(z, columns)
        sum_t, sum_tx = target_sums(z, y, label, columns, top, keep, even)
        if columns <= lanes:  # 17 % faster at 10 columns than to store the exponentials and load them again
            e = select(first(columns, real), times_exp(1, load(z, columns, real) - top), 0)
            total = reduce_add(e)
            if delta != 0:
                t = fma(keep, target(y, label, 0, columns), even)
                store(delta, scale * fma(sum_t / total, e, -t), columns)
            return sum_t, sum_tx, total
        total = exponentials(z, delta, columns, top)
        if delta != 0:
            share = sum_t / total
            for j in range(0, columns, lanes):
                n, place = columns - j, delta + size * j
                t = fma(keep, target(y, label, j, n), even)
                store(place, scale * fma(share, load(place, n, real), -t), n)
        return sum_t, sum_tx, total

    return row


def across_rows(real):
    """across(loss, start, n, unit, sums, factors, total): do what `cross_entropy_row` does, to the bit, for n rows at once, of
    labels without smoothing and of no more columns than a vector has lanes: 8 ns a row at 10 columns instead of 23.

    Vectors run across the rows, so that an exponential serves a column of all of them, and their sums are plain additions.
    """
    size, lanes = real.bitwidth // 8, vector_of(real).lanes
    line = size * lanes
    transpose = block_transpose(real, lanes)
    weight_of, sample = sample_readers(real, True)

    @inner
    def note_rows(loss, start, n, unit, labels, scales, factors):
        for i in range(n):
            weight = weight_of(loss, start + i)
            write(labels + size * i, real(sample(loss, start + i)[2]))
            write(scales + size * i, real(weight * unit))
            write(factors + 8 * i, weight)

    @inner
    def highest(z, columns):
        top = load(z, lanes, real)
        for j in range(1, columns):
            top = maximum(top, load(z + line * j, lanes, real))
        return top

    @inner
    def exponentials(z, e, columns, top, label):
        at_label = splat(real, 0.0)
        for j in range(columns):
            x = load(z + line * j, lanes, real) - top
            at_label = select(label == real(j), x, at_label)
            power = times_exp(1, x)
            store(z + line * j, power, lanes)
            store(e + line * j, power, lanes)
        return at_label

    @inner
    def sum_of_columns(e, columns):
        """Add the columns as `reduce_add` adds lanes."""
        half = lanes // 2
        while half > 0:
            for j in range(min(half, columns - half)):
                place = e + line * j
                store(place, load(place, lanes, real) + load(place + line * half, lanes, real), lanes)
            half //= 2
        return load(e, lanes, real)

    def across(loss, start, n, unit, sums, factors, total):
        z, e, labels = stack_room(1024), stack_room(1024), stack_room(256)
        scales, terms = labels + line, labels + 2 * line
        note_rows(loss, start, n, unit, labels, scales, factors)
        transpose(z, line, loss.z + start * loss.z_stride, loss.z_stride, loss.columns, n)
        label = load(labels, n, real)
        store(terms, exponentials(z, e, loss.columns, highest(z, loss.columns), label), lanes)
        powers = sum_of_columns(e, loss.columns)
        store(sums, powers, lanes)
        if loss.delta != 0:
            share, scale = splat(real, 1.0) / powers, load(scales, n, real)
            for j in range(loss.columns):
                t = select(label == real(j), splat(real, 1.0), 0)
                store(z + line * j, scale * fma(share, load(z + line * j, lanes, real), -t), lanes)
            transpose(e, line, z, line, lanes, loss.columns)
            for i in range(n):
                store(loss.delta + (start + i) * loss.delta_stride, load(e + line * i, lanes, real), loss.columns)
        for i in range(n):
            total -= read(factors + 8 * i, types.float64) * types.float64(read(terms + size * i, real))
        return total

    return inner(across)


def cross_entropy_rows(real, takes_labels):
    """Make rows(loss, unit) of the cross-entropy: one logarithm serves as many rows as a vector has lanes, a third faster."""
    size, lanes, row, across = real.bitwidth // 8, vector_of(real).lanes, cross_entropy_row(real), across_rows(real)
    weight_of, sample = sample_readers(real, takes_labels)

    @inner
    def one_by_one(loss, start, n, unit, sums, factors, total):
        for i in range(n):
            weight, (z, y, label, delta) = weight_of(loss, start + i), sample(loss, start + i)
            sum_t, sum_tx, sum_exp = row(loss, z, y, label, delta, weight * unit)
            total -= weight * sum_tx
            write(sums + size * i, sum_exp)
            write(factors + 8 * i, weight * sum_t)
        return total

    @inner
    def rows(loss, unit):
        sums = stack_room(512)
        factors, total = sums + size * lanes, 0.0
        narrow = loss.columns <= lanes and loss.y_kind >= INTEGER and loss.parameter == 0
        for start in range(0, loss.rows, lanes):
            n = min(lanes, loss.rows - start)
            if narrow:
                total = across(loss, start, n, unit, sums, factors, total)
            else:
                total = one_by_one(loss, start, n, unit, sums, factors, total)
            store(sums, log(load(sums, n, real)), n)
            for i in range(n):
                total += read(factors + 8 * i, types.float64) * read(sums + size * i, real)
        return total

    return rows


# ---------------------------------------------------------------------------------------------------------- the bodies


class Cost(NamedTuple):
    """`make_rows(real, takes_labels)`: rows(loss, unit), the sum over the rows of weight times cost, added over the
    columns; each row's derivative times its weight times `unit` goes to delta. `takes_labels`: the outputs are
    classes, and their costs are added, not averaged."""

    make_rows: Callable
    takes_labels: bool = False


COSTS = {
    "softmax_cross_entropy": Cost(cross_entropy_rows, takes_labels=True),
    "negative_log_likelihood": Cost(elementwise_rows(likelihood), takes_labels=True),
    "binary_cross_entropy": Cost(elementwise_rows(binary_cross_entropy)),
    "mean_squared_error": Cost(elementwise_rows(squared_error)),
    "mean_absolute_error": Cost(elementwise_rows(absolute_error)),
    "huber": Cost(elementwise_rows(huber)),
    "poisson": Cost(elementwise_rows(poisson)),
    "quantile": Cost(elementwise_rows(pinball)),
}


@code_family(COSTS)
def cost(real, name):
    """cost(args): compute the results and the delta of the LossArguments at `args`; returns 0, or with nothing written 1 + the
    first row whose label is out of range. Where the weights sum to 0, delta is 0."""
    make_rows, takes_labels = COSTS[name]
    rows = make_rows(real, takes_labels)
    weight_of, _ = sample_readers(real, takes_labels)

    @inner
    def sum_of_weights(loss):
        if loss.weights == 0:
            return types.float64(loss.rows)
        total = 0.0
        for k in range(loss.rows):
            total += weight_of(loss, k)
        return total

    def cost(args):
        loss = fetch(LossArguments, args)
        wrong = wrong_label(loss) if takes_labels else 0
        if wrong != 0:
            return wrong
        weight, total = sum_of_weights(loss), 0.0
        outputs = 1 if takes_labels else loss.columns
        if loss.rows > 0 and loss.columns > 0:
            total = loss.scale * (rows(loss, loss.scale / (weight * outputs) if weight != 0 else 0.0) / outputs)
        put(args, LossArguments, "cost", total)
        put(args, LossArguments, "weight", weight)
        return 0

    return cost
