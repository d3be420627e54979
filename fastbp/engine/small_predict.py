"""Prediction of a few rows at the cost of one plain call from Python: for agents and services that ask row by row."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import types

from fastbp.compiler.arguments import describe
from fastbp.compiler.jit import python_function
from fastbp.compiler.llvm import call, fetch, on_stack, write
from fastbp.engine.steps import Slice, predict_slice
from fastbp.engine.table import AT_RAISED, Network
from fastbp.engine.walk import has_raised


@functools.cache
def few_predictor(dtype: str, x_dtype: str) -> Callable[[int, np.ndarray], np.ndarray | None]:
    """predict_few(network, x): the output of the Network of `dtype` at an address for x, two-dimensional and of x_dtype;
    None where x has other columns than the network inputs, no rows, or more than its batch size, where a function of the
    user's raises something, and where the output is not finite because `dtype` may not hold what x_dtype does."""
    real, may_overflow = getattr(types, dtype), dtype != x_dtype == "float64"

    def predict_few(network, x):
        t = fetch(Network, network)
        rows, columns = x.shape
        if columns != t.inputs or rows < 1 or rows > t.batch_size:
            return None
        out = np.empty((rows, t.outputs), real)
        s = on_stack(Slice(network, describe(x), 0, 0, 0, 0, 0, rows, 0, describe(out), 0.0, 0.0, -1))
        call(predict_slice(real), (s, 0))
        if has_raised(network):
            write(network + AT_RAISED, 0)
            return None
        if may_overflow:
            for y in out.flat:
                if not np.isfinite(y):
                    return None
        return out

    x_type = types.Array(getattr(types, x_dtype), 2, "A", readonly=True)  # any strides, and only read
    return python_function(predict_few, (types.int64, x_type), (dtype, x_dtype))
