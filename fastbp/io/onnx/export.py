"""A network as an ONNX model, for onnxruntime and whatever else reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastbp.io.named import check_known, check_named
from fastbp.io.onnx.activations import activate
from fastbp.io.onnx.graph import Graph, Value, node
from fastbp.io.state_dict import module_numbers
from fastbp.layers.dense import Dense
from fastbp.layers.dropout import Dropout
from fastbp.layers.scale import Scale
from fastbp.network.contract import NetworkLayer, Vectors
from fastbp.network.network import Network

OUTPUTS = {
    "softmax": lambda value: node("Softmax", value, axis=1),
    "sigmoid": lambda value: node("Sigmoid", value),
    "exp": lambda value: node("Exp", value),
}


def gemm(value: Value, layer: NetworkLayer, weight: Value, bias: Value | None = None) -> Value:
    return node("Gemm", value, weight, *([] if bias is None else [bias]), transB=1)


def nothing(value: Value, layer: NetworkLayer) -> Value:
    return value


def product(value: Value, layer: NetworkLayer, factors: Value) -> Value:
    return node("Mul", value, factors)


NODES: dict[type, Callable[..., Value]] = {Dense: gemm, Dropout: nothing, Scale: product}
"""What writes a layer without its activation, from its input and its tensors, by the class of the layer."""


def model_of(net: Network, output: str | None) -> Any:
    """Return the ModelProto of a network without dropout; parameters have the names of the state_dict."""
    if output is not None and output not in OUTPUTS:
        raise ValueError(f"output: got {output!r}, expected None or one of {', '.join(OUTPUTS)}")
    check_named("to_onnx", net.layers)
    check_known("to_onnx", "ONNX", net.layers, NODES)
    graph, vectors = Graph(net.dtype, net.inputs), Vectors(net.parameters, net.statistics)
    value = graph.x
    for place, layer in module_numbers(net.layers):
        views = {tensor.name: layer.view(vectors, tensor.name) for tensor in layer.tensors}
        tensors = [graph.tensor(f"{place}.{name}", view) for name, view in views.items()]
        value = activate(NODES[type(layer)](value, layer, *tensors), layer.activation)
    if output is not None:
        OUTPUTS[output](value)
    return graph.model(net.outputs)
