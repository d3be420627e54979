"""What all layers share: a place in one network, tensors as views of its vectors, and use alone as a network of one layer."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastbp.attributes import Declared, fixed
from fastbp.compiler.code import Code
from fastbp.data.parameters import copy_in
from fastbp.engine.memory import OperationSpec
from fastbp.layers.initial import check_initial, initial, stream_of
from fastbp.network.contract import NetworkLayer, Place, Tensor, Vectors
from fastbp.network.network import Network


class Layer(Declared, NetworkLayer):
    """What all layers share: `inputs`, `outputs`, a place in one network, and use alone as a network of one layer."""

    inputs: int = fixed()
    outputs: int = fixed()
    activation: Any = "identity"
    custom: str | None = None
    SETTINGS: ClassVar[dict[str, tuple[type, ...]] | None] = (
        None  # arguments that a file has, with their types; None: code
    )
    network_class: ClassVar[type[Network]] = Network  # of a layer alone; Sequential puts itself here
    _place = Place(0, 0, 0, 0)  # until it joins a network

    def __init__(self, dtype: Any = "float32", seed: int | None = 0):
        self._network: Network | None = None
        self._alone = (dtype, seed)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @property
    def network(self) -> Any:
        """The network that the layer belongs to, if there is one."""
        return self._network

    @property
    def place(self) -> Place:
        """Where in its network the layer lies."""
        return self._place

    def outputs_after(self, columns: int | None) -> int:
        if columns is not None and columns != self.inputs:
            raise ValueError(f"layers: got {self!r} after {columns} outputs, expected as many inputs")
        return self.outputs

    def join(self, network: Network, place: Place) -> None:
        self._network, self._place = network, place

    def apart(self) -> Layer:
        """Return the same layer without its network."""
        layer = type(self).__new__(type(self))
        vars(layer).update(vars(self), _network=None)
        return layer

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copy and pickle a layer of a network as one of a copy of that network."""
        network = self._network
        if network is None:
            return super().__reduce_ex__(protocol)
        place = next(i for i, layer in enumerate(network.layers) if layer is self)
        return layer_at, (network, place)

    def owner(self) -> Network:
        """Return the network that the layer belongs to; a network of this layer alone, made now, if there is none yet."""
        if self._network is None:
            dtype, seed = self._alone
            return self.network_class(self, dtype=dtype, seed=seed)
        return self._network

    def forward(self, x: Any) -> np.ndarray:
        """Return the output (K, outputs) for a minibatch x (K, inputs), of a layer alone."""
        return self._network_of_one("forward").forward(x)

    def backward(self, delta: Any) -> np.ndarray:
        """Return dC/dx (K, inputs) from delta = dC/d(output) (K, outputs), after `forward`; the gradients are left in the
        layer."""
        delta_x = self._network_of_one("backward").backward(delta, input_delta=True)
        assert delta_x is not None
        return delta_x

    def _network_of_one(self, method: str) -> Network:
        network = self.owner()
        if len(network.layers) > 1:
            raise ValueError(
                f"layer: {method} is for a layer alone; this one belongs to a network, call the network's {method}"
            )
        return network

    # ----------------------------------------------------------------------------------------------------------- tensors

    def view(self, vectors: Vectors, name: str) -> np.ndarray | None:
        kinds = (
            (vectors.parameters, self._place.parameters, self.tensors),
            (vectors.statistics, self._place.statistics, self.statistics),
        )
        for vector, start, tensors in kinds:
            for tensor in tensors:
                if tensor.name == name:
                    return self.lay_out(tensor, vector[start : start + tensor.size])
                start += tensor.size
        return None

    def check_values(self, dtype: np.dtype) -> None:
        for tensor in self.tensors:
            check_initial(tensor.init, tensor.argument, tensor.shape, dtype)

    def initialise(self, seed: int) -> None:
        owner = self.owner()
        for i, tensor in enumerate(self.tensors):
            stream = stream_of(self._place.number, i)
            view = self.view(Vectors(owner.parameters, owner.statistics), tensor.name)
            assert view is not None
            view[...] = initial(tensor.init, tensor.argument, tensor.shape, seed, stream)
        for tensor in self.statistics:
            view = self.view(Vectors(owner.parameters, owner.statistics), tensor.name)
            assert view is not None
            view[...] = tensor.init

    def lay_out(self, tensor: Tensor, flat: np.ndarray) -> np.ndarray:
        """Return the numbers of a tensor, in memory as `flat` is, in their shape."""
        return flat.reshape(tensor.shape)

    # --------------------------------------------------------------------------------------------------------- operation

    def spec(self, forward: Code, backward: Code, gradient: Code | None = None, **more: Any) -> OperationSpec:
        """Return the operation of these codes; `more` are other fields of OperationSpec."""
        first = self._place.parameters
        return OperationSpec(
            forward.resolve(), backward.resolve(), 0 if gradient is None else gradient.resolve(),
            inputs=self.inputs, outputs=self.outputs, flops=self.flops,
            parameters=slice(first, first + self.size), decayed=self.decayed, statistics=self._place.statistics, **more,
        )  # fmt: skip

    @property
    def decayed(self) -> int:
        """The number of its parameters, the first ones, that weight decay touches."""
        return sum(tensor.size for tensor in self.tensors if tensor.decays)

    def settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.SETTINGS or ()}

    @classmethod
    def from_settings(cls, **settings: Any) -> Layer:
        """Return the layer of `settings`, whose parameters are to be overwritten."""
        return cls(**settings)


class SameSize(Layer):
    """A layer that hands on as many columns as it is given, and learns their number when it joins a network."""

    @property
    def inputs(self) -> int:  # type: ignore[override]
        """As many as the layer before has outputs."""
        if not self._place.columns:
            raise AttributeError(
                f"inputs: got a {type(self).__name__} of no network, expected one that is a layer of one"
            )
        return self._place.columns

    @property
    def outputs(self) -> int:  # type: ignore[override]
        """As many as inputs."""
        return self.inputs

    def outputs_after(self, columns: int | None) -> int:
        if columns is None:
            raise ValueError(f"layers: got {type(self).__name__} first, expected a layer that knows its inputs")
        return columns


def layer_at(network: Network, place: int) -> Layer:
    """Return the layer of a network at a place: what a layer is pickled as."""
    return network.layers[place]


def parameter(name: str, gradient: bool = False) -> Any:
    """Return an attribute of a layer: its tensor of that name, or the gradient of it, as a view of its network's vectors;
    what is assigned is copied in. None where the layer has no such tensor."""
    attribute = f"{name}_gradient" if gradient else name

    def get(layer: Layer) -> np.ndarray | None:
        owner = layer.owner()
        return layer.view(Vectors(owner.gradients if gradient else owner.parameters, owner.statistics), name)

    def assign(layer: Layer, values: Any) -> None:
        target = get(layer)
        if target is None:
            raise ValueError(f"{attribute}: got an assignment, expected none: the layer was made with {name}=False")
        copy_in(attribute, target, values)

    what = f"The gradient of `{name}`" if gradient else f"The {name}"
    return property(get, assign, doc=f"{what}, a view of the network's flat vector; assigning to it copies in.")
