"""What every other library's network is read into: dense layers with their parameters, and dropout between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastbp.layers.dense import Dense
from fastbp.layers.dropout import Dropout


class Linear(NamedTuple):
    """A dense layer as another library has it: `name` is for messages, weight (m, n), bias (m,) or None."""

    name: str
    weight: np.ndarray
    bias: np.ndarray | None
    activation: Any


Part = Linear | Dropout


def assemble(cls: Any, parts: Sequence[Part], dtype: Any, seed: int | None) -> Any:
    """Return a Sequential of copies of the parts; without a dtype it is float64 if any parameter is, else float32.

    ValueError, with the name, for shapes that do not chain and for numbers that are not finite in that dtype.
    """
    linear = [part for part in parts if isinstance(part, Linear)]
    check_shapes(linear)
    if dtype is None:
        given = [array for part in linear for array in (part.weight, part.bias) if array is not None]
        dtype = "float64" if any(array.dtype == np.float64 for array in given) else "float32"
    net = cls(*map(layer_of, parts), dtype=dtype, seed=seed)
    for layer, part in zip(net.layers, parts, strict=True):
        if isinstance(part, Linear):
            fill(layer.weight, part.weight, f"{part.name}.weight")
            if part.bias is not None:
                fill(layer.bias, part.bias, f"{part.name}.bias")
    return net


def layer_of(part: Part) -> Dense | Dropout:
    """Return the layer, its parameters still zeros."""
    if isinstance(part, Dropout):
        return part
    outputs, inputs = part.weight.shape
    return Dense(inputs, outputs, part.activation, bias=part.bias is not None, weight_init="zeros")


def check_shapes(linear: Sequence[Linear]) -> None:
    """ValueError unless matrices chain, and a bias has an entry for each row of its matrix."""
    before: Linear | None = None
    for part in linear:
        shape = part.weight.shape
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"{part.name}.weight: got shape {shape}, expected (outputs, inputs) of a dense layer")
        if before is not None and shape[1] != before.weight.shape[0]:
            raise ValueError(
                f"{part.name}.weight: got shape {shape}, expected {before.weight.shape[0]} inputs, "
                f"the outputs of {before.name}"
            )
        if part.bias is not None and part.bias.shape != shape[:1]:
            raise ValueError(f"{part.name}.bias: got shape {part.bias.shape}, expected {shape[:1]}")
        before = part


def fill(parameters: np.ndarray, values: np.ndarray, name: str) -> None:
    """Copy values in, rounded to the network's dtype; ValueError if they are not finite then."""
    with np.errstate(over="ignore"):
        parameters[...] = values
    if not np.isfinite(parameters).all():
        raise ValueError(f"{name}: got a number that is not finite in {parameters.dtype}, expected finite ones")
