"""Layers: names, shapes, initial parameters. A network (or the layer alone, as a network of one) does the work."""

from __future__ import annotations

import functools
import itertools
from array import array
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from fastbp import data
from fastbp._code import Code
from fastbp.activations import CustomActivation, as_activation
from fastbp.arrays import any_array
from fastbp.attributes import Declared, fixed
from fastbp.engine.custom import custom_backward, custom_forward
from fastbp.schedules import real_number, whole_number

if TYPE_CHECKING:
    from fastbp.model import Sequential

__all__ = ["Custom", "Dense", "Dropout", "Layer"]

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


def initial(
    init: Any, name: str, shape: tuple[int, ...], seed: int, stream: int, dtype: Any = np.float64
) -> np.ndarray:
    """Initial values (float64) by the name of a scheme or from an array, whose numbers `dtype` holds.

    Glorot & Bengio (2010): variance 2 / (n + m); He et al. (2015): 2 / n; LeCun et al. (1998): 1 / n, for n inputs and m
    outputs; uniform within +-sqrt(3 variance), or normal.
    """
    if isinstance(init, str):
        scheme, _, form = init.partition("_")
        if init not in INITIALISERS:
            raise ValueError(f"{name}: got {init!r}, expected an array or one of {', '.join(INITIALISERS)}")
        if init == "zeros" or len(shape) == 1:
            return np.zeros(shape)
        m, n = shape
        variance = GAINS[scheme] / (0.5 * (n + m) if scheme == "glorot" else n)
        if form == "normal":
            return np.sqrt(variance) * normals(seed, stream, m * n).reshape(shape)
        return np.sqrt(3.0 * variance) * (2.0 * uniforms(seed, stream, m * n).reshape(shape) - 1.0)
    values = any_array(name, init, "real numbers")
    if values.dtype.kind not in "iuf":
        raise TypeError(f"{name}: got dtype {values.dtype}, expected real numbers")
    if values.shape != shape:
        raise ValueError(f"{name}: got shape {values.shape}, expected {shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: got NaN or infinity, expected finite numbers")
    if found := data.first_overflow(name, values, dtype):
        raise ValueError(found)
    return values.astype(np.float64)


def copy_in(name: str, target: np.ndarray, values: Any) -> None:
    """Copy real, finite numbers of its shape into `target`; whose own view comes from `net.gradients *= 2` and the like."""
    same = isinstance(values, np.ndarray) and values.__array_interface__ == target.__array_interface__
    if not same:
        target[...] = initial(any_array(name, values, "real numbers"), name, target.shape, 0, 0, target.dtype)


