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
from fastbp.gemm.isa import blocks_for, target_isa
from fastbp.gemm.micro import tile
from fastbp.gemm.pack import a_packer, a_prefetcher, b_packer
from fastbp.parallel.parts import CACHE_LINE, round_up, rounded_up, share


class Product(NamedTuple):
    """C (m, n) = A (m, k) @ B (k, n).

    a, b, c: addresses; ars, acs, ...: strides from row to row and from column to column, in bytes. C's rows and B's rows or
    columns are contiguous.
    accumulate: 1 for C += A @ B.
    finish: code called on each finished block of C, finish(finish_args, c, crs, row, column, rows, columns); 0: none.
    work, work_pitch: memory to pack into, work_pitch >= work_bytes(args, parts) bytes for each part; a pitch of -1 says that a
    Path lies at `work` (gemm/path.py).
    across: number of parts to share the rows among if that costs little, so that a part stays with a thread; 0: any.
    strips: 0, or memory of strip_bytes for each part: C is not stored, each strip of it lies there for `finish` alone, which
    updates the matrix at c by it; then k <= KC.
    """

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
    accumulate: int
    finish: int
    finish_args: int
    work: int
    work_pitch: int
    across: int
    strips: int


class Block(NamedTuple):
    """A block of C, and the kc steps of the sum, from `first` on, that are added to it."""

    row: int
    rows: int
    column: int
    columns: int
    first: int
    kc: int


class Memory(NamedTuple):
    """Where a part packs A, whose rows are `row_pitch` bytes apart there, and B, and where it keeps a strip of a C that is not
    stored; 0 where it does not."""

    a_panels: int
    row_pitch: int
    b_panels: int
    strip: int


