"""The update of a block of a matrix, as products call it on their strips: the bits of the update of flat vectors."""

import numpy as np
import pytest
from numba import njit
from reference import numbers

from fastbp.compiler.llvm import call, on_stack
from fastbp.kernels.update_rules import CONSTANTS_BYTES, RULES, Update, Updated, rule_constants, update, update_pass

DTYPES = ("float32", "float64")
NUMBERS = (0.05, 0.9, 0.99, 1e-3, 0.0)  # the learning rate and four more, good for any rule
DECAYS = {"plain": (0.0, np.inf), "weight decay": (0.1, np.inf), "clipped": (0.0, 0.2), "both": (0.1, 0.2)}
STEP = 3
MATRIX = (11, 75)  # rows and columns of which blocks are updated


@njit
def on_blocks(pass_code, constants_code, constants, addresses, stride, numbers, decay, clip, blocks, gradients, pitch):
    """Each block (row, column, rows, columns) in turn, its gradient as a strip of that pitch at `gradients`."""
    p, m, v = addresses
    rate, h0, h1, h2, h3 = numbers
    call(constants_code, (on_stack(Update(0, 0, 0, 0, 0, rate, h0, h1, h2, h3, decay, 1.0, clip, STEP)), constants))
    args = on_stack(Updated(p, m, v, stride, constants, decay, 1.0, clip))
    for i in range(len(blocks)):
        row, column, rows, columns = blocks[i]
        call(pass_code, (args, gradients[i], pitch[i], row, column, rows, columns))


@njit
def flat(code, addresses, gradients, size, numbers, decay, clip, parts):
    p, m, v = addresses
    rate, h0, h1, h2, h3 = numbers
    args = on_stack(Update(p, gradients, m, v, size, rate, h0, h1, h2, h3, decay, 1.0, clip, STEP))
    for part in range(parts):
        call(code, (args, part, parts))


def cut(rows, columns, high, wide):
    """The blocks of a matrix, `high` rows and `wide` columns each, in an order that is not that of memory."""
    found = [
        (i, j, min(high, rows - i), min(wide, columns - j))
        for j in range(0, columns, wide)
        for i in range(0, rows, high)
    ]
    return np.array(found[::-1], np.int64)


def expected(rule, dtype, vectors, gradient, decay, clip):
    """The flat update of the whole matrix."""
    p, m, v = (x.flatten() for x in vectors)
    addresses = (p.ctypes.data, m.ctypes.data, v.ctypes.data)
    g = np.ascontiguousarray(gradient)
    code = update.of(dtype, rule).resolve()
    flat(code, addresses, g.ctypes.data, p.size, NUMBERS, decay, clip, 3)
    return [x.reshape(MATRIX) for x in (p, m, v)]


@pytest.mark.parametrize(
    "high_wide_pitch", [(8, 75, 75), (8, 75, 192), (6, 32, 192), (1, 1, 7), (3, 48, 48), (11, 17, 40)]
)
@pytest.mark.parametrize("apart", [0, 5], ids=["dense rows", "rows apart"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_blocks_of_any_pitch_and_place_get_the_bits_of_the_flat_update(rule, dtype, apart, high_wide_pitch, framed):
    high, wide, pitch = high_wide_pitch
    (rows, columns), size = MATRIX, np.dtype(dtype).itemsize
    for decay, clip in DECAYS.values():
        vectors = [numbers(MATRIX, np.dtype(dtype), seed=s) ** 2 for s in (1, 2, 3)]
        gradient = numbers(MATRIX, np.dtype(dtype), seed=4)
        wanted = expected(rule, dtype, vectors, gradient, decay, clip)
        # p, m and v in the middle of canaries, and more of them between their rows
        placed = [framed((rows, columns + apart), dtype) for _ in vectors]
        if apart == 0:  # rows that touch each other: what `framed` gives has margins
            placed = [framed((rows * columns,), dtype).reshape(MATRIX) for _ in vectors]
        for array, values in zip(placed, vectors, strict=True):
            array[:, columns:] = -7.0
            array[:, :columns] = values
        blocks = cut(rows, columns, high, wide)
        strips = [np.full((n, pitch), np.nan, dtype) for _, _, n, _ in blocks]
        for strip, (i, j, n, k) in zip(strips, blocks, strict=True):
            strip[:, :k] = gradient[i : i + n, j : j + k]
        places = np.array([strip.ctypes.data for strip in strips])
        pitches = np.full(len(blocks), pitch * size)
        constants = np.full(CONSTANTS_BYTES // 8 + 2, 77.0)
        codes = (update_pass.of(dtype, rule).resolve(), rule_constants.of(dtype, rule).resolve())
        addresses = tuple(x.ctypes.data for x in placed)
        on_blocks(
            *codes,
            constants[1:].ctypes.data,
            addresses,
            placed[0].strides[0],
            NUMBERS,
            decay,
            clip,
            blocks,
            places,
            pitches,
        )
        for got, want, name in zip(placed, wanted, "pmv", strict=True):
            assert got[:, :columns].tobytes() == want.tobytes(), name
            assert (got[:, columns:] == -7.0).all()
        assert constants[0] == constants[-1] == 77.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_a_row_of_rows_that_are_not_there_is_left_alone(rule, dtype, framed):
    p = framed((4, 5), dtype)
    p[:] = 1.0
    codes = (update_pass.of(dtype, rule).resolve(), rule_constants.of(dtype, rule).resolve())
    constants, g = np.zeros(CONSTANTS_BYTES // 8), np.ones((4, 5), dtype)
    blocks = np.array([(0, 0, 0, 5), (2, 3, 2, 0)], np.int64)
    places, pitches = np.array([g.ctypes.data] * 2), np.array([g.strides[0]] * 2)
    on_blocks(
        *codes, constants.ctypes.data, (p.ctypes.data,) * 3, p.strides[0], NUMBERS, 0.1, np.inf, blocks, places, pitches
    )
    assert (p == 1.0).all()
