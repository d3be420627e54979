"""A product of matrices with any strides: brings the operands into the form that `driver.product` takes, and runs it."""

import numpy as np

from fastbp.compiler.arrays import Array, transposed
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import address_of, call, fetch, get, on_stack, put, stack_room
from fastbp.compiler.strided import on_rows
from fastbp.gemm.column import column_product
from fastbp.gemm.driver import Product, product, work_bytes
from fastbp.parallel.clock import nanoseconds
from fastbp.parallel.parts import CACHE_LINE, round_up
from fastbp.parallel.region import run
from fastbp.parallel.sharing import opens_region, parts_for
from fastbp.parallel.sharing_account import account_of, note, shares

COLUMN_FLOPS = 8.0  # what an element of A costs where C is one column
STACK_BYTES = 32768  # what a product may pack into without allocating


@inner
def product_of(a, b, c, size, accumulate, finish, finish_args):
    """Return the Product of matrices, c's rows and b's rows or columns contiguous. A stride of b along an axis of length 1
    is never used and may be any number; here it is that of contiguous elements."""
    brs, bcs = size if b.rows <= 1 < b.columns else b.row_stride, size if b.columns <= 1 else b.column_stride
    return Product(
        a=a.address,
        ars=a.row_stride,
        acs=a.column_stride,
        b=b.address,
        brs=brs,
        bcs=bcs,
        c=c.address,
        crs=c.row_stride,
        m=a.rows,
        n=b.columns,
        k=a.columns,
        accumulate=accumulate,
        finish=finish,
        finish_args=finish_args,
        work=0,
        work_pitch=0,
        across=0,
        strips=0,
    )


def product_runner(real):
    """run_product(args, region): compute the Product at `args`; it allocates what it packs into, if anything."""

    @inner
    def run_product(args, region):
        p = fetch(Product, args)
        parts = parts_for(2.0 * p.m * p.n * p.k, region)
        pitch = call(work_bytes(real), (args, parts))
        put(args, Product, "work_pitch", pitch)
        if pitch * parts <= STACK_BYTES:  # small products allocate nothing
            put(args, Product, "work", stack_room(STACK_BYTES))
            run(region, product(real), args, parts)
        else:
            work = np.empty(pitch * parts + CACHE_LINE, np.uint8)
            put(args, Product, "work", round_up(address_of(work), CACHE_LINE))
            run(region, product(real), args, parts)
            work[0] = 0  # its address does not keep it alive: mention it after the last use

    return run_product


def column_runner(real):
    """run_column(a, b, c, accumulate, region): a C of one column, whose elements and A's rows or columns are contiguous.

    Vectors run along it: where A's columns are contiguous it is computed as the row C.T = B.T @ A.T.
    """
    size, run_product = real.bitwidth // 8, product_runner(real)

    @inner
    def run_column(a, b, c, accumulate, region):
        if a.row_stride == size:
            row = product_of(transposed(b), transposed(a), transposed(c), size, accumulate, 0, 0)
            run_product(on_stack(row), region)
        else:
            args = on_stack(product_of(a, b, c, size, accumulate, 0, 0))
            run(region, column_product(real), args, parts_for(COLUMN_FLOPS * a.rows * a.columns, region))

    return run_column


@code_per_dtype
def multiply(real):
    """multiply(a, b, c, accumulate, finish, finish_args, region): C = or += A @ B, matrices of any strides, whose Arrays lie at
    a, b and c; then `finish`, as in a Product. Allocates what it copies or packs into, if anything."""
    size = real.bitwidth // 8
    run_product, run_column = product_runner(real), column_runner(real)

    @inner
    def multiply_rows(rows, left, by_columns, accumulate, finish, finish_args, region):
        a, b, c = fetch(Array, left), transposed(rows[0]) if by_columns else rows[0], rows[1]
        if b.columns == 1 and a.rows > 1 and c.row_stride == size and (a.row_stride == size or a.column_stride == size):
            run_column(a, b, c, accumulate, region)
            if finish != 0:
                call(finish, (finish_args, c.address, size, 0, 0, a.rows, 1))
        else:
            run_product(on_stack(product_of(a, b, c, size, accumulate, finish, finish_args)), region)

    run_on_rows = on_rows(real, multiply_rows, inputs=2, outputs=1)

    @inner
    def multiply_any(a, b, c, accumulate, finish, finish_args, region):
        right = fetch(Array, b)
        by_columns = right.rows <= 1 or (right.row_stride == size and right.column_stride != size)
        matrices = (transposed(right) if by_columns else right, fetch(Array, c))
        run_on_rows(matrices, a, by_columns, accumulate, finish, finish_args, region)

    def multiply(a, b, c, accumulate, finish, finish_args, region):
        m, n, k = get(a, Array, "rows"), get(b, Array, "columns"), get(a, Array, "columns")
        flops = (2.0 if n > 1 else COLUMN_FLOPS) * m * n * k
        if m == 0 or n == 0:
            return 0
        if not opens_region(flops, region):
            multiply_any(a, b, c, accumulate, finish, finish_args, region)
            return 0
        account, began = call(account_of(), (product(real), m, n, k, int(flops))), nanoseconds()
        shared = shares(account, began)
        multiply_any(a, b, c, accumulate, finish, finish_args, region if shared else 0)
        call(note(), (account, shared, began, nanoseconds(), int(flops)))
        return 0

    return multiply
