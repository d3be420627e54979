"""Packing: panels of A and transposed panels of B, by vectors, zero-padded.

    A panel, its columns contiguous (ars one element)        A panel, its rows contiguous
    MR elements of column 0, of column 1, ... of kc - 1      row 0, row 1, ... of MR, `pitch` bytes apart

The tile takes either, so A is never transposed. B panels hold NR (or, at the edge, fewer whole vectors of) columns:
row 0, row 1, ... of kc. Strides and addresses are in bytes.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import I8, I64, prefetch
from fastbp.gemm.isa import blocks_for
from fastbp.gemm.micro import Vectors
from fastbp.parallel.parts import CACHE_LINE


def vector_copy(real, lanes):
    """Return the intrinsic that copies one vector from `source` to `target`, zero past its first n elements."""

    @intrinsic
    def copy(typingctx, target, source, n):
        def codegen(context, bd, signature, args):
            v = Vectors(bd, real, lanes, fma=False)
            value = v.load(bd.inttoptr(args[1], I8.as_pointer()), v.before(args[2], 0))
            v.store(value, bd.inttoptr(args[0], I8.as_pointer()))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return copy


def transposed(v, rows):
    """Transpose lanes x lanes elements, by log2(lanes) stages of shuffles of two vectors."""
    bd, lanes, step = v.builder, v.lanes, 1
    index = ir.VectorType(ir.IntType(32), lanes)
    while step < lanes:
        low = ir.Constant(index, [lanes + (i ^ step) if i & step else i for i in range(lanes)])
        high = ir.Constant(index, [lanes + i if i & step else i | step for i in range(lanes)])
        rows = [bd.shuffle_vector(rows[i & ~step], rows[i | step], high if i & step else low) for i in range(lanes)]
        step *= 2
    return rows


def block_transpose(real, lanes):
    """Return the intrinsic that transposes up to lanes x lanes elements; `lanes` rows of the target are always written."""

    @intrinsic
    def transpose(typingctx, target, target_stride, source, source_stride, columns, rows):
        def codegen(context, bd, signature, args):
            target, target_stride, source, source_stride, columns, rows = args
            v = Vectors(bd, real, lanes, fma=False)
            mask, last = v.before(columns, 0), bd.sub(rows, I64(1))

            def place(address, stride, row):
                return bd.inttoptr(bd.add(address, bd.mul(stride, row)), I8.as_pointer())

            clamped = [bd.select(bd.icmp_signed("<", I64(i), rows), I64(i), last) for i in range(lanes)]
            block = [v.load(place(source, source_stride, row), mask) for row in clamped]
            for i, row in enumerate(transposed(v, block)):
                v.store(row, place(target, target_stride, I64(i)))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return transpose


def a_packer(real):
    """pack_a(a, ars, acs, m, kc, panel, pitch): pack up to MR rows of A, as columns where those are contiguous."""
    size, lanes, MR, *_ = blocks_for(real)
    copy = vector_copy(real, lanes)
    copy_column = vector_copy(real, 1 << (MR - 1).bit_length())

    @inner
    def pack_a(a, ars, acs, m, kc, panel, pitch):
        if ars == size:
            for p in range(kc):
                copy_column(panel + size * p * MR, a + p * acs, m)
        else:
            for i in range(m):
                for p in range(0, kc, lanes):
                    copy(panel + i * pitch + size * p, a + i * ars + size * p, kc - p)

    return pack_a


def a_prefetcher(real):
    """prefetch_a(a, ars, acs, m, begin, end): fetch columns of the next panel of A into L2, where packing will find them."""
    size = blocks_for(real).size

    @inner
    def prefetch_a(a, ars, acs, m, begin, end):
        columns = ars == size
        rows, step = (1, 1) if columns else (m, CACHE_LINE // size)
        for p in range(begin, end, step):
            for i in range(rows):
                prefetch(a + i * ars + p * acs)

    return prefetch_a


def b_packer(real):
    """pack_b(b, brs, bcs, kc, n, panel, stride): pack a panel of B, from rows or columns that are contiguous."""
    size, lanes, *_ = blocks_for(real)
    transpose, copy = block_transpose(real, lanes), vector_copy(real, lanes)

    @inner
    def pack_b(b, brs, bcs, kc, n, panel, stride):
        for j in range(0, n, lanes):
            if bcs == size:
                for p in range(kc):
                    copy(panel + p * stride + size * j, b + p * brs + size * j, n - j)
            else:
                for p in range(0, kc, lanes):
                    transpose(panel + p * stride + size * j, stride, b + size * p + j * bcs, bcs, kc - p, n - j)

    return pack_b
