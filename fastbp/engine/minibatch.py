"""The minibatch of a step: rows of the user's arrays as they lie, or gathered and converted into the workspace."""

import functools

import numpy as np

from fastbp._check import FLOAT32, FLOAT64, INTEGER, kind_of_dtype
from fastbp._jit import inner
from fastbp._llvm import read, write
from fastbp._vector import load, store
from fastbp.kernels.passes import size_and_lanes
from fastbp.kernels.samples import read_label

INT64_KIND = INTEGER + 6


@inner
def number_at(address, kind):
    """The number of that kind at `address`, as a float64."""
    if kind == FLOAT32:
        return np.float64(read(address, np.float32))
    if kind == FLOAT64:
        return read(address, np.float64)
    if kind == INTEGER + 7:
        return np.float64(read(address, np.uint64))
    return np.float64(read_label(address, kind))


@inner
def row_number(order, order_stride, i):
    """The i-th of the rows in `order`, an address of int64, `order_stride` bytes apart; row i itself where that is 0."""
    return i if order == 0 else read(order + order_stride * i, np.int64)


@functools.cache  # compiled once for all that use it
def row_gatherer(real):
    """gather(target, stride, x, order, order_stride, first, rows): rows of the Array x, from place `first` of the order,
    as `real`."""
    size, lanes = size_and_lanes(real)
    kind = kind_of_dtype(real)

    @inner
    def gather(target, stride, x, order, order_stride, first, rows):
        for i in range(rows):
            source, place = x.address + row_number(order, order_stride, first + i) * x.row_stride, target + i * stride
            if x.kind == kind and x.column_stride == size:
                for j in range(0, x.columns, lanes):
                    store(place + size * j, load(source + size * j, x.columns - j, real), x.columns - j)
            else:
                for j in range(x.columns):
                    write(place + size * j, real(number_at(source + j * x.column_stride, x.kind)))

    return gather


@inner
def gather_labels(target, y, order, order_stride, first, rows):
    """Labels of the Array y, from place `first` of the order, as int64."""
    for i in range(rows):
        write(target + 8 * i, read_label(y.address + row_number(order, order_stride, first + i) * y.row_stride, y.kind))
