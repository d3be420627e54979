"""A Product that is asked about: the grid, the tiles, what is packed; and nothing is computed."""

import math

import numpy as np
import pytest
from numba import types

from fastbp.gemm import driver
from fastbp.gemm.isa import blocks_for, target_isa
from fastbp.gemm.path import Path, tell, tile_extents


def ask(call_code, dtype, m, n, k, parts):
    a, b, c = np.ones((m, k), dtype), np.ones((k, n), dtype), np.full((m, n), 7, dtype)
    path = np.array(Path(tell.of(dtype).resolve(), *[0] * (len(Path._fields) - 1)), np.int64)
    operands = (a.ctypes.data, *a.strides, b.ctypes.data, *b.strides, c.ctypes.data, c.strides[0])
    product = dict.fromkeys(driver.Product._fields, 0)
    product.update(zip(driver.Product._fields, (*operands, m, n, k), strict=False))
    product.update(work=path.ctypes.data, work_pitch=-1)
    block = np.array(driver.Product(**product), np.int64)
    assert call_code(driver.product.of(dtype), block.ctypes.data, 0, parts) == 0
    assert (c == 7).all()
    return Path(*map(int, path))


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1, 1), (8, 48, 5), (33, 70, 600), (130, 200, 33)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parts_cover_the_product_and_tiles_cover_the_parts(call_code, dtype, size, parts):
    path, blocks = ask(call_code, dtype, *size, parts), blocks_for(getattr(types, dtype))
    assert (path.m, path.n, path.k) == size
    assert path.across * path.down == parts
    assert path.rows * path.across >= path.m
    assert path.columns * path.down >= path.n
    columns = math.ceil(path.n / blocks.lanes) * blocks.lanes
    assert path.m * columns <= path.cells <= math.ceil(path.m / blocks.MR) * blocks.MR * columns
    assert path.stores == 1


def test_what_is_packed(call_code):
    blocks = blocks_for(types.float32)
    assert ask(call_code, "float32", blocks.MR, blocks.NR, 8, 1)[4:6] == (0, 0)
    assert ask(call_code, "float32", 8 * blocks.MR + 1, blocks.NR, 8, 1)[4:6] == (0, 1)
    assert ask(call_code, "float32", blocks.MR, 2 * blocks.NR, 1024, 1)[4] == 1  # rows of A in one set of the cache


def test_the_smallest_tile_that_holds_the_edge():
    isa, blocks = target_isa(), blocks_for(types.float32)
    rows, columns = tile_extents(types.float32)
    assert len(rows) == blocks.MR + 1
    assert len(columns) == blocks.NR + 1
    assert sorted(set(rows)) == [0, *isa.row_counts]
    assert all(columns[n] == math.ceil(n / blocks.lanes) * blocks.lanes for n in range(blocks.NR + 1))
