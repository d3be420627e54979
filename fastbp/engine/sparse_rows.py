"""Prediction of rows of a sparse matrix, whose dense form is never made.

The first layer adds up the terms of the entries alone, in ascending order of the columns. The other terms, of zeros, would
leave the sum as it is, so the bits are those of dense rows.
"""

from typing import NamedTuple

import numpy as np

from fastbp.compiler.arrays import Array
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.llvm import call, fetch, on_stack, place_of, places, put, read
from fastbp.compiler.strided import copier
from fastbp.compiler.vector import fma, load, splat, store
from fastbp.engine.operations.dense import DenseOwn, bias_of
from fastbp.engine.table import Call, Network, Operation
from fastbp.engine.walk import forward, has_raised, last_operation
from fastbp.kernels.activation_passes import Forward, size_and_lanes
from fastbp.parallel.parts import share


class SparseRows(NamedTuple):
    """Rows `first` to `last` of a matrix in compressed rows, columns ascending in each, and where their predictions go."""

    network: int  # address of a Network whose first operation is `sparse_forward`
    pointers: int  # address of int64: the place of each row's first entry, and after the last row the end
    columns: int  # addresses of an int64 and a number of the network's dtype for each entry
    values: int
    first: int  # the first row, and then that of the minibatch at hand
    last: int  # the end of the rows
    out: int  # address of an Array


SPARSE_ROWS = places(SparseRows)


@code_per_dtype
def sparse_forward(real):
    """sparse_forward(args, part, parts): compute the first dense layer, whose weights lie input by input, for a part of the
    rows of the SparseRows at the address that is the network's x."""
    size, lanes = size_and_lanes(real)

    def sparse_forward(args, part, parts):
        c = fetch(Call, args)
        t, o = fetch(Network, c.network), fetch(Operation, c.operation)
        s = fetch(SparseRows, t.x)
        own = fetch(DenseOwn, o.own)
        finish = on_stack(Forward(0, 0, bias_of(o, own, size), o.z, o.z_stride, place_of(c.network, Network, "raised")))
        row_bytes = size * o.outputs
        start, rows = share(t.rows, 1, part, parts)
        for i in range(start, start + rows):
            pointers, out = s.pointers + 8 * (s.first + i), o.output + i * o.output_stride
            first, last = read(pointers, np.int64), read(pointers + 8, np.int64)
            for j in range(0, o.outputs, 4 * lanes):
                left, at = o.outputs - j, o.parameters + size * j
                x0 = x1 = x2 = x3 = splat(real, 0.0)
                for k in range(first, last):
                    place, value = at + read(s.columns + 8 * k, np.int64) * row_bytes, read(s.values + size * k, real)
                    x0 = fma(load(place, left, real), value, x0)
                    if left > lanes:
                        x1 = fma(load(place + 64, left - lanes, real), value, x1)
                    if left > 2 * lanes:
                        x2 = fma(load(place + 128, left - 2 * lanes, real), value, x2)
                    if left > 3 * lanes:
                        x3 = fma(load(place + 192, left - 3 * lanes, real), value, x3)
                store(out + size * j, x0, left)
                store(out + size * j + 64, x1, max(left - lanes, 0))
                store(out + size * j + 128, x2, max(left - 2 * lanes, 0))
                store(out + size * j + 192, x3, max(left - 3 * lanes, 0))
            if own.activation != 0:
                call(own.activation, (finish, out, o.output_stride, i, 0, 1, o.outputs))
        return 0

    return sparse_forward


@code_per_dtype
def predict_sparse(real):
    """predict_sparse(args): write the outputs for the SparseRows at `args`, on one thread."""
    size, copy = real.bitwidth // 8, copier(real)

    def predict_sparse(args):
        s = fetch(SparseRows, args)
        t, out = fetch(Network, s.network), fetch(Array, s.out)
        o = last_operation(t)
        put(s.network, Network, "x", args)
        for first in range(s.first, s.last, t.batch_size):
            rows = min(t.batch_size, s.last - first)
            put(args, SparseRows, "first", first)
            put(s.network, Network, "rows", rows)
            call(forward(real), (s.network, 0, 0))
            if has_raised(s.network):
                break
            place = out.address + first * out.row_stride
            copy(place, out.row_stride, out.column_stride, o.output, o.output_stride, size, rows, o.outputs)
        return 0

    return predict_sparse
