"""What a network asks of a layer. A layer that answers is a whole one: nobody else asks which layer it is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastbp.engine.memory import OperationSpec

if TYPE_CHECKING:
    from fastbp.network.network import Network


class Tensor(NamedTuple):
    """A block of a network's vectors that belongs to one layer."""

    name: str  # in files and errors, and of the layer's attribute
    shape: tuple[int, ...]
    init: Any  # initial values: the name of a scheme, or an array
    argument: str  # the argument that they came by, for errors
    decays: bool = True  # whether weight decay and penalties touch it

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class NetworkLayer(ABC):
    """A layer as a network sees it.

    `tensors` are trained; those that decay come first. `statistics` are kept beside them, saved, copied and restored with
    them, and changed by the layer's own operation alone.
    """

    inputs: int
    outputs: int
    activation: Any = "identity"  # what the layer ends with
    custom: str | None = None  # what of it is code of the user's: "layers", the whole of it, or "activations"

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return ()

    @property
    def statistics(self) -> tuple[Tensor, ...]:
        return ()

    @property
    def size(self) -> int:
        """The number of trained parameters."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def flops(self) -> float:
        """Floating-point operations of the forward pass for one sample: what decides about threads."""
        return 64.0 * self.outputs

    @abstractmethod
    def outputs_after(self, columns: int | None) -> int:
        """Return the columns that it hands on when it is given `columns`, None where it is the first layer; ValueError
        where these do not fit."""

    @abstractmethod
    def check_values(self, dtype: np.dtype) -> None:
        """ValueError for an initial value that `dtype` does not hold."""

    @abstractmethod
    def join(self, network: Network, place: Place) -> None:
        """Become a layer of the network."""

    @abstractmethod
    def initialise(self, seed: int) -> None:
        """Write the initial values into the network's vectors."""

    @abstractmethod
    def view(self, vectors: Vectors, name: str) -> np.ndarray | None:
        """Return the tensor or statistic of that name as a view of `vectors`; None where the layer has none."""

    @abstractmethod
    def operation(self, dtype: str) -> OperationSpec:
        """Return the layer as an operation of the engine's table."""

    @property
    @abstractmethod
    def network(self) -> Any:
        """The network that the layer belongs to, if there is one."""

    @property
    @abstractmethod
    def place(self) -> Place:
        """Where in its network the layer lies."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what a file says of the layer, beside its tensors: arguments of its class, by the names in `SETTINGS`."""


class Place(NamedTuple):
    """Where in a network a layer lies."""

    number: int  # of the layer
    columns: int  # that it is given; of the first layer its own
    parameters: int  # where its parameters begin
    statistics: int  # where its statistics begin


class Vectors(NamedTuple):
    """The two vectors of a network that tensors and statistics are views of."""

    parameters: np.ndarray
    statistics: np.ndarray
