"""A network as an ONNX model, for onnxruntime and whatever else reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastbp.io.onnx.activations import activate
from fastbp.io.onnx.graph import Graph, node
from fastbp.io.state_dict import module_numbers, state_dict
from fastbp.layers.base import Layer
from fastbp.layers.dense import Dense
from fastbp.layers.named import check_named

OUTPUTS = {
    "softmax": lambda value: node("Softmax", value, axis=1),
    "sigmoid": lambda value: node("Sigmoid", value),
    "exp": lambda value: node("Exp", value),
}


def model_of(layers: Sequence[Layer], dtype: np.dtype, output: str | None) -> Any:
    """The ModelProto of layers without dropout; parameters have the names of the state_dict."""
    if output is not None and output not in OUTPUTS:
        raise ValueError(f"output: got {output!r}, expected None or one of {', '.join(OUTPUTS)}")
    check_named("to_onnx", layers)
    graph = Graph(dtype, layers[0].inputs)
    tensors = {name: graph.tensor(name, array) for name, array in state_dict(layers, "").items()}
    value = graph.x
    for place, layer in module_numbers(layers):
        if isinstance(layer, Dense):
            bias = [tensors[f"{place}.bias"]] if layer.has_bias else []
            value = node("Gemm", value, tensors[f"{place}.weight"], *bias, transB=1)
            value = activate(value, layer.activation)
    if output is not None:
        OUTPUTS[output](value)
    return graph.model(layers[-1].outputs)
