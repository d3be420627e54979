"""The layer Dense."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.activations import CustomActivation, as_activation
from fastbp.attributes import fixed
from fastbp.checks import whole_number
from fastbp.layers.base import Layer
from fastbp.layers.initial import copy_in, initial

if TYPE_CHECKING:
    from fastbp.sequential import Sequential


class Dense(Layer):
    """A dense layer: activation(x @ weight.T + bias).

    inputs, outputs: neurons of the layer before (n) and of this one (m). activation: a name, a code of `fb.Activation`, or
    what `fb.activations.custom` returns. weight_init: "glorot_uniform" (or he_, lecun_, _normal), "zeros", or an array
    (m, n); bias_init: "zeros" or an array (m,). dtype and seed count for a layer that is used alone.
    `weight` (m, n), `bias` (m,), `weight_gradient` and `bias_gradient` are views of the network's flat vectors;
    assigning to them copies in. All else is fixed.
    """

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
        initial(
            weight_init, "weight_init", (self.outputs, self.inputs), 0, 0
        )  # refuses now what would be refused later
        initial(bias_init, "bias_init", (self.outputs,), 0, 0)
        self.weight_init, self.bias_init = weight_init, bias_init
        self.size = self.outputs * (self.inputs + self.has_bias)  # m n weights, then m biases

    def __repr__(self) -> str:
        name = self.activation.name if isinstance(self.activation, CustomActivation) else self.activation
        return f"Dense({self.inputs}, {self.outputs}, activation={name!r}{'' if self.has_bias else ', bias=False'})"

    def join(self, network: Sequential, start: int, inputs: int) -> None:
        super().join(network, start, inputs)
        self._weights = slice(start, start + self.outputs * self.inputs)
        self._bias = slice(self._weights.stop, start + self.size)

    def check_values(self, dtype: Any) -> None:
        for name, shape in (("weight_init", (self.outputs, self.inputs)), ("bias_init", (self.outputs,))):
            if not isinstance(values := getattr(self, name), str):
                initial(values, name, shape, 0, 0, dtype)

    @property
    def held_by_input(self) -> bool:
        """Whether memory holds `weight.T` in C order, as of a first layer: its forward pass reads weights input by input, and
        no pass reads them output by output, as propagating delta does."""
        return self.owner().layers[0] is self

    def _as_weight(self, vector: np.ndarray) -> np.ndarray:
        flat = vector[self._weights]
        if self.held_by_input:
            return flat.reshape(self.inputs, self.outputs).T
        return flat.reshape(self.outputs, self.inputs)

    @property
    def weight(self) -> np.ndarray:
        return self._as_weight(self.owner().parameters)

    @weight.setter
    def weight(self, values: Any) -> None:
        copy_in("weight", self.weight, values)

    @property
    def bias(self) -> np.ndarray | None:
        return self.owner().parameters[self._bias] if self.has_bias else None

    @bias.setter
    def bias(self, values: Any) -> None:
        copy_in("bias", self._with_bias("bias", self.bias), values)

    @property
    def weight_gradient(self) -> np.ndarray:
        return self._as_weight(self.owner().gradients)

    @weight_gradient.setter
    def weight_gradient(self, values: Any) -> None:
        copy_in("weight_gradient", self.weight_gradient, values)

    @property
    def bias_gradient(self) -> np.ndarray | None:
        return self.owner().gradients[self._bias] if self.has_bias else None

    @bias_gradient.setter
    def bias_gradient(self, values: Any) -> None:
        copy_in("bias_gradient", self._with_bias("bias_gradient", self.bias_gradient), values)

    @staticmethod
    def _with_bias(name: str, vector: np.ndarray | None) -> np.ndarray:
        if vector is None:
            raise ValueError(f"{name}: got an assignment, expected none: the layer was made with bias=False")
        return vector
