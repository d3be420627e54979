"""The layer Dropout."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from fastbp.checks import real_number
from fastbp.layers.base import Layer

if TYPE_CHECKING:
    from fastbp.sequential import Sequential


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
