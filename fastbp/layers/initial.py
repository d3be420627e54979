"""Initial values of parameters: drawn by the name of a scheme, or copied from an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp.data.parameters import finite_numbers

GAINS = {"glorot": 1.0, "he": 2.0, "lecun": 1.0}


INITIALISERS = ("zeros", *(f"{name}_{form}" for name in GAINS for form in ("uniform", "normal")))


def random_bits(seed: int, stream: int, count: int) -> np.ndarray:
    """`count` random uint64 from a counter-based generator (Philox; Salmon et al. 2011), keyed by seed and stream."""
    return np.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw(count)


def uniforms(seed: int, stream: int, count: int) -> np.ndarray:
    """`count` float64 in [0, 1)."""
    return (random_bits(seed, stream, count) >> np.uint64(11)) * 2.0**-53


def normals(seed: int, stream: int, count: int) -> np.ndarray:
    """`count` float64 of the standard normal distribution (Box & Muller 1958)."""
    u = 1.0 - uniforms(seed, stream, 2 * count)
    return np.sqrt(-2.0 * np.log(u[:count])) * np.cos(2.0 * np.pi * u[count:])


def stream_of(layer: int, tensor: int) -> int:
    """Return the stream of random numbers of a layer's tensor, by their numbers; no two have the same."""
    return 2 * layer + tensor % 2 + ((tensor // 2) << 32)


def check_initial(init: Any, name: str, shape: tuple[int, ...], dtype: Any = np.float64) -> None:
    """ValueError or TypeError for what `initial` would refuse."""
    if not isinstance(init, str):
        finite_numbers(name, init, shape, dtype)
    elif init not in INITIALISERS:
        raise ValueError(f"{name}: got {init!r}, expected an array or one of {', '.join(INITIALISERS)}")


def initial(
    init: Any, name: str, shape: tuple[int, ...], seed: int, stream: int, dtype: Any = np.float64
) -> np.ndarray:
    """Initial values (float64) by the name of a scheme or from an array, whose numbers `dtype` holds.

    Glorot & Bengio (2010): variance 2 / (n + m); He et al. (2015): 2 / n; LeCun et al. (1998): 1 / n, for n inputs and m
    outputs; uniform within +-sqrt(3 variance), or normal.
    """
    if not isinstance(init, str):
        return finite_numbers(name, init, shape, dtype)
    check_initial(init, name, shape)
    if init == "zeros" or len(shape) == 1:
        return np.zeros(shape)
    scheme, _, form = init.partition("_")
    m, n = shape
    variance = GAINS[scheme] / (0.5 * (n + m) if scheme == "glorot" else n)
    if form == "normal":
        return np.sqrt(variance) * normals(seed, stream, m * n).reshape(shape)
    return np.sqrt(3.0 * variance) * (2.0 * uniforms(seed, stream, m * n).reshape(shape) - 1.0)
