"""Networks as the command line names them."""

from __future__ import annotations

import argparse
import itertools
from typing import Any


def chain(text: str) -> tuple[int, ...]:
    """Return the sizes of a network, inputs first, from a text such as 784-128-10."""
    sizes = text.split("-")
    if len(sizes) < 2 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected two whole numbers >= 1 or more, as in 784-128-10")
    return tuple(map(int, sizes))


def dense_network(sizes: tuple[int, ...], activation: str, **settings: Any) -> Any:
    """Make a Sequential of dense layers of those sizes, the last one without activation."""
    import fastbp as fb

    fb.activations.as_activation(activation)  # a mistyped name is refused even where no layer has it
    *hidden, last = itertools.pairwise(sizes)
    layers = [fb.Dense(n, m, activation=activation) for n, m in hidden]
    return fb.Sequential(*layers, fb.Dense(*last), **settings)
