"""The last finite parameters: whether a flat vector is finite, and a copy of it if so, at the speed of memory."""

from typing import NamedTuple

import numpy as np

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.llvm import fetch, on_stack, read, write
from fastbp.compiler.vector import fma, load, reduce_add, splat, store
from fastbp.gemm.driver import share
from fastbp.kernels.activation_passes import size_and_lanes
from fastbp.parallel.sharing import share_out

FLOPS_PER_ELEMENT = 8.0  # what an element costs, for the choice of threads


class Vectors(NamedTuple):
    source: int
    target: int
    size: int
    finite: int  # comes back: the address of an int64, set to 0 by whoever finds a number that is not finite


@code_per_dtype
def is_finite(real):
    """is_finite(args, part, parts): look at a part of the Vectors at `args`."""
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
    """copy_if_finite(source, target, size, region): 1, and a copy at target unless that is 0, if all numbers at source are
    finite; else 0."""

    def copy_if_finite(source, target, size, region):
        finite = on_stack(Finite(1))
        args, flops = on_stack(Vectors(source, target, size, finite)), FLOPS_PER_ELEMENT * size
        share_out(region, is_finite(real), args, flops)
        if read(finite, np.int64) != 0 and target != 0:
            share_out(region, copied(real), args, flops)
        return read(finite, np.int64)

    return copy_if_finite


class Finite(NamedTuple):
    value: int
