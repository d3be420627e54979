"""Work on matrices of any strides that wants its rows contiguous: done on them where they lie so, elsewhere on copies."""

import functools

import numpy as np
from numba.cpython.unsafe.tuple import tuple_setitem

from fastbp.compiler.arrays import NOTHING, matrix_like
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import address_of, read, write


@functools.cache  # compiled once for all that use it
def copier(real):
    """copy(target, trs, tcs, source, srs, scs, rows, columns): element by element, any strides in bytes."""

    @inner
    def copy(target, trs, tcs, source, srs, scs, rows, columns):
        for i in range(rows):
            for j in range(columns):
                write(target + i * trs + j * tcs, read(source + i * srs + j * scs, real))

    return copy


@inner
def has_rows(x, size):
    """Return whether the rows of x are contiguous."""
    return x.kind == NOTHING or x.column_stride == size or x.columns <= 1


@inner
def bytes_of_rows(x, size):
    """Return the size of a copy of x with contiguous rows; 0 where it needs none."""
    return 0 if has_rows(x, size) else size * x.rows * x.columns


def on_rows(real, body, inputs, outputs):
    """run(arrays, *others): body(rows, *others), `rows` being the matrices in the tuple `arrays`, or copies of them, with
    contiguous rows. The first `inputs` of them are read, the last `outputs` are written."""
    size, copy = real.bitwidth // 8, copier(real)

    @inner
    def copy_matrix(target, source):
        target_strides, source_strides = (
            (target.row_stride, target.column_stride),
            (source.row_stride, source.column_stride),
        )
        copy(target.address, *target_strides, source.address, *source_strides, target.rows, target.columns)

    @inner
    def on_copies(needed, arrays, *others):
        memory, rows = np.empty(needed, np.uint8), arrays
        place = address_of(memory)
        for i in range(len(arrays)):
            x = arrays[i]
            if not has_rows(x, size):
                rows = tuple_setitem(rows, i, matrix_like(x, place, x.rows, x.columns, size * x.columns, size))
                place += bytes_of_rows(x, size)
                if i < inputs:
                    copy_matrix(rows[i], x)
        body(rows, *others)
        for i in range(len(arrays) - outputs, len(arrays)):
            if not has_rows(arrays[i], size):
                copy_matrix(arrays[i], rows[i])
        memory[0] = 0  # its address does not keep it alive

    @inner
    def run(arrays, *others):
        needed = 0
        for x in arrays:
            needed += bytes_of_rows(x, size)
        if needed == 0:
            body(arrays, *others)
        else:
            on_copies(needed, arrays, *others)

    return run
