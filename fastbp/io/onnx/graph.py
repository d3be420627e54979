"""An ONNX graph as it is written, node by node. The one door to the onnx library: `pip install 'fastbp[onnx]'`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from fastbp._version import __version__
from fastbp.checks import require

OPSET = 17
IR_VERSION = 8  # the first that has this opset, so that old runtimes read the file


def require_onnx() -> ModuleType:
    """Import onnx; ImportError with the line that installs it."""
    return require("onnx", "to_onnx needs onnx", "onnx")


class Graph:
    """A graph of one input `x` (batch, inputs), whose numbers are all of one dtype."""

    def __init__(self, dtype: np.dtype, inputs: int):
        self.onnx = require_onnx()
        self.dtype, self.inputs = dtype, inputs
        self.nodes: list[Any] = []
        self.tensors: dict[str, Any] = {}
        self.x = Value(self, "x")

    def tensor(self, name: str, array: Any) -> Value:
        """Add constant numbers under a name of their own."""
        array = np.ascontiguousarray(array, self.dtype)
        self.tensors[name] = self.onnx.numpy_helper.from_array(array, name)
        return Value(self, name)

    def model(self, outputs: int) -> Any:
        """Return the checked ModelProto; its `output` (batch, outputs) is what the last node gives."""
        helper = self.onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        self.nodes[-1].output[0] = "output"
        graph = helper.make_graph(
            self.nodes,
            "fastbp",
            [helper.make_tensor_value_info("x", kind, ["batch", self.inputs])],
            [helper.make_tensor_value_info("output", kind, ["batch", outputs])],
            list(self.tensors.values()),
        )
        made_by = {"producer_name": "fastbp", "producer_version": __version__}
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, **made_by)
        self.onnx.checker.check_model(model, full_check=True)
        return model


class Value:
    """A tensor in a graph: arithmetic with it writes nodes."""

    def __init__(self, graph: Graph, name: str):
        self.graph, self.name = graph, name

    def __neg__(self) -> Value:
        return node("Neg", self)

    def __add__(self, other: Value | float) -> Value:
        return node("Add", self, other)

    def __sub__(self, other: Value | float) -> Value:
        return node("Sub", self, other)

    def __mul__(self, other: Value | float) -> Value:
        return node("Mul", self, other)

    def __rmul__(self, other: float) -> Value:
        return node("Mul", self, other)

    def __truediv__(self, other: Value | float) -> Value:
        return node("Div", self, other)


def node(operator: str, first: Value, *others: Value | float, **attributes: Any) -> Value:
    """Return the result of a new node; numbers become constants of the graph's dtype, each written once."""
    graph = first.graph
    inputs = [first, *(other if isinstance(other, Value) else graph.tensor(repr(other), other) for other in others)]
    name = f"{operator}.{len(graph.nodes)}"
    made = graph.onnx.helper.make_node(operator, [value.name for value in inputs], [name], name, **attributes)
    graph.nodes.append(made)
    return Value(graph, name)
