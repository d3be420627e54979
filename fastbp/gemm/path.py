"""How a Product is going to be computed: what the driver decides, told instead of done.

Whoever wants to know lays a Path down as the Product's `work`, with a `work_pitch` of -1, and runs its code as usual: so
the answer comes from the operands and the decisions that count.
"""

from typing import NamedTuple

import numpy as np

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import fetch, write
from fastbp.gemm.driver import Product, planner, share
from fastbp.gemm.isa import blocks_for, target_isa
from fastbp.gemm.micro import shapes


class Path(NamedTuple):
    """What `tell` fills in, but for its own address."""

    tell: int
    m: int
    n: int
    k: int  # 0: no product was asked for
    packs_a: int
    packs_b: int
    across: int  # in how many ways the rows are shared
    down: int  # and the columns
    rows: int  # of the largest part
    columns: int
    cells: int  # elements that the tiles compute, those beyond the edges of C among them
    stores: int  # 0: C is handed on strip by strip, and never stored


def tile_extents(real) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The rows that the tile for 0, 1 .. MR rows computes, and the columns of that for 0, 1 .. NR."""
    isa, blocks = target_isa(), blocks_for(real)

    def tile_for(m, n):
        return next(s for s in shapes(isa, blocks.lanes) if m > s.above_m and n > s.above_n and not s.fills_panel)

    rows = (tile_for(m, 1).rows for m in range(1, blocks.MR + 1))
    columns = (tile_for(1, n).vectors * blocks.lanes for n in range(1, blocks.NR + 1))
    return (0, *rows), (0, *columns)


@code_per_dtype
def tell(real):
    """tell(path, args, parts): the Path of the Product at `args`, shared by so many parts."""
    size, _, MR, _, _, _, NC = blocks_for(real)
    tile_width, packs_a, packs_b, rows_shared, _ = planner(real)
    tall, wide = tile_extents(real)

    @inner
    def computed_rows(m, across):
        total = 0
        for part in range(across):
            rows = share(m, MR, part, across)[1]
            total += rows // MR * MR + tall[rows % MR]
        return total

    @inner
    def computed_columns(n, down):
        total = 0
        for part in range(down):
            columns = share(n, 64 // size, part, down)[1]
            for block in range(0, columns, NC):
                left = min(NC, columns - block)
                while left > 0:
                    total += wide[tile_width(left)]
                    left -= tile_width(left)
        return total

    def tell(path, args, parts):
        p = fetch(Product, args)
        across = rows_shared(p, parts)
        down = parts // across
        rows, columns = share(p.m, MR, 0, across)[1], share(p.n, 64 // size, 0, down)[1]
        packed = (np.int64(packs_a(p, columns)), np.int64(packs_b(p, rows)))
        cells, stores = computed_rows(p.m, across) * computed_columns(p.n, down), np.int64(p.strips == 0)
        answer = (p.m, p.n, p.k, *packed, across, down, rows, columns, cells, stores)
        for i in range(len(answer)):
            write(path + 8 * (i + 1), answer[i])
        return 0

    return tell
