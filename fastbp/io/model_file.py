"""A network as a model file, and back: its layers as plain data, its parameters as named tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.io import safetensors
from fastbp.layers.base import Layer
from fastbp.layers.dense import Dense
from fastbp.layers.dropout import Dropout
from fastbp.layers.named import check_named

if TYPE_CHECKING:
    from fastbp.sequential import Sequential


def save(net: Sequential, path: str | os.PathLike, metadata: dict[str, Any]) -> None:
    """Write layers, parameters, seed and metadata."""
    safetensors.write(path, *content_of(net, metadata))


def content_of(net: Sequential, metadata: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors of a model file, and what stands beside them."""
    check_named("save", net.layers)
    content = {
        "layers": [architecture_of(layer) for layer in net.layers],
        "dtype": net.dtype.name,
        "seed": net.seed,
        "metadata": metadata,
    }
    return dict(named_parameters(net)), content


def named_parameters(net: Sequential) -> Iterator[tuple[str, np.ndarray]]:
    """Weights and biases by the names that a file has for them."""
    for i, layer in enumerate(net.layers):
        if isinstance(layer, Dense):
            yield f"layers.{i}.weight", layer.weight
            if layer.bias is not None:
                yield f"layers.{i}.bias", layer.bias


def load(cls: type[Sequential], path: str | os.PathLike) -> Sequential:
    """The network in a file; ValueError, with the path, where it is none or is damaged."""
    tensors, content = safetensors.read(path)
    try:
        dtype, seed = safetensors.entry(content, "dtype", str), safetensors.entry(content, "seed", int)
        if not 0 <= seed < 2**63 or dtype not in ("float32", "float64"):
            raise ValueError(
                f"got the seed {seed} and dtype {safetensors.shortened(dtype)}, expected some that fastbp has"
            )
        metadata = safetensors.entry(content, "metadata", dict)
        layers = [
            layer_from(i, entry, tensors, dtype) for i, entry in enumerate(safetensors.entry(content, "layers", list))
        ]
        net = cls(*layers, dtype=dtype, seed=seed)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)}: got no network: {error}") from error
    net.metadata = metadata
    set_parameters(net, tensors)
    return net


def check_parameters(net: Sequential, tensors: Mapping[str, np.ndarray]) -> None:
    """ValueError unless a file has the parameters of the network, all of them finite."""
    for name, values in named_parameters(net):
        if not np.isfinite(safetensors.tensor(tensors, name, values.shape, values.dtype)).all():
            raise ValueError(f"{name}: got NaN or infinity, expected finite numbers")


def set_parameters(net: Sequential, tensors: Mapping[str, np.ndarray]) -> None:
    """Copy the tensors of a model file into the network, NaN and infinity too: one that diverged can be looked at."""
    for name, values in named_parameters(net):
        values[...] = tensors[name]


def architecture_of(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, Dropout):
        return {"kind": "Dropout", "rate": layer.rate}
    assert isinstance(layer, Dense)
    return {
        "kind": "Dense", "inputs": layer.inputs, "outputs": layer.outputs, "activation": layer.activation,
        "bias": layer.has_bias,
    }  # fmt: skip


def layer_from(i: int, said: Any, tensors: Mapping[str, np.ndarray], dtype: str) -> Layer:
    """The layer that a file says is at place i. Tensors of its size are there, or it would take memory for nothing."""
    kind = safetensors.entry(said, "kind", str)
    if kind not in ("Dense", "Dropout"):
        raise ValueError(f"kind: got {safetensors.shortened(kind)}, expected Dense or Dropout")
    if kind == "Dropout":
        return Dropout(safetensors.entry(said, "rate", int, float))
    inputs, outputs = safetensors.entry(said, "inputs", int), safetensors.entry(said, "outputs", int)
    bias = safetensors.entry(said, "bias", bool)
    safetensors.tensor(tensors, f"layers.{i}.weight", (outputs, inputs), dtype)
    if bias:
        safetensors.tensor(tensors, f"layers.{i}.bias", (outputs,), dtype)
    return Dense(inputs, outputs, safetensors.entry(said, "activation", str), bias, weight_init="zeros")
