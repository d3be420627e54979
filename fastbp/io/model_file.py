"""A network as a model file, and back: its layers as plain data, its parameters as named tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastbp import layers
from fastbp.io import safetensors
from fastbp.io.named import check_named
from fastbp.layers.base import Layer
from fastbp.network.contract import NetworkLayer, Vectors
from fastbp.network.network import Network


def save(net: Network, path: str | os.PathLike, metadata: dict[str, Any]) -> None:
    """Write layers, parameters, seed and metadata."""
    safetensors.write(path, *content_of(net, metadata))


def content_of(net: Network, metadata: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tensors of a model file, and what stands beside them."""
    check_named("save", net.layers)
    content = {
        "layers": [architecture_of(layer) for layer in net.layers],
        "dtype": net.dtype.name,
        "seed": net.seed,
        "metadata": metadata,
    }
    return dict(named_tensors(net)), content


def named_tensors(net: Network) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors and statistics of all layers by the names that a file has for them, as views."""
    vectors = Vectors(net.parameters, net.statistics)
    for i, layer in enumerate(net.layers):
        for tensor in (*layer.tensors, *layer.statistics):
            view = layer.view(vectors, tensor.name)
            assert view is not None
            yield f"layers.{i}.{tensor.name}", view


def load(cls: Any, path: str | os.PathLike) -> Any:
    """Return the network in a file; ValueError, with the path, where it is none or is damaged."""
    tensors, content = safetensors.read(path)
    try:
        dtype, seed = safetensors.entry(content, "dtype", str), safetensors.entry(content, "seed", int)
        if not 0 <= seed < 2**63 or dtype not in ("float32", "float64"):
            raise ValueError(
                f"got the seed {seed} and dtype {safetensors.shortened(dtype)}, expected some that fastbp has"
            )
        metadata = safetensors.entry(content, "metadata", dict)
        made = [layer_from(said) for said in safetensors.entry(content, "layers", list)]
        check_sizes(made, tensors, dtype)
        net = cls(*made, dtype=dtype, seed=seed)
        check_shapes(net, tensors)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)}: got no network: {error}") from error
    net.metadata = metadata
    set_parameters(net, tensors)
    return net


def check_sizes(made: Sequence[Layer], tensors: Mapping[str, np.ndarray], dtype: str) -> None:
    """ValueError unless a file has tensors of the sizes that it says: a network of others would take memory for nothing."""
    for i, layer in enumerate(made):
        for tensor in layer.tensors:
            if tensor.size:
                safetensors.tensor(tensors, f"layers.{i}.{tensor.name}", tensor.shape, dtype)


def check_shapes(net: Network, tensors: Mapping[str, np.ndarray]) -> None:
    """ValueError unless a file has all tensors of the network."""
    for name, values in named_tensors(net):
        safetensors.tensor(tensors, name, values.shape, values.dtype)


def check_parameters(net: Network, tensors: Mapping[str, np.ndarray]) -> None:
    """ValueError unless a file has the parameters of the network, all of them finite."""
    for name, values in named_tensors(net):
        if not np.isfinite(safetensors.tensor(tensors, name, values.shape, values.dtype)).all():
            raise ValueError(f"{name}: got NaN or infinity, expected finite numbers")


def set_parameters(net: Network, tensors: Mapping[str, np.ndarray]) -> None:
    """Copy the tensors of a model file into the network, NaN and infinity too: one that diverged can be looked at."""
    for name, values in named_tensors(net):
        values[...] = tensors[name]


def architecture_of(layer: NetworkLayer) -> dict[str, Any]:
    """Return what a file says of a layer."""
    return {"kind": type(layer).__name__, **layer.settings()}


def layer_from(said: Any) -> Layer:
    """Return the layer that a file says."""
    kind = safetensors.entry(said, "kind", str)
    known = kinds()
    if kind not in known:
        *others, last = known
        raise ValueError(f"kind: got {safetensors.shortened(kind)}, expected {', '.join(others)} or {last}")
    types = known[kind].SETTINGS or {}
    return known[kind].from_settings(**{name: safetensors.entry(said, name, *types[name]) for name in types})


def kinds() -> dict[str, type[Layer]]:
    """Return the classes of layers that a file can name."""
    found = [getattr(layers, name) for name in layers.__all__]
    classes = (kind for kind in found if isinstance(kind, type) and issubclass(kind, Layer))
    return {kind.__name__: kind for kind in classes if kind.SETTINGS is not None}
