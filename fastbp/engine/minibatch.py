"""The minibatch of a step: rows of the user's arrays as they lie, or gathered and converted into the workspace."""

import functools
from typing import NamedTuple

import numpy as np
from numba import types

from fastbp.compiler.arrays import FLOAT32, FLOAT64, INTEGER, Array, kind_of_dtype
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import fetch, on_stack, prefetch, put, read, write
from fastbp.compiler.vector import load, load_converted, store
from fastbp.engine.slices import Slice
from fastbp.engine.table import Network
from fastbp.kernels.activation_passes import size_and_lanes
from fastbp.kernels.loss_arguments import read_label
from fastbp.parallel.parts import CACHE_LINE, share
from fastbp.parallel.sharing import share_out

UINT8, INT64_KIND = INTEGER + 1, INTEGER + 6


@inner
def number_at(address, kind):
    """Return the number of the given kind at `address`, as a float64."""
    if kind == FLOAT32:
        return np.float64(read(address, np.float32))
    if kind == FLOAT64:
        return read(address, np.float64)
    if kind == INTEGER + 7:
        return np.float64(read(address, np.uint64))
    return np.float64(read_label(address, kind))


@inner
def row_number(order, order_stride, i):
    """Return the i-th of the row numbers at `order`, int64 `order_stride` bytes apart; i itself where `order` is 0."""
    return i if order == 0 else read(order + order_stride * i, np.int64)


class Gather(NamedTuple):
    """What to gather at `target`: `rows` rows of the Array at x, from place `first` of the order, in the network's dtype."""

    target: int
    stride: int
    x: int
    order: int
    order_stride: int
    first: int
    rows: int
    last: int  # the end of the order: rows before it are fetched for the next minibatch


FLOPS_PER_ELEMENT = 40.0  # the cost of an element of a shuffled row, for the choice of threads


@functools.cache  # compiled once for all that use it
def row_converter(real):
    """Make convert(place, source, columns, column_stride, kind), which writes one row of numbers of a kind as `real`."""
    size, lanes = size_and_lanes(real)
    own, other = (FLOAT32, FLOAT64) if real == types.float32 else (FLOAT64, FLOAT32)
    other_real, other_size = (types.float64, 8) if real == types.float32 else (types.float32, 4)

    @inner
    def convert(place, source, columns, column_stride, kind):
        if kind == own and column_stride == size:
            for j in range(0, columns, lanes):
                store(place + size * j, load(source + size * j, columns - j, real), columns - j)
            return
        done = 0
        if kind == UINT8 and column_stride == 1:  # images; one number at a time takes ten times as long
            done = columns // lanes * lanes
            for j in range(0, done, lanes):
                store(place + size * j, load_converted(source + j, types.uint8, real), lanes)
        if kind == other and column_stride == other_size:  # tables
            done = columns // lanes * lanes
            for j in range(0, done, lanes):
                store(place + size * j, load_converted(source + column_stride * j, other_real, real), lanes)
        for j in range(done, columns):
            write(place + size * j, real(number_at(source + j * column_stride, kind)))

    return convert


@inner
def fetch_row(address, row_bytes):
    """Fetch a row into L2, while there is other work: the rows of a shuffled minibatch lie anywhere in memory."""
    for byte in range(0, row_bytes, CACHE_LINE):
        prefetch(address + byte)


@code_per_dtype
def gather_rows(real):
    """gather_rows(args, part, parts): gather a part of the rows of the Gather at `args`."""
    convert = row_converter(real)

    def gather_rows(args, part, parts):
        g = fetch(Gather, args)
        x = fetch(Array, g.x)
        start, rows = share(g.rows, 1, part, parts)
        for i in range(start, start + rows):
            row = row_number(g.order, g.order_stride, g.first + i)
            convert(g.target + i * g.stride, x.address + row * x.row_stride, x.columns, x.column_stride, x.kind)
            following = g.first + g.rows + i
            if g.order != 0 and following < g.last and 0 < x.column_stride <= 8:
                row = row_number(g.order, g.order_stride, following)
                fetch_row(x.address + row * x.row_stride, x.columns * x.column_stride)
        return 0

    return gather_rows


@inner
def gather_labels(target, y, order, order_stride, first, rows):
    """Write `rows` labels of the Array y, from place `first` of the order, as int64 at `target`."""
    for i in range(rows):
        write(target + 8 * i, read_label(y.address + row_number(order, order_stride, first + i) * y.row_stride, y.kind))


@functools.cache  # compiled once for all that use it
def minibatch_loader(real):
    """Make load_rows(args, first, rows, copies, region), which makes rows of x of the Slice at `args` the network's
    minibatch: as they lie where compiled code can read them so, unless it `copies`."""
    size, kind = real.bitwidth // 8, kind_of_dtype(real)

    @inner
    def load_rows(args, first, rows, copies, region):
        s = fetch(Slice, args)
        t, x = fetch(Network, s.network), fetch(Array, s.x)
        place, stride = x.address + first * x.row_stride, x.row_stride
        if copies or s.order != 0 or x.kind != kind or (x.column_stride != size and x.columns > 1):
            place, stride = t.x_buffer, t.x_buffer_stride
            gathered = Gather(
                target=place,
                stride=stride,
                x=s.x,
                order=s.order,
                order_stride=s.order_stride,
                first=first,
                rows=rows,
                last=s.last,
            )
            share_out(region, gather_rows(real), on_stack(gathered), FLOPS_PER_ELEMENT * rows * x.columns)
        put(s.network, Network, "x", place)
        put(s.network, Network, "x_stride", stride)
        put(s.network, Network, "rows", rows)

    return load_rows
