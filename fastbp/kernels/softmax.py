"""Softmax of rows: its two passes, shared with the cost on logits, and the kernel."""

import functools
import math
from typing import NamedTuple

from fastbp.compiler import arguments as arg
from fastbp.compiler import names
from fastbp.compiler.arrays import Array, describe, kind_of_dtype
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.faults import CLEAR, raise_fault
from fastbp.compiler.jit import inner, kernel
from fastbp.compiler.llvm import call, fetch, on_stack
from fastbp.compiler.strided import on_rows
from fastbp.compiler.vector import first, load, maximum, reduce_add, reduce_max, select, splat, store, vector_of
from fastbp.kernels.elementary import times_exp
from fastbp.kernels.operands import output_like
from fastbp.parallel.parts import share
from fastbp.parallel.region import region
from fastbp.parallel.sharing import share_out

FLOPS_PER_ELEMENT = 32.0  # for the choice of threads


@functools.cache
def row_passes(real):
    """(highest, exponentials) on a contiguous row of `columns` elements.

    highest(z, columns): the largest element; NaNs may be lost. exponentials(z, e, columns, top): the sum of
    exp(z - top); they are stored at e, which may be z, unless it is 0. Their sum is in one partial sum a lane.
    """
    size, lanes = real.bitwidth // 8, vector_of(real).lanes

    @inner
    def highest(z, columns):
        top = splat(real, -math.inf)
        for j in range(0, columns, lanes):
            x = load(z + size * j, columns - j, real)
            top = maximum(top, select(first(columns - j, real), x, -math.inf))
        return reduce_max(top)

    @inner
    def exponentials(z, e, columns, top):
        total = splat(real, 0.0)
        for j in range(0, columns, lanes):
            n = columns - j
            x = select(first(n, real), times_exp(1, load(z + size * j, n, real) - top), 0)
            if e != 0:
                store(e + size * j, x, n)
            total = total + x
        return reduce_add(total)

    return highest, exponentials


class Softmax(NamedTuple):
    """out = softmax of the rows of z; rows are contiguous, strides in bytes."""

    z: int
    z_stride: int
    out: int
    out_stride: int
    rows: int
    columns: int


@code_per_dtype
def softmax_rows(real):
    """softmax_rows(args, part, parts): compute a part of the rows of the Softmax at `args`."""
    size, lanes = real.bitwidth // 8, vector_of(real).lanes
    highest, exponentials = row_passes(real)

    def softmax_rows(args, part, parts):
        p = fetch(Softmax, args)
        start, rows = share(p.rows, 1, part, parts)
        for k in range(start, start + rows):
            z, out = p.z + k * p.z_stride, p.out + k * p.out_stride
            scale = 1 / exponentials(z, out, p.columns, highest(z, p.columns))
            for j in range(0, p.columns, lanes):
                n = p.columns - j
                store(out + size * j, scale * load(out + size * j, n, real), n)
        return 0

    return softmax_rows


@code_per_dtype
def softmax_code(real):
    """softmax_code(z, out, region, fault): check, then run softmax_rows."""
    kind, size = kind_of_dtype(real), real.bitwidth // 8

    @inner
    def run_rows(rows, region):
        x, c = rows
        softmax = Softmax(
            z=x.address, z_stride=x.row_stride, out=c.address, out_stride=c.row_stride, rows=c.rows, columns=c.columns
        )
        share_out(region, softmax_rows(real), on_stack(softmax), FLOPS_PER_ELEMENT * c.rows * c.columns)

    run = on_rows(real, run_rows, inputs=1, outputs=1)

    def softmax_code(z, out, region, fault):
        x, c = fetch(Array, z), fetch(Array, out)
        if (
            arg.check_floats(fault, names.Z, x, 2, names.Z, kind)
            and arg.check_floats(fault, names.OUT, c, 2, names.Z, kind)
            and arg.check_shape(fault, names.OUT, c, x.rows, names.Z, x.columns, names.Z)
            and arg.check_output(fault, names.OUT, c)
            and arg.check_apart_or_same(fault, names.OUT, c, names.Z, x, size)
        ):
            run((x, c), region)
        return 0

    return softmax_code


@kernel
def softmax(z, out=None):
    """exp(z) divided by its row sums: each row of the logits z as probabilities.

    z (K, m): float32 or float64, any strides. out (K, m): overwritten; it may be z itself, and is allocated when None.
    Returns out. The largest element of a row is subtracted first, so that nothing overflows. Raises ShapeError (a
    ValueError) or DtypeError (a TypeError) before anything is written.
    """
    result = output_like(out, z)
    fault = on_stack(CLEAR)
    call(softmax_code(z), (describe(z), describe(result), region(), fault))
    raise_fault(fault)
    return result
