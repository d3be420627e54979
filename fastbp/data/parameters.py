"""Numbers that users give for parameters: real, finite, and held by the network's dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp.data.arrays import any_array
from fastbp.data.convert import first_overflow


def finite_numbers(name: str, values: Any, shape: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
    """`values` as float64; TypeError or ValueError unless they are finite real numbers of that shape, which `dtype` holds."""
    values = any_array(name, values, "real numbers")
    if values.dtype.kind not in "iuf":
        raise TypeError(f"{name}: got dtype {values.dtype}, expected real numbers")
    if values.shape != shape:
        raise ValueError(f"{name}: got shape {values.shape}, expected {shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: got NaN or infinity, expected finite numbers")
    if found := first_overflow(name, values, dtype):
        raise ValueError(found)
    return values.astype(np.float64)


def copy_in(name: str, target: np.ndarray, values: Any) -> None:
    """Copy real, finite numbers of its shape into `target`; whose own view comes from `net.gradients *= 2` and the like."""
    same = isinstance(values, np.ndarray) and values.__array_interface__ == target.__array_interface__
    if not same:
        target[...] = finite_numbers(name, values, target.shape, target.dtype)
