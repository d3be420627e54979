"""PyTorch's state_dict: parameters by the names that they have in a torch.nn.Sequential, without PyTorch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.io import safetensors, torch
from fastbp.io.named import check_known, check_named
from fastbp.io.pieces import Linear
from fastbp.io.tensors import as_float_array
from fastbp.layers.dense import Dense
from fastbp.layers.dropout import Dropout
from fastbp.network.contract import NetworkLayer, Vectors
from fastbp.network.network import Network

NAMES: dict[type, dict[str, str]] = {Dense: {"weight": "weight", "bias": "bias"}, Dropout: {}}
"""PyTorch's name of each tensor, by the class of the layer."""


def module_numbers(layers: Sequence[NetworkLayer]) -> Iterator[tuple[int, NetworkLayer]]:
    """Yield each layer with its place in a torch.nn.Sequential, where an activation other than identity has one of its own."""
    place = 0
    for layer in layers:
        yield place, layer
        place += 2 if layer.activation != "identity" else 1


def state_dict(net: Network, prefix: str) -> dict[str, np.ndarray]:
    """Return copies of all tensors, in C order, by PyTorch's names."""
    check_named("state_dict", net.layers, activations=False)
    check_known("state_dict", "PyTorch", net.layers, NAMES)
    tensors, vectors = {}, Vectors(net.parameters, net.statistics)
    for place, layer in module_numbers(net.layers):
        for tensor in layer.tensors:
            view = layer.view(vectors, tensor.name)
            assert view is not None
            tensors[f"{prefix}{place}.{NAMES[type(layer)][tensor.name]}"] = view.copy(order="C")
    return tensors


def read(source: Any, activation: Any, modules: Sequence[str] | None, prefix: str) -> list[Linear]:
    """Return the dense layers of a mapping, or of a file that holds one; see `Sequential.from_state_dict`."""
    tensors, ordered = source, True
    if isinstance(source, str | os.PathLike):
        tensors, ordered = read_file(Path(source))
    if not isinstance(tensors, Mapping):
        raise TypeError(f"tensors: got {type(tensors).__name__}, expected a mapping of names to tensors, or a path")
    if isinstance(modules, str):
        raise TypeError(f"modules: got {modules!r}, expected a list of names")
    found = by_module(tensors, prefix, modules)
    names = in_order(list(found), ordered) if modules is None else list(modules)
    activations = activation_of_each(activation, len(names))
    return [
        Linear(prefix + name, found[name]["weight"], found[name].get("bias"), f)
        for name, f in zip(names, activations, strict=True)
    ]


def read_file(path: Path) -> tuple[Any, bool]:
    """Return what a file holds, and whether in the order of the modules: safetensors keeps none."""
    if path.suffix == ".safetensors":
        return safetensors.read_plain(path), False
    if path.suffix in (".pt", ".pth"):
        return torch.load(path), True
    raise ValueError(f"tensors: got the file {path}, expected the ending .safetensors, .pt or .pth")


def by_module(tensors: Mapping, prefix: str, modules: Sequence[str] | None) -> dict[str, dict[str, np.ndarray]]:
    """Return the "weight" and "bias" of each module asked for, by its name without the prefix."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        if not str(name).startswith(prefix):
            continue
        module, _, kind = str(name)[len(prefix) :].rpartition(".")
        if modules is not None and module not in modules:
            continue
        if kind not in ("weight", "bias"):
            raise ValueError(f"{name}: got a {type(tensor).__name__}, expected only weight and bias of dense layers")
        found.setdefault(module, {})[kind] = as_float_array(name, tensor)
    if not found and not modules:
        raise ValueError(f"tensors: got none whose name begins with {prefix!r} among {', '.join(map(str, tensors))}")
    for module in modules or found:
        if "weight" not in found.get(module, {}):
            raise ValueError(f"{prefix}{module}.weight: got none, expected one among {', '.join(map(str, tensors))}")
    return found


def in_order(modules: list[str], ordered: bool) -> list[str]:
    """Return the names by their numbers where these alone tell them apart (0, 2, 10; fc1, fc2), else as they come."""
    if len({re.sub(r"\d+", "#", module) for module in modules}) == 1:
        return sorted(modules, key=lambda module: [int(number) for number in re.findall(r"\d+", module)])
    if not ordered:
        raise ValueError(f"modules: got None, expected {', '.join(sorted(modules))} in their order: the file has none")
    return modules


def activation_of_each(activation: Any, count: int) -> list[Any]:
    """Return an activation for each layer: one name stands for all but the last, which has none then; a list has one for
    every layer."""
    if not isinstance(activation, list | tuple):
        return [*[activation] * (count - 1), "identity"]
    if len(activation) != count:
        raise ValueError(f"activation: got {len(activation)} of them, expected {count}, one for each dense layer")
    return list(activation)
