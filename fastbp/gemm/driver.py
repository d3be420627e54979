"""C = A @ B, or C += A @ B: the five loops around the tile, over one part of C.

Loops, from the outside in (BLIS's names): KC blocks of the sum, MC rows, NC columns, MR rows, NR columns. The sum's
loop is outermost and C carries it from block to block, so each element of C is one chain in ascending k however C
is split. Parts of C share nothing: each packs for itself, none waits for another.
"""

import functools
from typing import NamedTuple

import numpy as np

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inlined, inner
from fastbp.compiler.llvm import call, fetch, read
from fastbp.gemm import pack
from fastbp.gemm.isa import blocks_for, target_isa
from fastbp.gemm.micro import tile


class Product(NamedTuple):
    """C (m, n) = A (m, k) @ B (k, n). Addresses and strides in bytes; C's rows and one of B's strides are contiguous."""

    a: int
    ars: int
    acs: int
    b: int
    brs: int
    bcs: int
    c: int
    crs: int
    m: int
    n: int
    k: int
    accumulate: int  # 1: C += A @ B
    finish: int  # code called on each finished block, finish(finish_args, c, crs, row, column, rows, columns); 0: none
    finish_args: int
    work: int  # where to pack: `parts` times `work_pitch` bytes of memory
    work_pitch: int  # from one part's memory to the next: at least work_bytes(args, parts); -1: `work` is a Path
    across: (
        int  # in how many ways to share the rows if that costs little: a share that stays with a thread; 0: no matter
    )
    strips: (
        int  # 0, or `parts` times strip_bytes: C is not stored, each strip lies there for `finish` alone, which updates
    )
    # the matrix at c by it; k <= KC


@inner
def rounded_up(x, unit):
    return (x + unit - 1) // unit * unit


