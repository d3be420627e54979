"""Which layers are code of the user's, and which a file can name."""

from __future__ import annotations

from collections.abc import Iterable

from fastbp.activations import CustomActivation
from fastbp.layers.base import Layer
from fastbp.layers.custom import Custom
from fastbp.layers.dense import Dense


def calls_user(layer: Layer) -> bool:
    """Whether functions of the user's are a part of it."""
    return isinstance(layer, Custom) or isinstance(getattr(layer, "activation", None), CustomActivation)


def check_named(method: str, layers: Iterable[Layer], activations: bool = True) -> None:
    """All are layers that names describe, with such `activations` too: ValueError for what is code of the user's."""
    for layer in layers:
        if isinstance(layer, Custom):
            raise ValueError(f"{method}: got {layer!r}, expected layers that a file can name: a custom one is code")
        if activations and isinstance(layer, Dense) and not isinstance(layer.activation, str):
            raise ValueError(
                f"{method}: got {layer!r}, expected activations that a file can name: a custom one is code"
            )
