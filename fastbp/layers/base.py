"""What all layers share: sizes, a place in one network, and use alone as a network of one layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.attributes import Declared, fixed

if TYPE_CHECKING:
    from fastbp.sequential import Sequential


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
            from fastbp.sequential import Sequential

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
