"""What a file or another library can name of a network."""

from __future__ import annotations

from collections.abc import Iterable

from fastbp.network.contract import NetworkLayer


def check_named(method: str, layers: Iterable[NetworkLayer], activations: bool = True) -> None:
    """ValueError for a layer that is code of the user's, or whose activation is, unless `activations` may be."""
    for layer in layers:
        if layer.custom == "layers" or (activations and layer.custom):
            raise ValueError(
                f"{method}: got {layer!r}, expected {layer.custom} that a file can name: a custom one is code"
            )


def check_known(method: str, library: str, layers: Iterable[NetworkLayer], known: Iterable[type]) -> None:
    """ValueError for a layer that the library has nothing like."""
    known = tuple(known)
    for layer in layers:
        if type(layer) not in known:
            names = ", ".join(kind.__name__ for kind in known)
            raise ValueError(f"{method}: got {layer!r}, expected layers that {library} has: {names}")
