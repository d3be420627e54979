"""Gradient clipping: by value, and by the Euclidean norm over a whole flat vector, whose sum of squares is split alike
for any number of threads."""

import math
from typing import NamedTuple

from numba import types
from numba.extending import intrinsic

from fastbp.compiler import arguments as arg
from fastbp.compiler import faults, names
from fastbp.compiler.arrays import Array, as_row, describe, kind_of_dtype
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.faults import CLEAR, bits_of, raise_fault
from fastbp.compiler.jit import inner, kernel
from fastbp.compiler.llvm import call, fetch, get, on_stack, put, read, stack_room, write
from fastbp.compiler.strided import on_rows
from fastbp.compiler.vector import (
    Vector,
    fma,
    full,
    llvm_type,
    load,
    maximum,
    minimum,
    reduce_add,
    splat,
    store,
    vector_of,
)
from fastbp.parallel.parts import round_up, share
from fastbp.parallel.region import region
from fastbp.parallel.sharing import share_out

# ----------------------------------------------------------------------------------------------------- sum of squares

SLICES = 64
BYTES_OF_SUMS = 8 * SLICES
FLOPS_PER_ELEMENT = 8.0  # for the choice of threads


class NormSquared(NamedTuple):
    """The sums of the squares of a flat vector's slices, at most `SLICES` of them, go to `sums`, as float64."""

    x: int
    size: int
    sums: int


