"""A product in parts: the same bits however it is split, in its own memory alone, finished once."""

import numpy as np
import pytest
from numba import cfunc, types
from reference import numbers, product

from fastbp.compiler import llvm
from fastbp.gemm import driver
from fastbp.gemm.isa import blocks_for

DTYPES = ("float32", "float64")
GUARD = 77
MR, NR, KC = (getattr(blocks_for(types.float32), name) for name in ("MR", "NR", "KC"))


class Call:
    """c = or += a @ b, by the code that the kernels call; the memory it packs into is watched."""

    def __init__(self, call_code, a, b, c, accumulate=False, finish=0, finish_args=0):
        self.call_code, self.dtype, self.operands = call_code, str(a.dtype), (a, b, c)
        left, right = (a.ctypes.data, *a.strides), (b.ctypes.data, *b.strides)
        sizes = (len(a), b.shape[1], a.shape[1])
        self.result = c
        self.product = [*left, *right, c.ctypes.data, c.strides[0], *sizes, accumulate, finish, finish_args]

    def run(self, parts, pitch=0, across=0, strips=0):
        """Compute all parts; returns how many bytes each may pack into."""
        block = np.array([*self.product, 0, 0, across, strips], np.int64)
        needed = self.call_code(driver.work_bytes.of(self.dtype), block.ctypes.data, parts)
        pitch = needed + pitch
        room = np.full(parts * pitch + 64 + 2**17, GUARD, np.uint8)
        start = -room.ctypes.data % 64
        block[-4:-2] = room.ctypes.data + start, pitch
        for part in range(parts):
            assert self.call_code(driver.product.of(self.dtype), block.ctypes.data, part, parts) == 0
        outside = np.ones(len(room), bool)
        for part in range(parts):
            outside[start + part * pitch : start + part * pitch + needed] = False
        assert (room[outside] == GUARD).all(), "a part packed outside its memory"
        return needed


PLACES = {"C": np.ascontiguousarray, "Fortran": np.asfortranarray}

SIZES = [
    *[(m, NR + 1, 5) for m in (0, 1, MR - 1, MR, MR + 1, 2 * MR + 1)],
    *[(MR + 1, n, 5) for n in (0, 1, NR - 1, NR, 2 * NR + 1)],
    *[(MR + 1, NR + 1, k) for k in (0, 1, KC - 1, KC, KC + 1, 2 * KC + 3)],
    (9 * MR, 17, 3),  # packs B
    (17, 257, 40),  # packs A
    (4, 129, 1024),  # rows of A in one set of the cache
    (130, 200, 33),
]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_number_of_parts_gives_the_scalar_chains_and_packs_only_inside_its_memory(call_code, framed, dtype, size):
    m, n, k = size
    a, b, start = numbers((m, k), dtype), numbers((k, n), dtype, 2), numbers((m, n), dtype, 3)
    wanted, added = product(a, b).tobytes(), product(a, b, start).tobytes()
    for place_a, place_b in (("C", "C"), ("Fortran", "C"), ("C", "Fortran"), ("Fortran", "Fortran")):
        left, right = PLACES[place_a](a), PLACES[place_b](b)
        for parts in (1, 2, 3, 4, 7):
            c = framed((m, n), dtype)
            Call(call_code, left, right, c).run(parts)
            assert c.tobytes() == wanted, (place_a, place_b, parts)
            c[...] = start
            Call(call_code, left, right, c, accumulate=True).run(parts, pitch=192, across=parts)
            assert c.tobytes() == added, (place_a, place_b, parts)


def test_edge_columns_are_packed_only_where_there_is_memory_for_them_without_masked_loads(run_python):
    """There B is packed where a part's columns are no whole vectors; memory for it is sized by another part."""
    code = f"""
        import sys
        import pytest
        chosen = ["-k", "any_number_of_parts and float32"]
        sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", {__file__!r}, *chosen]))
    """
    run_python(code, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")


@cfunc(types.int64(*[types.int64] * 7))
def add_one_to_each(args, c, crs, row, column, rows, columns):
    """Adds 1 to the elements of the block, and to the counts of what lies at their row and column."""
    counts, stride = llvm.read(args, types.int64), llvm.read(args + 8, types.int64)
    for i in range(rows):
        for j in range(columns):
            place = c + i * crs + 4 * j
            llvm.write(place, llvm.read(place, types.float32) + types.float32(1))
            count = counts + (row + i) * stride + 8 * (column + j)
            llvm.write(count, llvm.read(count, types.int64) + 1)
    return 0


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_each_element_is_finished_once_after_its_sum(call_code, framed, size):
    m, n, k = size
    a, b = numbers((m, k), "float32"), numbers((k, n), "float32", 2)
    for parts in (1, 2, 3, 7):
        c, counts = framed((m, n), "float32"), np.zeros((m, n), np.int64)
        args = np.array([counts.ctypes.data, 8 * n], np.int64)
        Call(call_code, a, b, c, finish=add_one_to_each.address, finish_args=args.ctypes.data).run(parts)
        assert (counts == 1).all()
        assert c.tobytes() == (product(a, b) + np.float32(1)).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_work_bound_bounds_what_products_up_to_a_size_need(call_code, dtype):
    real, x, c = getattr(types, dtype), np.zeros(1, dtype), np.zeros(1, dtype)
    size = x.itemsize
    for m, n, k in SIZES:
        bound = driver.work_bound(real, m, n, k)
        for strides in ((size * k, size), (size, size * m)):
            block = np.array([x.ctypes.data, *strides, x.ctypes.data, 0, 0, c.ctypes.data, 0, m, n, k, 0, 0, 0, 0, 0])
            for brs, bcs in ((size * n, size), (size, size * k)):
                block[4:6] = brs, bcs
                for parts in (1, 2, 3, 4, 7):
                    assert call_code(driver.work_bytes.of(dtype), block.ctypes.data, parts) <= bound


def test_twice_in_a_row_gives_the_same_bits(call_code, framed):
    a, b = numbers((50, 300), "float64"), numbers((300, 70), "float64", 2)
    results = [framed((50, 70), "float64") for _ in range(2)]
    for c in results:
        Call(call_code, a, b, c).run(2)
    assert results[0].tobytes() == results[1].tobytes()


@cfunc(types.int64(*[types.int64] * 7))
def copy_out(args, c, crs, row, column, rows, columns):
    """Copies the block to its place in the matrix of float32 whose address and stride lie at args."""
    target, stride = llvm.read(args, types.int64), llvm.read(args + 8, types.int64)
    for i in range(rows):
        for j in range(columns):
            place = target + (row + i) * stride + 4 * (column + j)
            llvm.write(place, llvm.read(c + i * crs + 4 * j, types.float32))
    return 0


@pytest.mark.parametrize("size", [size for size in SIZES if size[2] <= KC], ids=str)
def test_a_product_that_is_not_stored_hands_over_every_strip(call_code, framed, size):
    m, n, k = size
    a, b = numbers((m, k), np.float32), numbers((k, n), np.float32, 2)
    for parts in (1, 2, 3, 4):
        untouched, copied = framed((m, n), np.float32), np.full((m, n), np.nan, np.float32)
        untouched[...] = 7
        where = np.array([copied.ctypes.data, copied.strides[0]], np.int64)
        strips = np.zeros(parts * driver.strip_bytes(types.float32), np.uint8)
        call = Call(
            call_code, np.asfortranarray(a), b, untouched, finish=copy_out.address, finish_args=where.ctypes.data
        )
        call.run(parts, strips=strips.ctypes.data)
        assert copied.tobytes() == product(a, b).tobytes()
        assert (untouched == 7).all()
