"""The sentence with which public functions refuse a Python object that compiled code cannot be given, in place of numba's
text."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core.errors import TypingError
from numba.np.numpy_support import from_dtype

PASSED_ON = (np.ndarray, np.generic, bool, int, float, complex, str, tuple, type(None))  # the checks know what to say
NUMBERS = ("activation", "learning_rate", "norm", "step", "value")  # and arguments with a number as their default
OF_ANY_KIND = ("order", "x", "y")
TRAINING = "what net.training(...) returns"


def refuse(f: Callable, arguments: tuple, keywords: dict[str, Any]) -> None:
    """Raise TypeError for the first argument of a call of `f` that compiled code cannot be given."""
    signature = inspect.signature(f)
    for name, x in signature.bind(*arguments, **keywords).arguments.items():
        if name == "training":
            if "network" not in getattr(x, "_fields", ()):
                raise TypeError(f"training: got {type(x).__name__}, expected {TRAINING}")
        elif found := stranger(x):
            raise TypeError(f"{name}: got {found}, expected {expected(name, x, signature.parameters[name].default)}")


def stranger(x: Any) -> str:
    """Return a name for x if compiled code cannot be given it, else an empty string."""
    if isinstance(x, np.ma.MaskedArray):
        return "a masked array"
    if isinstance(x, np.ndarray | np.generic) and not is_known(x.dtype):
        return f"dtype {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
    if isinstance(x, tuple):
        return "tuple" if any(map(stranger, x)) else ""
    if isinstance(x, int) and not -(2**63) <= x < 2**63:
        return "an integer of more than 64 bits"
    return "" if isinstance(x, PASSED_ON) else type(x).__name__


def is_known(dtype: np.dtype) -> bool:
    """Return whether compiled code can be given arrays of it: none of longdouble, float16, objects and foreign byte orders."""
    try:
        from_dtype(dtype)
    except (NotImplementedError, TypingError):
        return False
    return dtype.isnative and dtype.kind != "O" and dtype != np.float16


def expected(name: str, x: Any, default: Any) -> str:
    """Return what an argument should have been."""
    if name in NUMBERS or isinstance(default, float | bool):
        return "a number"
    if isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray):
        return "float32 or float64"
    return "a NumPy array" if name in OF_ANY_KIND else "a NumPy array of float32 or float64"