@functools.cache
def planner(real):
    """Return the decisions for one dtype: tile_width, packs_a, packs_b, rows_shared, work_layout.

    What was measured stands in fastbp/gemm/README.md.
    """
    size, lanes, MR, NR, KC, MC, NC = blocks_for(real)
    line, masked_loads = CACHE_LINE // size, target_isa().masked_loads

    @inner
    def tile_width(left):
        """Return the columns of the next tile of a strip. A tile of one vector waits for its multiply-adds, so two of two
        vectors are better than one of three and one of one: 64 columns at 88 % of the peak instead of 83."""
        return NR - lanes if 2 * lanes < NR < left <= NR + lanes else min(NR, left)

    @inner
    def packs_a(p, n):
        """Return whether to pack A: where a panel is read often, or its rows lie 4,096 bytes apart, in one set of the L1
        cache."""
        if p.ars != size and p.acs != size:
            return False
        return (n >= 256 and p.ars == size) or (p.acs == size and p.ars % 4096 == 0 and n > NR)

    @inner
    def packs_b(p, m):
        """Return whether to pack B: where it must be transposed, is read often enough, does not stay in L2 from block to
        block, or has its rows on pages of their own, which the hardware does not fetch ahead, but the tile that packs does."""
        often = m > 8 * MR or (m > MR and p.k > KC) or (m >= MR and p.brs > 4096)
        return p.bcs != size or often or (not masked_loads and p.n % lanes != 0)

    @inner
    def cost_of(p, parts, across):
        """Return what the largest part costs when `across` parts share the rows, in multiply-adds for each step of k."""
        rows = share(p.m, MR, 0, across)[1]
        columns = round_up(share(p.n, line, 0, parts // across)[1], lanes)
        return rows * columns + 12.0 * rows + (12.0 if p.bcs == size else 24.0) * columns

    @inner
    def rows_shared(p, parts):
        """Return the number of parts that share the rows: in the cheapest grid, or in the caller's if that costs little
        more."""
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
        rows, columns = share(p.m, MR, 0, across)[1], share(p.n, line, 0, parts // across)[1]
        depth = round_up(min(p.k, KC), lanes)
        row_pitch = size * depth + CACHE_LINE  # off a power of two, so that rows fall into different sets of the cache
        a_bytes = round_up(min(rows, MC), MR) * row_pitch + CACHE_LINE
        b_start = round_up(a_bytes, CACHE_LINE) if packs_a(p, columns) else 0
        b_bytes = size * depth * round_up(min(columns, NC), lanes) + CACHE_LINE if packs_b(p, rows) else 0
        return round_up(b_start + b_bytes, CACHE_LINE), b_start, row_pitch

    return tile_width, packs_a, packs_b, rows_shared, work_layout


@code_per_dtype
def work_bytes(real):
    """work_bytes(args, parts): the memory that each part packs into when `parts` parts share the Product at `args`."""
    *_, work_layout = planner(real)

    def work_bytes(args, parts):
        return work_layout(fetch(Product, args), parts)[0]

    return work_bytes


def work_bound(real, m, n, k):
    """Return the most that work_bytes can be for products up to these sizes, shared by any number of parts."""
    size, lanes, MR, _, KC, MC, NC = blocks_for(real)
    depth = rounded_up(min(k, KC), lanes)
    a_bytes = (min(m, MC) + MR) * (size * depth + CACHE_LINE) + 2 * CACHE_LINE
    b_bytes = size * depth * (min(n, NC) + lanes) + 2 * CACHE_LINE
    return rounded_up(a_bytes + b_bytes, CACHE_LINE)


def strip_bytes(real) -> int:
    """Return the memory in which each part keeps a strip of a C that is not stored."""
    size, _, MR, _, _, _, NC = blocks_for(real)
    return size * MR * NC


def strip_runner(real):
    """run_strip(p, s, left, out, b_panels, fills_b, ahead): the tiles along a strip of C, the Block s of at most MR rows.

    left: (address, row stride, column stride) of its rows of A. out: (address, row stride) of the strip.
    fills_b: B has yet to be packed into b_panels. ahead: number of the rows of A that follow and are going to be packed.
    """
    size, lanes, MR, _, KC, _, _ = blocks_for(real)
    run_tile, pack_b, prefetch_a, tile_width = tile(real), b_packer(real), a_prefetcher(real), planner(real)[0]

    @inlined
    def b_of_tile(p, s, j, n, b_panels, fills_b):
        """(address, row stride) of n columns of B, and the panel that the tile has to fill, or 0."""
        b, brs, panel = p.b + s.first * p.brs + (s.column + j) * p.bcs, p.brs, 0
        if b_panels != 0:
            packed, stride = b_panels + size * j * round_up(min(p.k, KC), lanes), size * round_up(n, lanes)
            if fills_b and p.bcs == size and s.rows == MR:
                panel = packed
            else:
                if fills_b:
                    pack_b(b, p.brs, p.bcs, s.kc, n, packed, stride)
                b, brs = packed, stride
        return b, brs, panel

    @inlined
    def run_strip(p, s, left, out, b_panels, fills_b, ahead):
        a, ars, acs = left
        c, crs = out
        a_ahead, accumulate = p.a + (s.row + MR) * p.ars + s.first * p.acs, p.accumulate != 0 or s.first > 0
        j = 0
        while j < s.columns:
            n = tile_width(s.columns - j)
            if ahead > 0:
                begin, end = j * s.kc // s.columns, (j + n) * s.kc // s.columns
                prefetch_a(a_ahead, p.ars, p.acs, ahead, begin, end)
            b, brs, panel = b_of_tile(p, s, j, n, b_panels, fills_b)
            following = p.c + s.row * p.crs + size * (s.column + j)
            run_tile(a, ars, acs, b, brs, panel, s.kc, c + size * j, crs, s.rows, n, accumulate, following, p.crs)
            j += n

    return run_strip


def block_runner(real):
    """run_block(p, b, memory, fills_a): the strips of the Block b of at most MC rows and NC columns, in the part's Memory.

    fills_a: A has yet to be packed into it.
    """
    size, _, MR, _, _, _, NC = blocks_for(real)
    run_strip, pack_a = strip_runner(real), a_packer(real)

    @inlined
    def run_block(p, b, memory, fills_a):
        for i in range(0, b.rows, MR):
            rows, row, ahead = min(MR, b.rows - i), b.row + i, 0
            s = Block(row=row, rows=rows, column=b.column, columns=b.columns, first=b.first, kc=b.kc)
            a, ars, acs = p.a + row * p.ars + b.first * p.acs, p.ars, p.acs
            if memory.a_panels != 0:
                panel = memory.a_panels + i * memory.row_pitch
                if fills_a:
                    pack_a(a, p.ars, p.acs, rows, b.kc, panel, memory.row_pitch)
                    ahead = min(MR, b.rows - i - rows)
                a, ars, acs = (panel, size, size * MR) if p.ars == size else (panel, memory.row_pitch, size)
            c, crs = p.c + row * p.crs + size * b.column, p.crs
            if memory.strip != 0:  # whole rows of C lie side by side, as in the matrix that `finish` may update
                c, crs = memory.strip, size * (b.columns if b.columns == p.n else NC)
            run_strip(p, s, (a, ars, acs), (c, crs), memory.b_panels, i == 0, ahead)
            if b.first + b.kc >= p.k and p.finish != 0:
                call(p.finish, (p.finish_args, c, crs, row, b.column, rows, b.columns))

    return run_block


@code_per_dtype
def product(real):
    """product(args, part, parts): compute part number `part` of `parts` of the Product at `args`."""
    size, _, MR, _, KC, MC, NC = blocks_for(real)
    _, packs_a, packs_b, rows_shared, work_layout = planner(real)
    line, run_block = CACHE_LINE // size, block_runner(real)

    @inner
    def memory_of(p, part, parts, rows, columns):
        _, b_start, row_pitch = work_layout(p, parts)
        start = p.work + part * p.work_pitch
        return Memory(
            a_panels=start if packs_a(p, columns) else 0,
            row_pitch=row_pitch,
            b_panels=start + b_start if packs_b(p, rows) else 0,
            strip=p.strips + part * size * MR * NC if p.strips != 0 else 0,
        )

    def product(args, part, parts):
        p = fetch(Product, args)
        if p.work_pitch < 0:  # the question is how it would be computed: gemm/path.py
            return call(read(p.work, np.int64), (p.work, args, parts))
        across = rows_shared(p, parts)
        down = parts // across
        top, rows = share(p.m, MR, part // down, across)
        left, columns = share(p.n, line, part % down, down)
        if rows <= 0 or columns <= 0:
            return 0
        memory = memory_of(p, part, parts, rows, columns)
        for first in range(0, max(p.k, 1), KC):
            for i in range(0, rows, MC):
                for j in range(0, columns, NC):
                    m, n, kc = min(MC, rows - i), min(NC, columns - j), min(KC, p.k - first)
                    b = Block(row=top + i, rows=m, column=left + j, columns=n, first=first, kc=kc)
                    run_block(p, b, memory, j == 0)
        return 0

    return product
