"""What makes layers a network: dtype and seed, a chain of sizes, a place for each layer in the network's vectors."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp import losses
from fastbp.checks import whole_number
from fastbp.network.contract import NetworkLayer, Place

if TYPE_CHECKING:
    from fastbp.network.network import Network

DTYPES = ("float32", "float64")


def checked_seed(seed: Any) -> int:
    """Return the seed, or where it is None one that is drawn."""
    if seed is None:
        return secrets.randbits(32)
    if whole_number("seed", seed, at_least=0) >= 2**63:
        raise ValueError(f"seed: got {seed}, expected an integer below 2**63, or None")
    return int(seed)


def checked_dtype(dtype: Any) -> np.dtype:
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = None
    if name not in DTYPES:
        raise ValueError(f"dtype: got {dtype!r}, expected one of {', '.join(DTYPES)}")
    return np.dtype(name)


def checked_layers(layers: tuple[Any, ...], dtype: np.dtype) -> tuple[NetworkLayer, ...]:
    """Return the layers, which fit together, belong to no other network, and have initial values that `dtype` holds."""
    if not layers:
        raise ValueError("layers: got none, expected at least one")
    seen: set[int] = set()
    columns = None  # what the layer before hands on
    for i, layer in enumerate(layers):
        if not isinstance(layer, NetworkLayer):
            raise TypeError(f"layers: got {layer!r} at place {i}, expected a layer")
        if layer.network is not None or id(layer) in seen:
            raise ValueError(
                f"layers: got {layer!r} at place {i} a second time, expected a layer that no network has yet"
            )
        seen.add(id(layer))
        columns = layer.outputs_after(columns)
    for layer in layers:
        layer.check_values(dtype)
    return tuple(layers)


def joined(network: Network, layers: tuple[NetworkLayer, ...]) -> tuple[int, int]:
    """Give each layer its place in the network; returns the numbers of parameters and of statistics."""
    columns, parameters, statistics = layers[0].inputs, 0, 0
    for number, layer in enumerate(layers):
        layer.join(network, Place(number, columns, parameters, statistics))
        columns, parameters = layer.outputs, parameters + layer.size
        statistics += sum(tensor.size for tensor in layer.statistics)
    return parameters, statistics


def check_loss(net: Network, loss: losses.Loss) -> None:
    """ValueError unless the cost can be had from the network's outputs, in its dtype."""
    loss.check(net.outputs, net.dtype)
    if loss.logits and net.layers[-1].activation == "sigmoid":
        raise ValueError(
            f"loss: got {loss.name} after a last layer with sigmoid, expected logits: "
            "give the last layer activation='identity' (the cost applies the sigmoid or softmax itself)"
        )
