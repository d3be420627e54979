"""Fitted multi-layer perceptrons of scikit-learn, in both directions. Its estimators need `pip install 'fastbp[sklearn]'`."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from fastbp.checks import require
from fastbp.io.named import check_known, check_named
from fastbp.io.pieces import Linear
from fastbp.io.tensors import as_float_array
from fastbp.layers.dense import Dense
from fastbp.layers.dropout import Dropout
from fastbp.network.contract import NetworkLayer

NAMES: dict[Any, str] = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
"""scikit-learn's names of the activations that it has."""


def require_sklearn() -> ModuleType:
    """Import scikit-learn's neural networks; ImportError with the line that installs it."""
    for module in ("sklearn.neural_network", "sklearn.preprocessing", "sklearn"):
        sklearn = require(module, "to_sklearn needs scikit-learn", "sklearn")
    return sklearn


# --------------------------------------------------------------------------------------------------- from scikit-learn


def parts_of(mlp: Any) -> list[Linear]:
    """Return the layers of a fitted MLPClassifier or MLPRegressor; the last one without the activation of its output."""
    if not all(hasattr(mlp, name) for name in ("coefs_", "intercepts_", "activation")):
        raise ValueError(f"mlp: got {type(mlp).__name__}, expected a fitted MLPClassifier or MLPRegressor")
    known = {theirs: ours for ours, theirs in NAMES.items()}
    if mlp.activation not in known:
        raise ValueError(f"mlp: got activation {mlp.activation!r}, expected one of {', '.join(known)}")
    last = len(mlp.coefs_) - 1
    return [
        Linear(
            f"mlp.{i}",
            as_float_array(f"mlp.coefs_[{i}]", weights).T,
            as_float_array(f"mlp.intercepts_[{i}]", biases),
            "identity" if i == last else known[mlp.activation],
        )
        for i, (weights, biases) in enumerate(zip(mlp.coefs_, mlp.intercepts_, strict=True))
    ]


# ----------------------------------------------------------------------------------------------------- to scikit-learn


def estimator_of(layers: Sequence[NetworkLayer], classes: Any, multilabel: bool) -> Any:
    """Return a fitted MLPRegressor, or the MLPClassifier of `classes` or of several labels a row; see
    `Sequential.to_sklearn`."""
    check_named("to_sklearn", layers, activations=False)
    check_known("to_sklearn", "scikit-learn", layers, (Dense, Dropout))  # a dropout does nothing there
    dense: list[Any] = [layer for layer in layers if layer.tensors]
    settings = {"hidden_layer_sizes": [layer.outputs for layer in dense[:-1]], "activation": hidden_activation(dense)}
    weights, biases = parameters_of(dense)
    outputs = dense[-1].outputs
    targets = targets_of(classes, multilabel, outputs)
    check_output(dense[-1], sigmoid=targets is not None and (multilabel or outputs == 1))
    networks = require_sklearn().neural_network
    if targets is None:
        return fitted(networks.MLPRegressor(**settings), weights, biases, "identity")
    if not multilabel and outputs == 2:  # softmax of two is the logistic function of their difference
        weights[-1], biases[-1] = np.diff(weights[-1]), np.diff(biases[-1])
    mlp = networks.MLPClassifier(**settings)
    mlp._label_binarizer = require_sklearn().preprocessing.LabelBinarizer().fit(targets)
    mlp.classes_ = mlp._label_binarizer.classes_
    return fitted(mlp, weights, biases, "softmax" if outputs > 2 and not multilabel else "logistic")


def hidden_activation(dense: Sequence[Dense]) -> str:
    """Return scikit-learn's name of the activation that all hidden layers have."""
    used = {layer.activation: layer for layer in dense[:-1]}
    for activation, layer in used.items():
        if activation not in NAMES:
            raise ValueError(f"to_sklearn: got {layer!r}, expected one of the activations {', '.join(NAMES)}")
    if len(used) > 1:
        raise ValueError(
            f"to_sklearn: got the activations {', '.join(map(str, used))}, expected one for all hidden layers"
        )
    return NAMES[next(iter(used), "relu")]


def check_output(last: Dense, sigmoid: bool) -> None:
    """ValueError unless the last layer is linear, because scikit-learn applies the output function; with `sigmoid` it may
    also end in one."""
    expected = ("identity", "sigmoid") if sigmoid else ("identity",)
    if last.activation not in expected:
        raise ValueError(f"to_sklearn: got {last!r} as the last layer, expected activation {' or '.join(expected)}")


def targets_of(classes: Any, multilabel: bool, outputs: int) -> np.ndarray | None:
    """Return what scikit-learn learns its classes from: labels, rows with several labels, or None in a regression."""
    if multilabel:
        if classes is not None or outputs == 1:
            raise ValueError(
                f"multilabel: got True with classes {classes!r} and {outputs} outputs, expected None and >= 2"
            )
        return np.eye(outputs, dtype=int)
    if classes is None:
        return None
    labels, expected = np.asarray(classes), max(outputs, 2)
    if labels.shape != (expected,):
        raise ValueError(f"classes: got shape {labels.shape}, expected {expected} for a network with {outputs} outputs")
    if not np.array_equal(np.unique(labels), labels):
        raise ValueError(f"classes: got {labels.tolist()}, expected different ones in ascending order")
    return labels


def parameters_of(dense: Sequence[Dense]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return copies of the weights, (n, m) in scikit-learn, and of the biases."""
    biases = [np.zeros(layer.outputs, layer.weight.dtype) if layer.bias is None else layer.bias for layer in dense]
    return [layer.weight.T.copy(order="C") for layer in dense], [bias.copy() for bias in biases]


def fitted(mlp: Any, weights: list[np.ndarray], biases: list[np.ndarray], output: str) -> Any:
    """Return the estimator with what its `fit` would leave, after no epoch: `partial_fit` goes on."""
    mlp.coefs_, mlp.intercepts_, mlp.out_activation_ = weights, biases, output
    mlp.n_features_in_, mlp.n_outputs_, mlp.n_layers_ = len(weights[0]), len(biases[-1]), len(weights) + 1
    mlp.n_iter_, mlp.t_, mlp.loss_, mlp.best_loss_, mlp.loss_curve_ = 0, 0, np.inf, np.inf, []
    mlp.validation_scores_ = mlp.best_validation_score_ = None
    mlp._no_improvement_count = 0
    return mlp