@inner
def share(total, unit, part, parts):
    """(start, length) of part number `part` when `parts` parts of whole units share `total`; the last may be empty."""
    length = rounded_up((total + parts - 1) // parts, unit)
    start = min(part * length, total)
    return start, min(length, total - start)


@functools.cache
def planner(real):
    """The decisions for one dtype: tile_width, packs_a, packs_b, rows_shared, work_layout.

    What was measured stands in fastbp/gemm/README.md.
    """
    size, lanes, MR, NR, KC, MC, NC = blocks_for(real)
    masked_loads = target_isa().masked_loads

    @inner
    def tile_width(left):
        """Columns of the next tile of a strip: a tile of one vector waits for its multiply-adds, so two of two vectors serve
        better than one of three and one of one: 64 columns at 88 % of the peak instead of 83."""
        return NR - lanes if 2 * lanes < NR < left <= NR + lanes else min(NR, left)

    @inner
    def packs_a(p, n):
        """Where the panel is read often enough, or where its rows lie 4,096 bytes apart: in one set of the L1 cache."""
        if p.ars != size and p.acs != size:
            return False
        return (n >= 256 and p.ars == size) or (p.acs == size and p.ars % 4096 == 0 and n > NR)

    @inner
    def packs_b(p, m):
        """Where it must be transposed, is read often enough, does not stay in L2 from block to block, or has its rows on pages
        of their own, which the hardware does not fetch ahead, but the tile that packs does."""
        often = m > 8 * MR or (m > MR and p.k > KC) or (m >= MR and p.brs > 4096)
        return p.bcs != size or often or (not masked_loads and p.n % lanes != 0)

    @inner
    def cost_of(p, parts, across):
        """Of the largest part when the rows are shared in so many ways, in FMAs a step of k."""
        rows = share(p.m, MR, 0, across)[1]
        columns = rounded_up(share(p.n, 64 // size, 0, parts // across)[1], lanes)
        return rows * columns + 12.0 * rows + (12.0 if p.bcs == size else 24.0) * columns

    @inner
    def rows_shared(p, parts):
        """How many ways to share the rows (the columns: parts // that): the cheapest grid, or nearly so as the caller asks."""
        best, best_cost = 1, np.inf
        for across in range(1, parts + 1):
            cost = cost_of(p, parts, across) if parts % across == 0 else np.inf
            if cost < best_cost:
                best, best_cost = across, cost
        if p.across > 0 and parts % p.across == 0 and cost_of(p, parts, p.across) < 1.1 * best_cost:
            return p.across
        return best

    @inner
    def work_layout(p, parts):
        """(bytes of a part's memory, where B's panels begin in it, bytes from row to row of a packed A panel)."""
        across = rows_shared(p, parts)
        rows, columns = share(p.m, MR, 0, across)[1], share(p.n, 64 // size, 0, parts // across)[1]
        depth = rounded_up(min(p.k, KC), lanes)
        row_pitch = size * depth + 64  # off a power of two, so that rows fall into different sets of the cache
        b_start = rounded_up(rounded_up(min(rows, MC), MR) * row_pitch + 64, 64) if packs_a(p, columns) else 0
        b_bytes = size * depth * rounded_up(min(columns, NC), lanes) + 64 if packs_b(p, rows) else 0
        return rounded_up(b_start + b_bytes, 64), b_start, row_pitch

    return tile_width, packs_a, packs_b, rows_shared, work_layout


@code_per_dtype
def work_bytes(real):
    """work_bytes(args, parts): the memory that each part packs into when `parts` parts share the Product at `args`."""
    *_, work_layout = planner(real)

    def work_bytes(args, parts):
        return work_layout(fetch(Product, args), parts)[0]

    return work_bytes


def work_bound(real, m, n, k):
    """What work_bytes can be at the most for products up to these sizes, whoever shares them."""
    size, lanes, MR, _, KC, MC, NC = blocks_for(real)
    depth = -(-min(k, KC) // lanes) * lanes
    a_bytes = (min(m, MC) + MR) * (size * depth + 64) + 128
    return -(-(a_bytes + size * depth * (min(n, NC) + lanes) + 128) // 64) * 64


def strip_bytes(real) -> int:
    """The memory in which each part keeps a strip of a C that is not stored."""
    size, _, MR, _, _, _, NC = blocks_for(real)
    return size * MR * NC


@code_per_dtype
def product(real):
    """product(args, part, parts): compute part number `part` of `parts` of the Product at `args`."""
    size, lanes, MR, _, KC, MC, NC = blocks_for(real)
    run_tile, pack_b = tile(real), pack.b_packer(real)
    pack_a, prefetch_a = pack.a_packer(real), pack.a_prefetcher(real)
    tile_width, packs_a, packs_b, rows_shared, work_layout = planner(real)

    @inlined
    def strip(p, c, crs, row, m, column, columns, first, kc, a, ars, acs, b_panels, fills_b, ahead, ahead_m):
        """m <= MR rows of one KC block: the tiles along a strip of C, which begins at `c`."""
        j = 0
        while j < columns:
            n = tile_width(columns - j)
            if ahead_m > 0:
                prefetch_a(ahead, p.ars, p.acs, ahead_m, j * kc // columns, (j + n) * kc // columns)
            b, brs, panel = p.b + first * p.brs + (column + j) * p.bcs, p.brs, 0
            if b_panels != 0:
                packed, stride = b_panels + size * j * rounded_up(min(p.k, KC), lanes), size * rounded_up(n, lanes)
                if fills_b and p.bcs == size and m == MR:
                    panel = packed
                else:
                    if fills_b:
                        pack_b(b, p.brs, p.bcs, kc, n, packed, stride)
                    b, brs = packed, stride
            following = p.c + row * p.crs + size * (column + j)
            accumulate = p.accumulate != 0 or first > 0
            run_tile(a, ars, acs, b, brs, panel, kc, c + size * j, crs, m, n, accumulate, following, p.crs)
            j += n

    @inlined
    def block(p, row, rows, column, columns, first, kc, a_panels, row_pitch, fills_a, b_panels, kept):
        """MC rows, NC columns of one KC block: strips of MR rows."""
        for i in range(0, rows, MR):
            m, a, ars, acs, ahead_m = min(MR, rows - i), p.a + (row + i) * p.ars + first * p.acs, p.ars, p.acs, 0
            if a_panels != 0:
                panel = a_panels + i * row_pitch
                if fills_a:
                    pack_a(a, p.ars, p.acs, m, kc, panel, row_pitch)
                    ahead_m = min(MR, rows - i - m)
                a, ars, acs = (panel, size, size * MR) if p.ars == size else (panel, row_pitch, size)
            ahead = p.a + (row + i + MR) * p.ars + first * p.acs
            c, crs = p.c + (row + i) * p.crs + size * column, p.crs
            if kept != 0:  # whole rows of C lie side by side, as in the matrix that `finish` may update
                c, crs = kept, size * (columns if columns == p.n else NC)
            strip(p, c, crs, row + i, m, column, columns, first, kc, a, ars, acs, b_panels, i == 0, ahead, ahead_m)
            if first + kc >= p.k and p.finish != 0:
                call(p.finish, (p.finish_args, c, crs, row + i, column, m, columns))

    def product(args, part, parts):
        p = fetch(Product, args)
        if p.work_pitch < 0:  # somebody asks how it would be computed: `gemm/path.py`
            return call(read(p.work, np.int64), (p.work, args, parts))
        across = rows_shared(p, parts)
        down = parts // across
        top, rows = share(p.m, MR, part // down, across)
        left, columns = share(p.n, 64 // size, part % down, down)
        if rows <= 0 or columns <= 0:
            return 0
        _, b_start, row_pitch = work_layout(p, parts)
        a_panels = p.work + part * p.work_pitch
        b_panels = a_panels + b_start if packs_b(p, rows) else 0
        a_panels = a_panels if packs_a(p, columns) else 0
        kept = 0 if p.strips == 0 else p.strips + part * size * MR * NC
        for first in range(0, max(p.k, 1), KC):
            for i in range(0, rows, MC):
                for j in range(0, columns, NC):
                    m, n, kc = min(MC, rows - i), min(NC, columns - j), min(KC, p.k - first)
                    block(p, top + i, m, left + j, n, first, kc, a_panels, row_pitch, j == 0, b_panels, kept)
        return 0

    return product
