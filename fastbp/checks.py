"""Checks of what users hand in that is no array: numbers, flags, dicts."""

from __future__ import annotations

import ctypes
import math
import numbers
from typing import Any

import numpy as np


def real_number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """`value` as a Python float; TypeError if it is no real number, ValueError if it is not finite or out of bounds."""
    expected = _expected(at_least, above, below)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: got {value!r}, expected {expected}")
    try:
        number = float(value)
    except OverflowError:  # an int beyond float64
        number = math.inf
    if not _inside(number, at_least, above, below):
        raise ValueError(f"{name}: got {value!r}, expected {expected}")
    return number


def _expected(at_least: float | None, above: float | None, below: float | None) -> str:
    bounds = ((">=", at_least), (">", above), ("<", below))
    limits = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
    return f"a finite number {limits}".rstrip()


def _inside(number: float, at_least: float | None, above: float | None, below: float | None) -> bool:
    return (
        math.isfinite(number)
        and (at_least is None or number >= at_least)
        and (above is None or number > above)
        and (below is None or number < below)
    )


def check_held(
    name: str, value: float, dtype: Any, *,
    at_least: float | None = None, above: float | None = None, below: float | None = None,
) -> None:  # fmt: skip
    """ValueError for a `real_number` that `dtype` rounds to 0, or to what is out of bounds."""
    # C rounds at a tenth of the price of NumPy under np.errstate, and every step by hand asks
    rounded = ctypes.c_float(value).value if np.dtype(dtype) == np.float32 else float(value)
    if (rounded == 0 and value != 0) or not _inside(rounded, at_least, above, below):
        dtype, expected = np.dtype(dtype), _expected(at_least, above, below)
        raise ValueError(f"{name}: got {value!r}, which is {rounded:g} in {dtype}, expected {expected} in {dtype}")


def whole_number(name: str, value: Any, *, at_least: int) -> int:
    """`value` as a Python int; TypeError if it is no integer (2.0 is none), ValueError if it is below `at_least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: got {value!r}, expected an integer >= {at_least}")
    if value < at_least:
        raise ValueError(f"{name}: got {value!r}, expected an integer >= {at_least}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """`value` as it is; TypeError unless it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: got {value!r}, expected True or False")
    return value


def dictionary(name: str, value: Any) -> dict:
    """`value` as it is; TypeError unless it is a dict."""
    if not isinstance(value, dict):
        raise TypeError(f"{name}: got {value!r}, expected a dict")
    return value
