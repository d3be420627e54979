"""Dropout: inputs set to 0 at random while a network is trained."""

from __future__ import annotations

from array import array
from typing import Any, ClassVar

from fastbp.checks import real_number
from fastbp.engine.memory import OperationSpec
from fastbp.engine.operations.dropout import DropoutOwn, dropout_backward, dropout_forward
from fastbp.layers.base import SameSize


class Dropout(SameSize):
    """Sets each input to 0 with probability `rate` in training, and divides the others by 1 - rate; nothing otherwise.

    Srivastava et al. (2014). Which ones depends on the network's seed, the step, the layer and the element alone.
    `rate` may be set at any time, and counts from the next call, inside `@njit` too.
    """

    SETTINGS: ClassVar = {"rate": (int, float)}

    def __init__(self, rate: float):
        super().__init__()
        self._rate = array("d", [0.0])  # where compiled code reads it
        self.rate = rate

    def __repr__(self) -> str:
        return f"Dropout({self.rate})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_rate": self.rate}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _rate=array("d", [state["_rate"]]))

    @property
    def rate(self) -> float:
        """The probability of 0."""
        return self._rate[0]

    @rate.setter
    def rate(self, value: Any) -> None:
        self._rate[0] = real_number("rate", value, at_least=0, below=1)

    def operation(self, dtype: str) -> OperationSpec:
        rate = self._rate.buffer_info()[0]  # an address, for as long as this layer lives
        return self.spec(dropout_forward.of(dtype), dropout_backward.of(dtype), own=DropoutOwn(rate))