class Layer(Declared):
    """What all layers share: `inputs`, `outputs`, a place in one network, and use alone as a network of one layer."""

    inputs: int = fixed()
    outputs: int = fixed()
    size: int = fixed()  # of its parameters

    def __init__(self, dtype: Any, seed: int | None):
        self._network: Sequential | None = None
        self._alone = (dtype, seed)
        self._weights, self._bias = slice(0, 0), slice(0, 0)

    @property
    def network(self) -> Sequential | None:
        """The one that the layer belongs to, if there is one."""
        return self._network

    def join(self, network: Sequential, start: int, inputs: int) -> None:
        """Become a layer of the network, with its parameters from `start` on in the flat vectors, fed with `inputs` columns."""
        self._network, self._weights = network, slice(start, start + self.size)

    def apart(self) -> Layer:
        """The same layer without its network."""
        layer = type(self).__new__(type(self))
        vars(layer).update(vars(self), _network=None)
        return layer

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For copies and pickles: a layer of a network is one of a copy of that network."""
        network = self._network
        if network is None:
            return super().__reduce_ex__(protocol)
        place = next(i for i, layer in enumerate(network.layers) if layer is self)
        return layer_at, (network, place)

    def check_values(self, dtype: Any) -> None:
        """ValueError for an initial value that `dtype` does not hold."""

    def owner(self) -> Sequential:
        """The network that the layer belongs to; a network of this layer alone, made now, if there is none yet."""
        if self._network is None:
            from fastbp.model import Sequential

            dtype, seed = self._alone
            Sequential(self, dtype=dtype, seed=seed)
        assert self._network is not None
        return self._network

    def forward(self, x: Any) -> np.ndarray:
        """The output (K, outputs) for a minibatch x (K, inputs), of a layer alone."""
        return self._network_of_one("forward").forward(x)

    def backward(self, delta: Any) -> np.ndarray:
        """dC/dx (K, inputs) from delta = dC/d(output) (K, outputs), after `forward`; the gradients are left in the layer."""
        delta_x = self._network_of_one("backward").backward(delta, input_delta=True)
        assert delta_x is not None
        return delta_x

    def _network_of_one(self, method: str) -> Sequential:
        network = self.owner()
        if len(network.layers) > 1:
            raise ValueError(
                f"layer: {method} is for a layer alone; this one belongs to a network, call the network's {method}"
            )
        return network


def layer_at(network: Sequential, place: int) -> Layer:
    return network.layers[place]


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


class Dropout(Layer):
    """Sets each input to 0 with probability `rate` in training, and divides the others by 1 - rate; nothing otherwise.

    Srivastava et al. (2014). Which ones depends on the network's seed, the step, the layer and the element alone.
    `rate` may be set at any time, and counts from the next call, inside `@njit` too.
    """

    def __init__(self, rate: float):
        super().__init__("float32", 0)
        self._columns: int | None = None
        self._rate = array("d", [0.0])  # where compiled code reads it
        self.rate = rate
        self.size = 0

    def __repr__(self) -> str:
        return f"Dropout({self.rate})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_rate": self.rate}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _rate=array("d", [state["_rate"]]))

    def join(self, network: Sequential, start: int, inputs: int) -> None:
        super().join(network, start, inputs)
        self._columns = inputs

    @property
    def inputs(self) -> int:  # type: ignore[override]
        """As many as the layer before has outputs."""
        if self._columns is None:
            raise AttributeError("inputs: got a Dropout of no network, expected one that is a layer of one")
        return self._columns

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return self.inputs

    @property
    def rate(self) -> float:
        return self._rate[0]

    @rate.setter
    def rate(self, value: Any) -> None:
        self._rate[0] = real_number("rate", value, at_least=0, below=1)

    @property
    def rate_address(self) -> int:
        """Where the rate lies in memory, for as long as this layer lives."""
        return self._rate.buffer_info()[0]


class Custom(Layer):
    """An operation of the user's, from two `@njit` functions on whole minibatches.

    forward(x, parameters, out) fills out (K, outputs) from x (K, inputs); backward(delta, x, out, parameters, gradients,
    delta_x) fills gradients (a flat vector like parameters) and delta_x (K, inputs) from delta = dC/d(out). parameters:
    the initial values of the operation's parameters, a vector; weight decay does not spare any of them. Compiled anew in
    every process, once for all layers of the same two functions. What they raise in a call of fastbp ends that call, with the
    network as it was before the step. `fb.check_gradients` tells whether forward and backward agree.
    """

    parameters_init: np.ndarray = fixed()

    def __init__(self, inputs: int, outputs: int, forward: Callable, backward: Callable, parameters: Any = ()):
        super().__init__("float32", 0)
        self.inputs = whole_number("inputs", inputs, at_least=1)
        self.outputs = whole_number("outputs", outputs, at_least=1)
        for name, function in (("forward", forward), ("backward", backward)):
            if not hasattr(function, "py_func"):
                raise TypeError(f"{name}: got {function!r}, expected a function compiled with @njit")
        values = any_array("parameters", parameters, "a vector of real numbers")
        self.parameters_init = initial(values, "parameters", (values.size,), 0, 0)
        self.size = values.size
        self._functions = (forward, backward)

    def __repr__(self) -> str:
        return f"Custom({self.inputs}, {self.outputs}, {self._functions[0].__name__})"

    def check_values(self, dtype: Any) -> None:
        initial(self.parameters_init, "parameters", (self.size,), 0, 0, dtype)

    def codes(self, dtype: str) -> tuple[int, int]:
        """The addresses of the compiled forward and backward operation."""
        forward, backward = custom_codes(*self._functions, dtype)
        return forward.resolve(), backward.resolve()


_numbers = itertools.count()


@functools.cache  # layers of the same functions share them, for as long as numba keeps machine code: until the process ends
def custom_codes(forward: Callable, backward: Callable, dtype: str) -> list[Code]:
    """The codes of an operation of the user's."""
    place, real = (__name__, "Custom", str(next(_numbers)), dtype), getattr(types, dtype)
    functions = (custom_forward(real, forward), custom_backward(real, backward))
    return [Code(f, (*place, f.__name__), cached=False) for f in functions]


def calls_user(layer: Layer) -> bool:
    """Whether functions of the user's are a part of it."""
    return isinstance(layer, Custom) or isinstance(getattr(layer, "activation", None), CustomActivation)


def check_named(method: str, layers: Iterable[Layer], activations: bool = True) -> None:
    """All are layers that names describe, with such `activations` too: ValueError for what is code of the user's."""
    for layer in layers:
        if isinstance(layer, Custom):
            raise ValueError(f"{method}: got {layer!r}, expected layers that a file can name: a custom one is code")
        if activations and isinstance(layer, Dense) and not isinstance(layer.activation, str):
            raise ValueError(
                f"{method}: got {layer!r}, expected activations that a file can name: a custom one is code"
            )
