"""A product of matrices with any strides: brings the operands into the form that `driver.product` takes, and runs it."""

import numpy as np

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import address_of, call, fetch, on_stack, stack_room, write
from fastbp.gemm.column import column_product
from fastbp.gemm.driver import Product, product, work_bytes
from fastbp.gemm.isa import blocks_for
from fastbp.gemm.pack import copier
from fastbp.parallel.clock import nanoseconds
from fastbp.parallel.region import run
from fastbp.parallel.sharing import opens_region, parts_for
from fastbp.parallel.sharing_account import account_of, note, shares

COLUMN_FLOPS = 8.0  # what an element of A costs where C is one column
STACK_BYTES = 32768  # what a product may pack into without allocating
FIELD = {name: 8 * i for i, name in enumerate(Product._fields)}
AT_B, AT_BRS, AT_BCS, AT_C, AT_CRS, AT_WORK, AT_WORK_PITCH = (
    FIELD[name] for name in ("b", "brs", "bcs", "c", "crs", "work", "work_pitch")
)


@code_per_dtype
def multiply(real):
    """multiply(args, ccs, region): the Product at `args`, B with any strides, C's elements `ccs` bytes apart in a row.

    Allocates what it packs into, if anything, and notes it in the Product.
    """
    size = blocks_for(real).size
    copy = copier(real)

    @inner
    def run_product(args, region):
        p = fetch(Product, args)
        parts = parts_for(2.0 * p.m * p.n * p.k, region)
        needed = call(work_bytes(real), (args, parts))
        if needed * parts <= STACK_BYTES:  # small products allocate nothing
            write(args + AT_WORK, stack_room(STACK_BYTES))
            write(args + AT_WORK_PITCH, needed)
            run(region, product(real), args, parts)
        else:
            work = np.empty(needed * parts + 64, np.uint8)
            write(args + AT_WORK, (address_of(work) + 63) // 64 * 64)
            write(args + AT_WORK_PITCH, needed)
            run(region, product(real), args, parts)
            work[0] = 0  # its address does not keep it alive: mention it after the last use

    @inner
    def through_contiguous_c(args, ccs, region):
        p = fetch(Product, args)
        c = np.empty((p.m, p.n), real)
        if p.accumulate != 0:
            copy(address_of(c), size * p.n, size, p.c, p.crs, ccs, p.m, p.n)
        write(args + AT_C, address_of(c))
        write(args + AT_CRS, size * p.n)
        run_product(args, region)
        copy(p.c, p.crs, ccs, address_of(c), size * p.n, size, p.m, p.n)
        c[0, 0] = 0  # keeps it alive

    @inner
    def run_column(args, region):
        """C of one column: vectors run along it. Where A's columns are contiguous, as the row C.T = B.T @ A.T."""
        p = fetch(Product, args)
        if p.ars == size:
            b, c = (p.a, p.acs, p.ars), (p.c, size * p.m)
            row = on_stack(Product(p.b, size, p.brs, *b, *c, 1, p.m, p.k, p.accumulate, 0, 0, 0, 0, 0, 0))
            run_product(row, region)
        else:
            run(region, column_product(real), args, parts_for(COLUMN_FLOPS * p.m * p.k, region))
        if p.finish != 0:
            call(p.finish, (p.finish_args, p.c, size, 0, 0, p.m, 1))

    @inner
    def with_any_c(args, ccs, region):
        p = fetch(Product, args)
        if p.m == 0 or p.n == 0:
            return
        if p.n == 1 and p.m > 1 and p.crs == size and (p.ars == size or p.acs == size):
            run_column(args, region)
        elif ccs == size or p.n == 1:
            run_product(args, region)
        else:
            through_contiguous_c(args, ccs, region)

    @inner
    def through_contiguous_b(args, ccs, region):
        p = fetch(Product, args)
        b = np.empty((p.k, p.n), real)
        copy(address_of(b), size * p.n, size, p.b, p.brs, p.bcs, p.k, p.n)
        write(args + AT_B, address_of(b))
        write(args + AT_BRS, size * p.n)
        write(args + AT_BCS, size)
        with_any_c(args, ccs, region)
        b[0, 0] = 0  # keeps it alive

    @inner
    def with_any_b(args, ccs, region):
        p = fetch(Product, args)
        if p.n <= 1:  # a stride along an axis of length 1 is never used, and may be any number
            write(args + AT_BCS, size)
        elif p.k <= 1:
            write(args + AT_BRS, size)
        if p.bcs == size or p.brs == size or p.n <= 1 or p.k <= 1:
            with_any_c(args, ccs, region)
        else:
            through_contiguous_b(args, ccs, region)

    def multiply(args, ccs, region):
        p = fetch(Product, args)
        flops = (2.0 if p.n > 1 else COLUMN_FLOPS) * p.m * p.n * p.k
        if not opens_region(flops, region):
            with_any_b(args, ccs, region)
            return 0
        account, began = call(account_of(), (product(real), p.m, p.n, p.k, int(flops))), nanoseconds()
        shared = shares(account, began)
        with_any_b(args, ccs, region if shared else 0)
        call(note(), (account, shared, began, nanoseconds(), int(flops)))
        return 0

    return multiply
