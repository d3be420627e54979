"""Prediction of a few rows at the cost of one plain call from Python: for agents and services that ask row by row."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import types

from fastbp.compiler.arrays import describe
from fastbp.compiler.jit import python_function
from fastbp.compiler.llvm import call, fetch, on_stack, put
from fastbp.engine.infer import predict_slice
from fastbp.engine.slices import slice_of
from fastbp.engine.table import Network
from fastbp.engine.walk import has_raised


@functools.cache
def small_predictor(dtype: str, x_dtype: str) -> Callable[[int, np.ndarray], np.ndarray | None]:
    """Make predict_small(network, x), which returns the output of the Network of `dtype` at an address for x,
    two-dimensional and of x_dtype. It returns None where x has other columns than the network inputs, no rows, or more than
    its batch size; where a user's function raises something; and where the output is not finite, because `dtype` may not
    hold what x_dtype does."""
    real, may_overflow = getattr(types, dtype), dtype != x_dtype == "float64"

    def predict_small(network, x):
        t = fetch(Network, network)
        rows, columns = x.shape
        if columns != t.inputs or rows < 1 or rows > t.batch_size:
            return None
        out = np.empty((rows, t.outputs), real)
        s = slice_of(network, describe(x), y=0, weights=0, order=0, order_stride=0, rows=rows, out=describe(out))
        call(predict_slice(real), (on_stack(s), 0))
        if has_raised(network):
            put(network, Network, "raised", 0)
            return None
        if may_overflow:
            for y in out.flat:
                if not np.isfinite(y):
                    return None
        return out

    x_type = types.Array(getattr(types, x_dtype), 2, "A", readonly=True)  # any strides, and only read
    return python_function(predict_small, (types.int64, x_type), (dtype, x_dtype))