@inner
def slice_length(size):
    """Return the number of elements of each slice, by the size alone; the last has what is left."""
    return max(4096, round_up((size + SLICES - 1) // SLICES, 32))


@inner
def slice_count(size):
    """Return the number of slices of a vector of that size."""
    length = slice_length(size)
    return (size + length - 1) // length


@intrinsic
def eight(typingctx, real):
    """Eight zeros of dtype `real`: tells `load` how many elements to take."""
    vector = Vector(real.dtype, 8)
    return vector(real), lambda context, builder, signature, args: full(vector, 0)


@intrinsic
def widened(typingctx, x):
    """Return a vector of float32 or float64 as one of float64."""
    wide = x.of(types.float64)

    def codegen(context, builder, signature, args):
        return args[0] if x == wide else builder.fpext(args[0], llvm_type(wide))

    return wide(x), codegen


@code_per_dtype
def norm_squared(real):
    """norm_squared(args, part, parts): add up the squares of a part of the slices of the NormSquared at `args`.

    In float64, so that no square of a float32 overflows; in 32 partial sums a slice.
    """
    size = real.bitwidth // 8

    def norm_squared(args, part, parts):
        p = fetch(NormSquared, args)
        length = slice_length(p.size)
        first, count = share(slice_count(p.size), 1, part, parts)
        for k in range(first, first + count):
            end = min((k + 1) * length, p.size)
            sum0 = splat(types.float64, 0.0)
            sum1, sum2, sum3 = sum0, sum0, sum0
            for i in range(k * length, end, 32):
                place, n = p.x + size * i, end - i
                x0 = widened(load(place, n, eight(real)))
                x1 = widened(load(place + size * 8, max(n - 8, 0), eight(real)))
                x2 = widened(load(place + size * 16, max(n - 16, 0), eight(real)))
                x3 = widened(load(place + size * 24, max(n - 24, 0), eight(real)))
                sum0, sum1, sum2, sum3 = fma(x0, x0, sum0), fma(x1, x1, sum1), fma(x2, x2, sum2), fma(x3, x3, sum3)
            write(p.sums + 8 * k, reduce_add((sum0 + sum1) + (sum2 + sum3)))
        return 0

    return norm_squared


@inner
def total_of(sums, size):
    """Return the sum of squares of a vector of that size, from what `norm_squared` left at `sums`."""
    total = 0.0
    for k in range(slice_count(size)):
        total += read(sums + 8 * k, types.float64)
    return total


def square_maker(real):
    """square_of(x, size, region): the sum of squares of the flat vector at address x. Allocates nothing."""

    @inner
    def square_of(x, size, region):
        sums = stack_room(BYTES_OF_SUMS)
        args = on_stack(NormSquared(x=x, size=size, sums=sums))
        share_out(region, norm_squared(real), args, FLOPS_PER_ELEMENT * size)
        return total_of(sums, size)

    return square_of


def norm_maker(real):
    """norm_of(x, size, region): the Euclidean norm of the flat vector at address x. Allocates nothing."""
    square_of = square_maker(real)

    @inner
    def norm_of(x, size, region):
        return math.sqrt(square_of(x, size, region))

    return norm_of


# -------------------------------------------------------------------------------------------------------- scale, limit


class Clip(NamedTuple):
    """x = scale * x, limited to -bound .. bound, in place."""

    x: int
    size: int
    scale: float
    bound: float


@code_per_dtype
def clip(real):
    """clip(args, part, parts): clip a part of the elements of the Clip at `args`. NaN stays NaN."""
    size, lanes = real.bitwidth // 8, vector_of(real).lanes

    def clip(args, part, parts):
        p = fetch(Clip, args)
        start, length = share(p.size, 4 * lanes, part, parts)
        for i in range(start, start + length, lanes):
            n, place = start + length - i, p.x + size * i
            x = p.scale * load(place, n, real)
            store(place, minimum(p.bound, maximum(-p.bound, x)), n)
        return 0

    return clip


# ---------------------------------------------------------------------------------------------------------- the kernels


class Limit(NamedTuple):
    """What a kernel asks for; and the norm before, which it gets back."""

    limit: float
    norm: float


@code_per_dtype
def clip_code(real):
    """clip_code(gradients, args, name, region, fault): clip by the Limit at `args`, argument `name`."""
    kind, norm_of = kind_of_dtype(real), norm_maker(real)

    @inner
    def clip_row(rows, args, name, region):
        (x,) = rows
        limit, scale = get(args, Limit, "limit"), 1.0
        if name == names.NORM:
            norm = norm_of(x.address, x.columns, region)
            put(args, Limit, "norm", norm)
            scale = limit / norm if norm > limit else 1.0
            limit = math.inf
        if scale != 1 or limit != math.inf:
            clipped = Clip(x=x.address, size=x.columns, scale=scale, bound=limit)
            share_out(region, clip(real), on_stack(clipped), FLOPS_PER_ELEMENT * x.columns)

    run = on_rows(real, clip_row, inputs=1, outputs=1)

    def clip_code(gradients, args, name, region, fault):
        x, limit = fetch(Array, gradients), get(args, Limit, "limit")
        if (
            arg.check_numbers(fault)
            and arg.check_floats(fault, names.GRADIENTS, x, 1, names.GRADIENTS, kind)
            and arg.check_output(fault, names.GRADIENTS, x)
            and (limit >= 0 or faults.refuse(fault, faults.OUT_OF_RANGE, name, got=bits_of(limit)))
        ):
            run((as_row(x),), args, name, region)
        return 0

    return clip_code


@kernel
def clip_by_norm(gradients, norm):
    """gradients *= min(1, norm / |gradients|): limits the Euclidean norm. Returns |gradients| before, a float64.

    gradients: a float32 or float64 vector, any strides, updated in place. Infinite or NaN elements are for the caller
    to find, in the result. Raises ShapeError (a ValueError) or DtypeError (a TypeError) before anything is written.
    Pascanu, Mikolov and Bengio (2013).
    """
    fault = on_stack(CLEAR)
    args = on_stack(Limit(limit=arg.number(fault, names.NORM, norm), norm=0.0))
    call(clip_code(gradients), (describe(gradients), args, names.NORM, region(), fault))
    raise_fault(fault)
    return get(args, Limit, "norm")


@kernel
def clip_by_value(gradients, value):
    """Limit every element of gradients to -value .. value; NaN stays NaN. Returns gradients.

    gradients: a float32 or float64 vector, any strides, updated in place. Raises ShapeError (a ValueError) or
    DtypeError (a TypeError) before anything is written.
    """
    fault = on_stack(CLEAR)
    args = on_stack(Limit(limit=arg.number(fault, names.VALUE, value), norm=0.0))
    call(clip_code(gradients), (describe(gradients), args, names.VALUE, region(), fault))
    raise_fault(fault)
    return gradients
