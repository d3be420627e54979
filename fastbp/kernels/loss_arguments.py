"""The arguments of a cost: their record, and how its bodies read rows, weights, labels and targets."""

import functools
from typing import NamedTuple

from numba import types

from fastbp.compiler.arrays import INTEGER
from fastbp.compiler.jit import inlined, inner
from fastbp.compiler.llvm import read
from fastbp.compiler.vector import first, load, select, splat


class LossArguments(NamedTuple):
    """A cost over the rows of z, its targets, and where its derivative goes. Strides in bytes, rows contiguous.

    y: a row of targets for each row of z; or labels, `y_row_stride` bytes apart. y_kind: the kind of array that y is, as in an
    Array: `INTEGER` and above are labels.
    weights: a contiguous number of the dtype of z for each row; 0: all are 1.
    delta: gets d(cost / weight)/dz; it may be z itself; 0: the derivative is not computed.
    parameter: label smoothing, huber's delta, the quantile. scale: a factor of the cost and its derivative.
    cost, weight: the results, the sum over the rows of weight times cost, and the sum of the weights.
    raised: the address of a Raised for what a user's function raises; 0 where none is called.
    """

    z: int
    z_stride: int
    y: int
    y_kind: int
    y_row_stride: int
    weights: int
    delta: int
    delta_stride: int
    rows: int
    columns: int
    parameter: float
    scale: float
    cost: float
    weight: float
    raised: int


@inner
def read_label(address, kind):
    """Return the integer of that kind at an address; a uint64 too large for int64 becomes negative."""
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
    """Return 1 + the first row whose label is none of 0 .. columns - 1; 0 where all are, or there are no labels."""
    if loss.y_kind >= INTEGER:
        for k in range(loss.rows):
            label = read_label(loss.y + k * loss.y_row_stride, loss.y_kind)
            if label < 0 or label >= loss.columns:
                return k + 1
    return 0


@functools.cache
def sample_readers(real, takes_labels):
    """weight_of(loss, k) returns the weight of row k; sample(loss, k) the addresses of row k of z and of y, its label or -1,
    and the address of its delta or 0."""
    size = real.bitwidth // 8

    @inner
    def weight_of(loss, k):
        return types.float64(read(loss.weights + size * k, real)) if loss.weights != 0 else 1.0

    @inner
    def sample(loss, k):
        y = loss.y + k * loss.y_row_stride
        label = read_label(y, loss.y_kind) if takes_labels and loss.y_kind >= INTEGER else -1
        return loss.z + k * loss.z_stride, y, label, loss.delta + k * loss.delta_stride if loss.delta != 0 else 0

    return weight_of, sample


def target_reader(real):
    """target(y, label, j, n) returns n targets of row y from column j on, read or, with a label >= 0, one-hot."""
    size = real.bitwidth // 8

    @inlined
    def target(y, label, j, n):
        if label >= 0:
            return select(first(label - j + 1, real) ^ first(label - j, real), splat(real, 1.0), 0)
        return load(y + size * j, n, real)

    return target
