"""Converters for skl2onnx, registered as soon as it is imported: `skl2onnx.to_onnx(pipeline)` then knows the estimators."""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import sys
from typing import Any

import numpy as np

OPSET = 17  # of the nodes that are written


class Registering(importlib.abc.MetaPathFinder):
    """Calls `register` after the import of skl2onnx, and finds nothing itself."""

    def __init__(self, register: Any):
        self.register = register

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "skl2onnx":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                run(module)
                self.register()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def register_when_imported(classifier: type, regressor: type) -> None:
    """Make both known to skl2onnx, now if it is there, or else when it comes."""
    register_both = functools.partial(register, classifier, regressor)
    if "skl2onnx" in sys.modules:
        register_both()
    else:
        sys.meta_path.insert(0, Registering(register_both))


def register(classifier: type, regressor: type) -> None:
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator as shapes

    options = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]}
    update_registered_converter(
        classifier, "FastbpMLPClassifier", shapes.calculate_linear_classifier_output_shapes, write_classifier,
        options=options,
    )  # fmt: skip
    update_registered_converter(
        regressor, "FastbpMLPRegressor", shapes.calculate_linear_regressor_output_shapes, write_regressor
    )


def write_regressor(scope: Any, operator: Any, container: Any) -> None:
    nodes = Nodes(scope, operator, container)
    nodes.give(0, nodes.network("exp" if operator.raw_operator.out_activation_ == "exp" else None))


def write_classifier(scope: Any, operator: Any, container: Any) -> None:
    nodes, e = Nodes(scope, operator, container), operator.raw_operator
    logits, several = nodes.network(None), e.out_activation_ == "logistic" and e.n_outputs_ > 1
    if several:
        nodes.give(0, nodes.add("Greater", logits, nodes.constant(np.zeros(1, e.network_.dtype))))
        nodes.give(1, nodes.add("Sigmoid", logits))
        return
    if e.out_activation_ == "softmax":
        chances = nodes.add("Softmax", logits, axis=1)
    else:
        chances = nodes.add("Sigmoid", nodes.add("Concat", nodes.add("Neg", logits), logits, axis=1))
    nodes.give(1, chances)
    strings = e.classes_.dtype.kind in "OUS"
    classes = nodes.constant(e.classes_.astype(object if strings else np.int64))
    label = nodes.add("Gather", classes, nodes.add("ArgMax", chances, axis=1, keepdims=0), axis=0)
    nodes.give(0, label)


class Nodes:
    """Writes the nodes of one estimator into the graph that skl2onnx makes."""

    def __init__(self, scope: Any, operator: Any, container: Any):
        import onnx

        self.onnx, self.scope, self.operator, self.container = onnx, scope, operator, container

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Return the name of what a new node gives."""
        output, name = self.scope.get_unique_variable_name(kind), self.scope.get_unique_operator_name(kind)
        self.container.add_node(kind, list(inputs), [output], op_version=OPSET, name=name, **attributes)
        return output

    def constant(self, values: np.ndarray) -> str:
        name = self.scope.get_unique_variable_name("constant")
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
        content = [str(v).encode() for v in values] if values.dtype == object else values.ravel().tolist()
        self.container.add_initializer(name, kind, list(values.shape), content)
        return name

    def give(self, place: int, value: str) -> None:
        """Make it an output of the estimator, in the type that skl2onnx expects there."""
        output = self.operator.outputs[place]
        kind = output.type.to_onnx_type().tensor_type.elem_type
        operator = ("Identity", {}) if kind == self.onnx.TensorProto.STRING else ("Cast", {"to": kind})
        self.container.add_node(
            operator[0], [value], [output.full_name], op_version=OPSET,
            name=self.scope.get_unique_operator_name(operator[0]), **operator[1],
        )  # fmt: skip

    def network(self, output: str | None) -> str:
        """Return what the network gives, which computes in its own dtype."""
        net, helper = self.operator.raw_operator.network_, self.onnx.helper
        graph = net.to_onnx(output=output).graph
        x = self.add("Cast", self.operator.inputs[0].full_name, to=helper.np_dtype_to_tensor_dtype(net.dtype))
        names = {graph.input[0].name: x}
        for tensor in graph.initializer:
            names[tensor.name] = self.constant(self.onnx.numpy_helper.to_array(tensor))
        for node in graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            names[node.output[0]] = self.add(node.op_type, *(names[i] for i in node.input), **attributes)
        return names[graph.output[0].name]
