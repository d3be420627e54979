"""An estimator's network: its layers from `hidden_layer_sizes`, `activation` and `dropout`, and its first weights."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastbp.activations import as_activation
from fastbp.checks import one_each
from fastbp.layers.base import Layer
from fastbp.layers.dense import Dense
from fastbp.layers.dropout import Dropout
from fastbp.sequential import Sequential


def activation_of(activation: Any) -> Any:
    """fastbp's activation; "logistic" is scikit-learn's name for "sigmoid"."""
    return as_activation("sigmoid" if activation == "logistic" else activation)


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


class Blueprint(NamedTuple):
    """What a network is built from, beside its weights."""

    units: tuple[int, ...]
    activations: tuple[Any, ...]  # of the hidden layers
    rates: tuple[float, ...]  # of the dropout after each of them

    @classmethod
    def of(cls, estimator: Any, units: list[int]) -> Blueprint:
        """Read the estimator's settings; units: the numbers of neurons of all layers."""
        count = len(units) - 2
        activations = one_each("activation", estimator.activation, count, "hidden layer", activation_of)
        rates = one_each("dropout", estimator.dropout, count, "hidden layer", float)
        return cls(tuple(units), tuple(activations), tuple(rates))

    def make_network(self, coefs: list[np.ndarray], intercepts: list[np.ndarray], seed: int) -> Sequential:
        """Return the network of those weights; its last layer gives logits, logarithms of means, or plain numbers."""
        layers: list[Layer] = []
        for (n, m), activation, rate, coef, bias in zip(
            pairwise(self.units), [*self.activations, "identity"], [*self.rates, 0.0], coefs, intercepts, strict=True
        ):
            layers.append(Dense(n, m, activation, weight_init=coef.T, bias_init=bias))
            if rate:
                layers.append(Dropout(rate))
        return Sequential(*layers, dtype=np.result_type(coefs[0], np.float32), seed=seed)


def sizes_of(coefs: list[np.ndarray], intercepts: list[np.ndarray]) -> list[int]:
    """Neurons of all layers, from the input to the output."""
    return [len(coefs[0]), *(len(bias) for bias in intercepts)]


def checked_sizes(coefs: list[np.ndarray], intercepts: list[np.ndarray], inputs: int, outputs: int) -> list[int]:
    """`sizes_of` weights that a user has assigned: real, finite, and in a chain from the inputs to the outputs."""
    if not len(coefs) == len(intercepts) > 0:
        raise ValueError(f"coefs_: got {len(coefs)} arrays, expected as many as intercepts_ has, {len(intercepts)}")
    units = [inputs, *(bias.size for bias in intercepts[:-1]), outputs]
    for i, (n, m) in enumerate(pairwise(units)):
        for name, array, shape in (("coefs_", coefs[i], (n, m)), ("intercepts_", intercepts[i], (m,))):
            if array.shape != shape:
                raise ValueError(f"{name}[{i}]: got shape {array.shape}, expected {shape}")
            if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
                raise ValueError(f"{name}[{i}]: got what are not finite numbers, expected them")
    return units
