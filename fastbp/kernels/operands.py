"""The arrays that kernels return: the caller's `out`, or new ones."""

import numpy as np
from numba import types
from numba.extending import overload

from fastbp.compiler.jit import inner


def is_float_array(x) -> bool:
    """Return whether a numba type is that of arrays that kernels take."""
    return isinstance(x, types.Array) and x.dtype in (types.float32, types.float64) and x.ndim in (1, 2)


def is_none(x) -> bool:
    """Return whether a numba type, or a default value, is that of None."""
    return isinstance(x, types.NoneType | types.Omitted) or x is None


def allocator(shape_of):
    """output(out, like, ...): `out`, or where that is None a new array of the dtype of `like` and of shape
    shape_of(like, ...); `shape_of` is a function that numba can compile."""
    shape_of = inner(shape_of)

    def output(out, like, *sizes):
        raise TypeError("only for compiled code")

    @overload(output)
    def compiled_output(out, like, *sizes):
        if not is_none(out):
            return lambda out, like, *sizes: out
        if not is_float_array(like):
            return lambda out, like, *sizes: np.empty((0, 0))  # the checks will refuse `like`
        return lambda out, like, *sizes: np.empty(shape_of(like, *sizes), like.dtype)

    return output


output = allocator(lambda like, rows, columns: (rows, columns))
output_vector = allocator(lambda like, length: length)
output_like = allocator(lambda like: like.shape)
