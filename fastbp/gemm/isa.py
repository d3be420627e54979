"""What numba compiles for -> the shape of the register tile and of the cache blocks: one table.

A tile has MR rows and NR = vectors * lanes columns; its accumulators fill the registers that the operands leave free.
KC, NC: the A panel (MR x KC) stays in L1, the B block (KC x NC) in half of L2. `fastbp/gemm/README.md` has the measurements.
"""

import functools
import platform
from typing import NamedTuple

from fastbp.compiler.llvm import has_fma, target_features


class Isa(NamedTuple):
    """One instruction set: bytes of a vector, rows of the tiles (ascending), vectors of a tile's row, bytes of KC."""

    name: str
    vector_bytes: int
    row_counts: tuple[int, ...]
    vectors: int
    kc_bytes: int
    free_masks: bool  # masked loads and stores cost no more than plain ones: a tile needs no unmasked twin
    masked_loads: bool  # otherwise LLVM makes a branch of each lane, and edges had better be packed, zero-padded
    fma: bool  # without it the tile multiplies and adds: llvm.fma would be a library call a lane


AVX512 = Isa("avx512", 64, (1, 2, 4, 8), 3, 2048, free_masks=True, masked_loads=True, fma=True)
AVX2 = Isa("avx2", 32, (1, 2, 4, 6), 2, 1024, free_masks=False, masked_loads=True, fma=True)
NEON = Isa("neon", 16, (1, 2, 4, 8), 3, 1024, free_masks=False, masked_loads=False, fma=True)
SSE2 = Isa("sse2", 16, (1, 2, 4), 2, 1024, free_masks=False, masked_loads=False, fma=False)
FMA = SSE2._replace(name="fma", fma=True)  # and nothing else that one may count on


@functools.cache
def target_isa() -> Isa:
    """Return the instruction set of the CPU that numba compiles for."""
    features = target_features()
    if platform.machine().lower() in ("arm64", "aarch64"):
        return NEON
    if {"avx512f", "avx512vl"} <= features:
        return AVX512
    if {"avx2", "fma"} <= features:
        return AVX2
    return FMA if has_fma() else SSE2


class Blocks(NamedTuple):
    """Sizes for one dtype, in elements (`size`: bytes of an element)."""

    size: int
    lanes: int
    MR: int
    NR: int
    KC: int
    MC: int
    NC: int


def blocks_for(real) -> Blocks:
    """Return the blocks for numba's float32 or float64."""
    isa, size = target_isa(), real.bitwidth // 8
    lanes, KC = isa.vector_bytes // size, isa.kc_bytes // size
    NR = isa.vectors * lanes
    MR = isa.row_counts[-1]
    return Blocks(size, lanes, MR, NR, KC, 1024 // MR * MR, 192 // NR * NR)
