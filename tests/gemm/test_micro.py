"""The register tile alone: every shape, edge and way of feeding it, against scalar chains of multiply-adds."""

import functools

import numpy as np
import pytest
from numba import njit, types
from reference import LAYOUTS, numbers, product

from fastbp.gemm.isa import blocks_for, target_isa
from fastbp.gemm.micro import shapes, tile

DTYPES = ("float32", "float64")
ROWS = range(1, blocks_for(types.float32).MR + 1)


@functools.cache
def compiled_tile(dtype):
    run = tile(getattr(types, dtype))

    @njit
    def call(x):
        run(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9], x[10], x[11], x[12], x[13])

    return call


def run_tile(a, b, c, n=None, accumulate=False, panel=None):
    """c = or += a @ b by the tile; b may be wider than n and is read in place."""
    m, kc = a.shape
    where_panel = 0 if panel is None else panel.ctypes.data
    n = c.shape[1] if n is None else n
    left, right = [a.ctypes.data, *a.strides], [b.ctypes.data, b.strides[0]]
    result = [c.ctypes.data, c.strides[0]]
    compiled_tile(str(a.dtype))(
        np.array([*left, *right, where_panel, kc, *result, m, n, accumulate, *result], np.int64)
    )


def widths(dtype):
    return range(1, blocks_for(getattr(types, dtype)).NR + 1)


def padded(b):
    """b in a buffer that is whole vectors wide: without masked loads the tile reads so far."""
    room = np.full((len(b), b.shape[1] + 64), np.nan, b.dtype)
    room[:, : b.shape[1]] = b
    return room[:, : b.shape[1]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_identity_gives_the_rows_of_b(dtype, framed):
    NR = widths(dtype)[-1]
    b = numbers((ROWS[-1], NR), dtype)
    for m in ROWS:
        c = framed((m, NR), dtype)
        run_tile(np.eye(m, dtype=dtype), b, c)
        np.testing.assert_array_equal(c, b[:m])


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("kc", [0, 1, 2, 7])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_size_is_the_scalar_chain_to_the_bit(dtype, kc, accumulate, framed):
    """C is full of NaN where it is overwritten: it must not be read."""
    for m in ROWS:
        for n in widths(dtype):
            a, b, c = numbers((m, kc), dtype), padded(numbers((kc, n), dtype, 2)), framed((m, n), dtype)
            start = numbers((m, n), dtype, 3) if accumulate else None
            if accumulate:
                c[...] = start
            run_tile(a, b, c, accumulate=accumulate)
            assert c.tobytes() == product(a, b, start).tobytes(), (m, n)


@pytest.mark.parametrize("dtype", DTYPES)
def test_more_columns_than_the_tile_is_wide_count_as_its_width(dtype, framed):
    NR = widths(dtype)[-1]
    a, b, c = numbers((3, 5), dtype), numbers((5, NR + 1), dtype), framed((3, NR + 1), dtype)
    run_tile(a, b, c, n=NR + 1)
    assert c[:, :NR].tobytes() == product(a, b)[:, :NR].tobytes()
    assert np.isnan(c[:, NR]).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_has_any_strides(dtype, layout, framed):
    m, n = ROWS[-1] - 1, widths(dtype)[-1]
    a, b, c = numbers((m, 6), dtype), numbers((6, n), dtype, 2), framed((m, n), dtype)
    run_tile(LAYOUTS[layout](a), b, c)
    assert c.tobytes() == product(a, b).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinities_and_nan_outside_the_columns_do_not_matter(dtype, framed):
    for n in widths(dtype):
        wide = np.full((4, n + 64), np.inf, dtype)
        wide[:, n:] = np.nan
        wide[:, :n] = numbers((4, n), dtype)
        a, c = numbers((2, 4), dtype, 2), framed((2, n), dtype)
        run_tile(a, wide[:, :n], c)
        assert c.tobytes() == product(a, wide[:, :n]).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_leaves_b_in_a_panel_padded_with_zeros_which_it_can_read_again(dtype, framed):
    MR, lanes = ROWS[-1], blocks_for(getattr(types, dtype)).lanes
    for n in widths(dtype):
        a, b = numbers((MR, 5), dtype), padded(numbers((5, n), dtype, 2))
        columns = -(-n // lanes) * lanes
        panel, c, again = np.full((5 + 1, columns), np.nan, dtype), framed((MR, n), dtype), framed((MR, n), dtype)
        run_tile(a, b, c, panel=panel)
        np.testing.assert_array_equal(panel[:5, :n], b)
        assert (panel[:5, n:] == 0).all()
        assert np.isnan(panel[5]).all()
        run_tile(a, panel, again, n=n)
        assert c.tobytes() == again.tobytes() == product(a, b).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_in_two_blocks_is_the_sum_in_one(dtype, framed):
    m, n = ROWS[-1], widths(dtype)[-1]
    a, b = numbers((m, 9), dtype), numbers((9, n), dtype, 2)
    whole, halves = framed((m, n), dtype), framed((m, n), dtype)
    run_tile(a, b, whole)
    run_tile(a[:, :4], b[:4], halves)
    run_tile(a[:, 4:], b[4:], halves, accumulate=True)
    assert whole.tobytes() == halves.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_size_has_a_shape_that_covers_it(dtype):
    isa, lanes = target_isa(), blocks_for(getattr(types, dtype)).lanes
    for m in ROWS:
        for n in widths(dtype):
            plain = (s for s in shapes(isa, lanes) if not s.fills_panel and n > s.above_n and m > s.above_m)
            chosen = next(plain)
            assert chosen.rows >= m
            assert chosen.vectors * lanes >= n
            assert chosen.masked or chosen.vectors * lanes == n
