"""Modules of PyTorch, in both directions. The one door to PyTorch: `pip install 'fastbp[torch]'`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from fastbp.checks import require
from fastbp.io.named import check_known, check_named
from fastbp.io.pieces import Linear, Part
from fastbp.io.tensors import as_float_array
from fastbp.kernels.activation_formulas import LEAKY_SLOPE
from fastbp.layers.dense import Dense
from fastbp.layers.dropout import Dropout
from fastbp.network.contract import NetworkLayer

ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("ReLU", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": LEAKY_SLOPE}),
    "elu": ("ELU", {"alpha": 1.0}),
    "selu": ("SELU", {}),
    "gelu": ("GELU", {"approximate": "none"}),
    "gelu_tanh": ("GELU", {"approximate": "tanh"}),
    "silu": ("SiLU", {}),
    "mish": ("Mish", {}),
    "softplus": ("Softplus", {"beta": 1.0}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "hard_sigmoid": ("Hardsigmoid", {}),
}
"""PyTorch's class for each activation, and what it is made with."""


def require_torch() -> ModuleType:
    """Import PyTorch; ImportError with the line that installs it."""
    return require("torch", "PyTorch's modules and .pt files need PyTorch", "torch")


def load(path: Path) -> Any:
    """Return what torch.save wrote, tensors on the CPU; ValueError, with the path, for what is not plain tensors."""
    torch = require_torch()
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # damaged pickles raise whatever comes
        raise ValueError(f"{path}: got no state_dict, expected what torch.save(module.state_dict()) wrote") from error


# ----------------------------------------------------------------------------------------------------------- to PyTorch


def module_of(layers: Sequence[NetworkLayer], dtype: str) -> Any:
    """Return a torch.nn.Sequential of these layers, with copies of their parameters, in evaluation mode."""
    torch = require_torch()
    check_named("to_torch", layers)
    check_known("to_torch", "PyTorch", layers, MODULES)
    made = torch.nn.Sequential()
    for layer in layers:
        made.append(MODULES[type(layer)](layer, getattr(torch, dtype)))
        if layer.activation != "identity":
            made.append(activation_module(torch.nn, layer.activation))
    return made.eval()


def dropout_of(layer: Dropout, dtype: Any) -> Any:
    return require_torch().nn.Dropout(layer.rate)


def activation_module(nn: Any, name: Any) -> Any:
    kind, options = ACTIVATIONS[name]
    # above its threshold, 20 by default, PyTorch's softplus is the identity: 2e-9 off, too much for float64
    return getattr(nn, kind)(**options, **{"threshold": 40} if name == "softplus" else {})


def linear_of(layer: Dense, dtype: Any) -> Any:
    torch = require_torch()
    shape = layer.inputs, layer.outputs, layer.has_bias
    linear = torch.nn.utils.skip_init(torch.nn.Linear, *shape, dtype=dtype)  # draws no random numbers
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(layer.weight))
        if layer.bias is not None:
            linear.bias.copy_(torch.from_numpy(layer.bias))
    return linear


MODULES: dict[type, Callable[[Any, Any], Any]] = {Dense: linear_of, Dropout: dropout_of}
"""What makes PyTorch's module of a layer and a dtype, by the class of the layer."""


# --------------------------------------------------------------------------------------------------------- from PyTorch


def parts_of(module: Any) -> list[Part]:
    """Return the layers of a torch.nn.Sequential of Linear, activations, Dropout, and Flatten and Identity, which do
    nothing."""
    nn = require_torch().nn
    parts: list[Part] = []
    for name, inner in flattened("module", module, nn.Sequential):
        kind = type(inner)
        if kind is nn.Linear:
            bias = None if inner.bias is None else as_float_array(f"{name}.bias", inner.bias)
            parts.append(Linear(name, as_float_array(f"{name}.weight", inner.weight), bias, "identity"))
        elif kind is nn.Dropout and parts:
            parts.append(Dropout(inner.p))
        elif not (kind is nn.Identity or (kind is nn.Flatten and not parts and flattens_rows(inner))):
            parts.append(activated(parts.pop() if parts else None, name, inner))
    if not parts:
        raise ValueError(f"module: got {module!r}, expected a torch.nn.Sequential with a Linear in it")
    return parts


def flattened(name: str, module: Any, sequential: Any) -> Iterator[tuple[str, Any]]:
    """Yield every module in the order of the forward pass, by its name; a Sequential inside another is walked through."""
    if not isinstance(module, sequential) or type(module).forward is not sequential.forward:
        yield name, module
        return
    for i, inner in enumerate(module):
        yield from flattened(f"{name}[{i}]", inner, sequential)


def flattens_rows(flatten: Any) -> bool:
    return flatten.start_dim == 1 and flatten.end_dim == -1


def activated(before: Part | None, name: str, module: Any) -> Linear:
    """Return the Linear before, with the activation that `module` is."""
    known = [activation for activation in ACTIVATIONS if is_a(module, activation)]
    if not known:
        raise ValueError(
            f"{name}: got {module!r}, expected Linear, Dropout after one, or an activation that fastbp has (logits need "
            "none); from_state_dict reads the dense layers of any module"
        )
    if not isinstance(before, Linear) or before.activation != "identity":
        raise ValueError(f"{name}: got {module!r}, expected one activation alone, right after a Linear")
    return before._replace(activation=known[0])


def is_a(module: Any, activation: str) -> bool:
    kind, options = ACTIVATIONS[activation]
    same = all(getattr(module, name, value) == value for name, value in options.items())
    steep = getattr(module, "threshold", 20) >= 20  # softplus's: from there on it is the identity
    return type(module) is getattr(require_torch().nn, kind) and same and steep
