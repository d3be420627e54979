"""A network as a model file, and back: its layers as plain data, its parameters as named tensors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp import io
from fastbp.layers import Dense, Dropout, Layer, check_named

if TYPE_CHECKING:
    from fastbp.model import Sequential


def save(net: Sequential, path: str | os.PathLike, metadata: dict[str, Any]) -> None:
    """Write layers, parameters, seed and metadata."""
    io.write(path, *content_of(net, metadata))


def content_of(net: Sequential, metadata: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors of a model file, and what stands beside them."""
    check_named("save", net.layers)
    content = {
        "layers": [architecture_of(layer) for layer in net.layers],
        "dtype": net.dtype.name,
        "seed": net.seed,
        "metadata": metadata,
    }
    tensors = {}
    for i, layer in enumerate(net.layers):
        if isinstance(layer, Dense):
            tensors[f"layers.{i}.weight"] = layer.weight
            if layer.bias is not None:
                tensors[f"layers.{i}.bias"] = layer.bias
    return tensors, content


def load(cls: type[Sequential], path: str | os.PathLike) -> Sequential:
    """The network in a file; ValueError, with the path, where it is none or is damaged."""
    tensors, content = io.read(path)
    try:
        net = cls(*map(layer_from, content["layers"]), dtype=content["dtype"], seed=content["seed"])
        net.metadata = content["metadata"]
        set_parameters(net, tensors)
    except KeyError as error:
        raise ValueError(f"{os.fspath(path)}: got a file without {error}, expected a saved Sequential") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)}: got no network: {error}") from error
    return net


def set_parameters(net: Sequential, tensors: dict[str, np.ndarray]) -> None:
    """Copy the tensors of a model file into the network."""
    for i, layer in enumerate(net.layers):
        if isinstance(layer, Dense):
            fill(layer.weight, tensors[f"layers.{i}.weight"])
            if layer.bias is not None:
                fill(layer.bias, tensors[f"layers.{i}.bias"])


def fill(parameters: np.ndarray, values: np.ndarray) -> None:
    """Copy values in, NaN and infinity too: a network that diverged can be looked at."""
    if values.shape != parameters.shape or values.dtype != parameters.dtype:
        got, expected = (f"{array.dtype} of shape {array.shape}" for array in (values, parameters))
        raise ValueError(f"parameters: got {got}, expected {expected}")
    parameters[...] = values


def architecture_of(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, Dropout):
        return {"kind": "Dropout", "rate": layer.rate}
    assert isinstance(layer, Dense)
    return {
        "kind": "Dense", "inputs": layer.inputs, "outputs": layer.outputs, "activation": layer.activation,
        "bias": layer.has_bias,
    }  # fmt: skip


def layer_from(entry: dict[str, Any]) -> Layer:
    entry = dict(entry)
    kind = entry.pop("kind")
    if kind not in ("Dense", "Dropout"):
        raise ValueError(f"kind: got {kind!r}, expected Dense or Dropout")
    return Dense(**entry, weight_init="zeros") if kind == "Dense" else Dropout(**entry)
