"""Packing: where each element goes, zero padding, and nothing beyond."""

import functools

import numpy as np
import pytest
from numba import njit, types
from reference import LAYOUTS, numbers

from fastbp.gemm import pack
from fastbp.gemm.isa import blocks_for
from fastbp.parallel.parts import rounded_up

DTYPES = ("float32", "float64")
GUARD = 77.0


def blocks(dtype):
    return blocks_for(getattr(types, dtype))


@functools.cache
def packers(dtype):
    real = getattr(types, dtype)
    inner_a, inner_b = pack.a_packer(real), pack.b_packer(real)

    @njit
    def pack_a(a, ars, acs, m, kc, panel, pitch):
        inner_a(a, ars, acs, m, kc, panel, pitch)

    @njit
    def pack_b(b, brs, bcs, kc, n, panel, stride):
        inner_b(b, brs, bcs, kc, n, panel, stride)

    return pack_a, pack_b


@pytest.mark.parametrize("kc", [0, 1, 7, 8, 33])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_a_go_into_rows_of_the_panel_padded_with_zeros(dtype, kc):
    MR, lanes = blocks(dtype).MR, blocks(dtype).lanes
    depth = rounded_up(kc, lanes)
    for m in range(1, MR + 1):
        a, panel = numbers((m, kc + 3), dtype)[:, :kc], np.full((MR, depth + 2), GUARD, dtype)
        packers(dtype)[0](a.ctypes.data, *a.strides, m, kc, panel.ctypes.data, panel.strides[0])
        np.testing.assert_array_equal(panel[:m, :kc], a)
        assert (panel[:m, kc:depth] == 0).all()
        assert (panel[m:] == GUARD).all()
        assert (panel[:, depth:] == GUARD).all()


@pytest.mark.parametrize("kc", [0, 1, 7, 33])
@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_of_a_go_into_columns_of_the_panel_padded_with_zeros(dtype, kc):
    """Up to 64 bytes beyond the last column are written."""
    MR, size = blocks(dtype).MR, blocks(dtype).size
    for m in range(1, MR + 1):
        a, panel = np.asfortranarray(numbers((m, kc), dtype)), np.full(kc * MR + 128 // size, GUARD, dtype)
        packers(dtype)[0](a.ctypes.data, size, size * m, m, kc, panel.ctypes.data, 0)
        columns = panel[: kc * MR].reshape(kc, MR)
        np.testing.assert_array_equal(columns[:, :m], a.T)
        assert (columns[:, m:] == 0).all()
        assert (panel[kc * MR + 64 // size :] == GUARD).all()


@pytest.mark.parametrize("layout", ["C", "slice", "Fortran", "transposed view"])
@pytest.mark.parametrize("kc", [0, 1, 7, 17, 32])
@pytest.mark.parametrize("dtype", DTYPES)
def test_b_goes_into_whole_vectors_of_its_rows(dtype, kc, layout):
    """From columns, whole square blocks are written: more rows than kc, up to whole vectors."""
    NR, lanes = blocks(dtype).NR, blocks(dtype).lanes
    for n in range(1, NR + 1):
        b = LAYOUTS[layout](numbers((kc, n), dtype))
        columns, depth = rounded_up(n, lanes), rounded_up(kc, lanes)
        panel = np.full((depth + 1, columns), GUARD, dtype)
        if b.size:
            packers(dtype)[1](b.ctypes.data, *b.strides, kc, n, panel.ctypes.data, panel.strides[0])
        np.testing.assert_array_equal(panel[:kc, :n], b)
        if layout in ("C", "slice"):
            assert (panel[:kc, n:] == 0).all()
        assert (panel[depth:] == GUARD).all()
