"""Checks of what users hand in that is no array (numbers, flags, dicts, functions), and of what they have installed."""

from __future__ import annotations

import ctypes
import importlib
import math
import numbers
from collections.abc import Callable, Sequence
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
    """Return `value` as a Python float; TypeError if it is no real number, ValueError if it is not finite or out of bounds."""
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
    """Say which numbers are within the bounds."""
    bounds = ((">=", at_least), (">", above), ("<", below))
    limits = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
    return f"a finite number {limits}".rstrip()


def _inside(number: float, at_least: float | None, above: float | None, below: float | None) -> bool:
    """Return whether the number is finite and within the bounds."""
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
    """ValueError for a `real_number` that `dtype` rounds to 0, or to a number out of bounds."""
    # C rounds in a tenth of the time of NumPy under np.errstate, and every step by hand asks
    rounded = ctypes.c_float(value).value if np.dtype(dtype) == np.float32 else float(value)
    if (rounded == 0 and value != 0) or not _inside(rounded, at_least, above, below):
        dtype, expected = np.dtype(dtype), _expected(at_least, above, below)
        raise ValueError(f"{name}: got {value!r}, which is {rounded:g} in {dtype}, expected {expected} in {dtype}")


def whole_number(name: str, value: Any, *, at_least: int) -> int:
    """Return `value` as a Python int; TypeError if it is no integer (2.0 is none), ValueError if it is below `at_least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: got {value!r}, expected an integer >= {at_least}")
    if value < at_least:
        raise ValueError(f"{name}: got {value!r}, expected an integer >= {at_least}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """Return `value`; TypeError unless it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: got {value!r}, expected True or False")
    return value


def dictionary(name: str, value: Any) -> dict:
    """Return `value`; TypeError unless it is a dict."""
    if not isinstance(value, dict):
        raise TypeError(f"{name}: got {value!r}, expected a dict")
    return value


def one_each(name: str, value: Any, count: int, each: str, convert: Callable[[Any], Any]) -> list[Any]:
    """Return `count` converted values, from a list of them or from one for all; `each` says in errors what each is for."""
    if not isinstance(value, list | tuple | np.ndarray):
        return [convert(value)] * count
    if len(value) != count:
        raise ValueError(f"{name}: got {len(value)} entries, expected one value or {count}, one for each {each}")
    return [convert(entry) for entry in value]


def njit_function(name: str, value: Any) -> Callable:
    """Return `value`; TypeError unless it is a function compiled with @njit."""
    if not hasattr(value, "py_func"):
        raise TypeError(f"{name}: got {value!r}, expected a function compiled with @njit")
    return value


def same_derivative(name: str, given: np.ndarray, measured: np.ndarray, function: str, places: Sequence[str]) -> None:
    """ValueError if `given` derivatives differ from those measured by central differences of `function` by more than 1e-4.

    The error is relative where the derivative is larger than 1. places: in words, where each element was taken.
    """
    error = np.abs(given - measured) / np.maximum(1.0, np.abs(measured))
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    if not error[worst] <= 1e-4:
        raise ValueError(
            f"{name}: got {given[worst]:.6g} {places[worst]}, expected {measured[worst]:.6g}, the central difference of "
            f"{function}"
        )


def require(module: str, needs: str, extra: str) -> Any:
    """Import and return a module of an optional library; where it is missing, raise `missing(needs, extra)`."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing(needs, extra) from error


def missing(needs: str, extra: str) -> ImportError:
    """Return the error that says what needs which library, and how to install the extra of fastbp that has it."""
    return ImportError(f"{needs}: pip install 'fastbp[{extra}]'")
