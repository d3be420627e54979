"""Arrays as blocks of arguments for compiled code, which live as long as the object that holds them."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from fastbp.compiler.arrays import describe_in_python
from fastbp.compiler.llvm import places, value_in
from fastbp.compiler.raised import raise_again
from fastbp.engine.memory import Training, set_fields, zeros_apart
from fastbp.engine.slices import Slice
from fastbp.engine.table import AT_RAISED


class Description:
    """The Array of a NumPy array (or of None), at an address, for as long as this object lives."""

    def __init__(self, x: np.ndarray | None):
        self.kept = x
        self.fields = array("q", describe_in_python(x))  # made in a tenth of the time that NumPy takes
        self.address = self.fields.buffer_info()[0]


NO_ARRAY = Description(None)


def raise_from(training: Training) -> None:
    """Raise what a function of the user's raised while code ran on `training`, if anything."""
    raise_again(training.network, AT_RAISED)


class SliceBlock:
    """A Slice at an address, and what it refers to, for as long as this object lives."""

    def __init__(self, training: Training, **arrays: Any):
        described = {name: NO_ARRAY if x is None else Description(x) for name, x in arrays.items()}
        self.training, self.kept = training, described
        x, y, weights, out = (described.get(name, NO_ARRAY).address for name in ("x", "y", "weights", "out"))
        network = training.network.ctypes.data
        self.fields = zeros_apart(len(places(Slice)), np.int64)
        self.set(network=network, x=x, y=y, weights=weights, out=out)
        self.address = self.fields.ctypes.data

    def run(self, code: Any, workers: int) -> None:
        """Run code of (args, region) on it, without the GIL; raises what a function of the user's raised."""
        code.of(self.training.parameters.dtype.name).run(self.address, workers)
        raise_from(self.training)

    def set(self, **values: float) -> None:
        set_fields(self.fields, places(Slice), **values)

    def __getitem__(self, name: str) -> Any:
        """Return the value of a field of the Slice."""
        return value_in(self.fields, Slice, name)


def slice_block(training: Training, first: int = 0, last: int = 0, **arrays: Any) -> SliceBlock:
    block = SliceBlock(training, **arrays)
    block.set(first=first, last=last)
    return block
