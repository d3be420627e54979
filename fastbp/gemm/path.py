"""How a Product is going to be computed: what the driver decides, reported instead of done.

To ask, lay a Path down as the Product's `work`, with a `work_pitch` of -1, and run its code as usual: the answer comes from the
very operands and decisions.
"""

from typing import NamedTuple

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import fetch, put
from fastbp.gemm.driver import Product, planner
from fastbp.gemm.isa import blocks_for, target_isa
from fastbp.gemm.micro import shapes
from fastbp.parallel.parts import CACHE_LINE, share


class Path(NamedTuple):
    """What `tell` fills in, but for its own address.

    m, n, k: the sizes of the product; a k of 0 says that none was asked for.
    packs_a, packs_b: whether A and B are packed.
    across, down: number of parts that share the rows, and the columns.
    rows, columns: those of the largest part.
    cells: elements that the tiles compute, those beyond the edges of C among them.
    stores: 0 where C is handed on strip by strip and never stored.
    """

    tell: int
    m: int
    n: int
    k: int
    packs_a: int
    packs_b: int
    across: int
    down: int
    rows: int
    columns: int
    cells: int
    stores: int


def tile_extents(real) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the rows that the tile for 0, 1 .. MR rows computes, and the columns of that for 0, 1 .. NR."""
    isa, blocks = target_isa(), blocks_for(real)

    def tile_for(m, n):
        return next(s for s in shapes(isa, blocks.lanes) if m > s.above_m and n > s.above_n and not s.fills_panel)

    rows = (tile_for(m, 1).rows for m in range(1, blocks.MR + 1))
    columns = (tile_for(1, n).vectors * blocks.lanes for n in range(1, blocks.NR + 1))
    return (0, *rows), (0, *columns)


@code_per_dtype
def tell(real):
    """tell(path, args, parts): fill in the Path at `path` for the Product at `args`, shared by `parts` parts."""
    size, _, MR, _, _, _, NC = blocks_for(real)
    line = CACHE_LINE // size
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
            columns = share(n, line, part, down)[1]
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
        rows, columns = share(p.m, MR, 0, across)[1], share(p.n, line, 0, down)[1]
        put(path, Path, "m", p.m)
        put(path, Path, "n", p.n)
        put(path, Path, "k", p.k)
        put(path, Path, "packs_a", packs_a(p, columns))
        put(path, Path, "packs_b", packs_b(p, rows))
        put(path, Path, "across", across)
        put(path, Path, "down", down)
        put(path, Path, "rows", rows)
        put(path, Path, "columns", columns)
        put(path, Path, "cells", computed_rows(p.m, across) * computed_columns(p.n, down))
        put(path, Path, "stores", p.strips == 0)
        return 0

    return tell
