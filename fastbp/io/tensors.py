"""Makes NumPy arrays of float32 or float64 of any library's tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp.data.arrays import as_numpy

WIDENED = ("float16", "bfloat16")


def as_float_array(name: str, tensor: Any) -> np.ndarray:
    """Return `tensor` as float32 or float64.

    float16 and bfloat16 become float32, which has all their numbers, longdouble float64. Taken are NumPy arrays, PyTorch's
    tensors on any device, and what has `__array__` or `__dlpack__`. TypeError, with the name, for anything else and for
    integers (of quantized weights, say) or complex numbers.
    """
    try:
        array = _as_array(tensor)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise TypeError(f"{name}: got {_described(tensor)} that NumPy cannot hold: {error}") from error
    if array.dtype.name in WIDENED:
        return array.astype(np.float32)
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: got {_described(tensor)} of {array.dtype}, expected an array of floats")
    return array.astype(np.float32 if array.dtype.itemsize == 4 else np.float64, copy=False)


def _as_array(tensor: Any) -> np.ndarray:
    if hasattr(tensor, "detach"):  # PyTorch's
        tensor = tensor.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":  # NumPy has none
            tensor = tensor.float()
        return tensor.numpy()
    return as_numpy(tensor)


def _described(tensor: Any) -> str:
    return f"a {type(tensor).__name__}"
