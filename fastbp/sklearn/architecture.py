"""An estimator's network: its layers from `hidden_layer_sizes`, `activation` and `dropout`, and its first weights."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from fastbp.activations import as_activation
from fastbp.layers import Dense, Dropout, Layer
from fastbp.model import Sequential


def one_each(name: str, value: Any, count: int) -> list[Any]:
    """One value for each hidden layer, from a list of them or one for all."""
    if not isinstance(value, list | tuple | np.ndarray):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name}: got {len(value)} entries, expected one value or {count}, one for each hidden layer")
    return list(value)


def activations_of(activation: Any, count: int) -> list[Any]:
    """fastbp's activations of the hidden layers; "logistic" is scikit-learn's name for "sigmoid"."""
    return [as_activation("sigmoid" if a == "logistic" else a) for a in one_each("activation", activation, count)]


def initial_weights(
    units: list[int], logistic: bool, dtype: Any, random: np.random.RandomState
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights (n, m) and biases, uniform as Glorot & Bengio (2010) have it, which for the logistic activation scikit-learn
    divides by the root of 3: the same numbers as scikit-learn's for the same random state."""
    coefs, intercepts = [], []
    for n, m in pairwise(units):
        bound = np.sqrt((2.0 if logistic else 6.0) / (n + m))
        coefs.append(random.uniform(-bound, bound, (n, m)).astype(dtype, copy=False))
        intercepts.append(random.uniform(-bound, bound, m).astype(dtype, copy=False))
    return coefs, intercepts


def built(
    units: list[int],
    activations: list[Any],
    dropout: Any,
    coefs: list[np.ndarray],
    intercepts: list[np.ndarray],
    seed: int,
) -> Sequential:
    """The network of the given weights; its last layer gives logits, logarithms of means, or plain numbers."""
    rates = [*one_each("dropout", dropout, len(activations)), 0.0]
    layers: list[Layer] = []
    for (n, m), activation, rate, coef, bias in zip(
        pairwise(units), [*activations, "identity"], rates, coefs, intercepts, strict=True
    ):
        layers.append(Dense(n, m, activation, weight_init=np.asarray(coef).T, bias_init=np.asarray(bias)))
        if rate:
            layers.append(Dropout(float(rate)))
    return Sequential(*layers, dtype=np.asarray(coefs[0]).dtype, seed=seed)
