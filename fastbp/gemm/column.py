"""A product with one column, C (m, 1) = A (m, k) @ b, where A's rows are contiguous.

Vectors must run across rows, since each sum is one chain in ascending k: a block of A is transposed in registers and goes
from there into the chains of as many rows as a vector has lanes. Four such groups take turns: one chain alone would wait for
the latency of its last multiply-add.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.llvm import I8, I64, fetch
from fastbp.compiler.vector import load, store, vector_of
from fastbp.gemm.driver import Product
from fastbp.gemm.isa import target_isa
from fastbp.gemm.micro import Vectors
from fastbp.gemm.pack import transposed
from fastbp.parallel.parts import share


def chain_steps(real, lanes):
    """chain(sums, a, ars, rows, b, brs, steps): sums[i] += a[i, p] * b[p] for p below min(steps, lanes), in that order, for
    i < rows <= lanes; the other lanes repeat the last row."""

    @intrinsic
    def chain(typingctx, sums, a, ars, rows, b, brs, steps):
        def codegen(context, bd, signature, args):
            sums, a, ars, rows, b, brs, steps = args
            v = Vectors(bd, real, lanes, target_isa().fma)
            mask, last = v.before(steps, 0), bd.sub(rows, I64(1))
            clamped = [bd.select(bd.icmp_signed("<", I64(i), rows), I64(i), last) for i in range(lanes)]
            places = [bd.inttoptr(bd.add(a, bd.mul(ars, row)), I8.as_pointer()) for row in clamped]
            columns = transposed(v, [v.load(place, mask) for place in places])
            return chained(v, columns, sums, b, brs, steps)

        return sums(sums, *[types.int64] * 6), codegen

    return chain


def chained(v, columns, sums, b, brs, steps):
    """Emit the multiply-adds of a block of rows and steps; a whole block has no conditions."""
    bd, lanes = v.builder, v.lanes
    whole, part, end = (bd.append_basic_block(name) for name in ("whole", "part", "end"))
    bd.cbranch(bd.icmp_signed(">=", steps, I64(lanes)), whole, part)

    def factor(p):
        return v.broadcast(bd.inttoptr(bd.add(b, bd.mul(brs, p)), I8.as_pointer()))

    bd.position_at_end(whole)
    total = sums
    for p, column in enumerate(columns):
        total = v.fma(column, factor(I64(p)), total)
    bd.branch(end)
    bd.position_at_end(part)
    partial = sums
    for p, column in enumerate(columns):
        here = bd.icmp_signed("<", I64(p), steps)
        added = v.fma(column, factor(bd.select(here, I64(p), I64(0))), partial)
        partial = bd.select(here, added, partial)
    bd.branch(end)
    bd.position_at_end(end)
    result = bd.phi(ir.VectorType(v.element, lanes))
    result.add_incoming(total, whole)
    result.add_incoming(partial, part)
    return result


@code_per_dtype
def column_product(real):
    """column_product(args, part, parts): compute a part of the rows of the Product at `args`, of one contiguous column."""
    size, lanes = real.bitwidth // 8, vector_of(real).lanes
    chain, groups = chain_steps(real, lanes), 4

    def column_product(args, part, parts):
        p = fetch(Product, args)
        start, rows = share(p.m, groups * lanes, part, parts)
        end = start + rows
        for i in range(start, end, groups * lanes):
            i1, i2, i3 = min(i + lanes, end - 1), min(i + 2 * lanes, end - 1), min(i + 3 * lanes, end - 1)
            kept = 1 if p.accumulate != 0 else 0
            x0 = load(p.c + size * i, kept * (end - i), real)
            x1 = load(p.c + size * i1, kept * (end - i1), real)
            x2 = load(p.c + size * i2, kept * (end - i2), real)
            x3 = load(p.c + size * i3, kept * (end - i3), real)
            for k in range(0, p.k, lanes):
                a, b, steps = p.a + size * k, p.b + k * p.brs, p.k - k
                x0 = chain(x0, a + i * p.ars, p.ars, min(lanes, end - i), b, p.brs, steps)
                if end - i > lanes:
                    x1 = chain(x1, a + i1 * p.ars, p.ars, min(lanes, end - i1), b, p.brs, steps)
                    x2 = chain(x2, a + i2 * p.ars, p.ars, min(lanes, end - i2), b, p.brs, steps)
                    x3 = chain(x3, a + i3 * p.ars, p.ars, min(lanes, end - i3), b, p.brs, steps)
            store(p.c + size * i, x0, end - i)
            store(p.c + size * (i + lanes), x1, max(end - i - lanes, 0))
            store(p.c + size * (i + 2 * lanes), x2, max(end - i - 2 * lanes, 0))
            store(p.c + size * (i + 3 * lanes), x3, max(end - i - 3 * lanes, 0))
        return 0

    return column_product
