"""Dense: weights, biases, an activation."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np

from fastbp.activations import CustomActivation, activation_passes, as_activation
from fastbp.attributes import fixed
from fastbp.checks import whole_number
from fastbp.engine.memory import OperationSpec
from fastbp.engine.operations.dense import DenseOwn, dense_backward, dense_forward, dense_gradient, work_bytes
from fastbp.layers.base import Layer, parameter
from fastbp.layers.initial import check_initial
from fastbp.network.contract import Tensor


class Dense(Layer):
    """A dense layer: activation(x @ weight.T + bias).

    inputs, outputs: neurons of the layer before (n) and of this one (m). activation: a name, a code of `fb.Activation`, or
    what `fb.activations.custom` returns. weight_init: "glorot_uniform" (or he_, lecun_, _normal), "zeros", or an array
    (m, n); bias_init: "zeros" or an array (m,). dtype and seed count for a layer that is used alone.
    `weight` (m, n), `bias` (m,), `weight_gradient` and `bias_gradient` are views of the network's flat vectors;
    assigning to them copies in. All else is fixed.
    """

    SETTINGS: ClassVar = {"inputs": (int,), "outputs": (int,), "activation": (str,), "bias": (bool,)}

    weight = parameter("weight")
    weight_gradient = parameter("weight", gradient=True)
    bias = parameter("bias")
    bias_gradient = parameter("bias", gradient=True)

    activation: Any = fixed()
    has_bias: bool = fixed()
    weight_init: Any = fixed()
    bias_init: Any = fixed()

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: Any = "identity",
        bias: bool = True,
        weight_init: Any = "glorot_uniform",
        bias_init: Any = "zeros",
        *,
        dtype: Any = "float32",
        seed: int | None = 0,
    ):
        super().__init__(dtype, seed)
        self.inputs = whole_number("inputs", inputs, at_least=1)
        self.outputs = whole_number("outputs", outputs, at_least=1)
        self.activation = as_activation(activation)
        if not isinstance(bias, bool | np.bool_):
            raise TypeError(f"bias: got {bias!r}, expected True or False")
        self.has_bias = bool(bias)
        check_initial(weight_init, "weight_init", (self.outputs, self.inputs))
        check_initial(bias_init, "bias_init", (self.outputs,))
        self.weight_init, self.bias_init = weight_init, bias_init

    @property
    def custom(self) -> str | None:  # type: ignore[override]
        """The activation, where it is the user's."""
        return "activations" if isinstance(self.activation, CustomActivation) else None

    def __repr__(self) -> str:
        name = self.activation.name if isinstance(self.activation, CustomActivation) else self.activation
        return f"Dense({self.inputs}, {self.outputs}, activation={name!r}{'' if self.has_bias else ', bias=False'})"

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        weight = Tensor("weight", (self.outputs, self.inputs), self.weight_init, "weight_init")
        bias = Tensor("bias", (self.outputs,), self.bias_init, "bias_init", decays=False)
        return (weight, bias) if self.has_bias else (weight,)

    @property
    def flops(self) -> float:
        return 2.0 * self.inputs * self.outputs

    @property
    def held_by_input(self) -> bool:
        """Whether memory holds `weight.T` in C order, as of a first layer: its forward pass reads weights input by input, and
        no pass reads them output by output, as propagating delta does."""
        return self._place.number == 0

    def lay_out(self, tensor: Tensor, flat: np.ndarray) -> np.ndarray:
        if tensor.name == "weight" and self.held_by_input:
            return flat.reshape(self.inputs, self.outputs).T
        return flat.reshape(tensor.shape)

    def operation(self, dtype: str) -> OperationSpec:
        forward_pass, backward_pass, from_output = activation_passes(self.activation, dtype)
        identity = self.activation == "identity"
        activates = self.has_bias or not identity
        return self.spec(
            dense_forward.of(dtype), dense_backward.of(dtype), dense_gradient.of(dtype),
            own=DenseOwn(int(self.held_by_input), int(self.has_bias), forward_pass if activates else 0),
            work_bytes=partial(work_bytes, dtype, self.inputs, self.outputs),
            scratch_bytes=np.dtype(dtype).itemsize * self.outputs,
            derivative=0 if identity else backward_pass, from_output=from_output, propagates=True,
        )  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """Return the arguments; `bias` is kept as `has_bias`."""
        return {"inputs": self.inputs, "outputs": self.outputs, "activation": self.activation, "bias": self.has_bias}

    @classmethod
    def from_settings(cls, **settings: Any) -> Dense:
        return cls(**settings, weight_init="zeros")
