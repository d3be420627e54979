"""The last finite parameters: whether a flat vector is finite, and a copy of it if so, at the speed of memory."""

from typing import NamedTuple

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.llvm import fetch, get, on_stack, write
from fastbp.compiler.vector import fma, load, reduce_add, splat, store
from fastbp.kernels.activation_passes import size_and_lanes
from fastbp.parallel.parts import share
from fastbp.parallel.sharing import share_out

FLOPS_PER_ELEMENT = 8.0  # the cost of an element, for the choice of threads


class Vectors(NamedTuple):
    """A flat vector to look at or to copy."""

    source: int
    target: int
    size: int
    finite: int  # the address of an int64 that becomes 0 where a number is not finite


class Finite(NamedTuple):
    """Whether all of a vector is finite: 1 or 0."""

    value: int


@code_per_dtype
def is_finite(real):
    """is_finite(args, part, parts): look for numbers that are not finite in a part of the Vectors at `args`."""
    size, lanes = size_and_lanes(real)

    def is_finite(args, part, parts):
        p = fetch(Vectors, args)
        start, length = share(p.size, 4 * lanes, part, parts)
        zero = splat(real, 0.0)
        first, second = zero, zero
        for i in range(start, start + length, 2 * lanes):  # 0 x is 0, or NaN where x is not finite
            n = start + length - i
            first = fma(load(p.source + size * i, n, real), zero, first)
            second = fma(load(p.source + size * (i + lanes), max(n - lanes, 0), real), zero, second)
        if reduce_add(first + second) != 0:  # true of NaN
            write(p.finite, 0)
        return 0

    return is_finite


@code_per_dtype
def copied(real):
    """copied(args, part, parts): copy a part of the Vectors at `args`."""
    size, lanes = size_and_lanes(real)

    def copied(args, part, parts):
        p = fetch(Vectors, args)
        start, length = share(p.size, 4 * lanes, part, parts)
        for i in range(start, start + length, lanes):
            n = start + length - i
            store(p.target + size * i, load(p.source + size * i, n, real), n)
        return 0

    return copied


@code_per_dtype
def copy_if_finite(real):
    """copy_if_finite(source, target, size, region): return 1 if all numbers at source are finite, and then copy them to target,
    unless that is 0; else return 0."""

    def copy_if_finite(source, target, size, region):
        finite, flops = on_stack(Finite(1)), FLOPS_PER_ELEMENT * size
        args = on_stack(Vectors(source=source, target=target, size=size, finite=finite))
        share_out(region, is_finite(real), args, flops)
        if get(finite, Finite, "value") != 0 and target != 0:
            share_out(region, copied(real), args, flops)
        return get(finite, Finite, "value")

    return copy_if_finite
