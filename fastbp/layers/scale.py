"""Scale: a trained factor for each input."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastbp.engine.memory import OperationSpec
from fastbp.engine.operations.scale import scale_backward, scale_forward, scale_gradient
from fastbp.layers.base import SameSize, parameter
from fastbp.network.contract import Tensor


class Scale(SameSize):
    """Multiplies each input by a trained factor: x * scale.

    `scale` (inputs,), 1 at first, and `scale_gradient`, the sum over the minibatch of delta * x, are views of the network's
    flat vectors; assigning to them copies in. Weight decay does not touch them.
    """

    SETTINGS: ClassVar = {}

    scale = parameter("scale")
    scale_gradient = parameter("scale", gradient=True)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        n = self.place.columns  # 0 until it joins a network
        return (Tensor("scale", (n,), np.ones(n), "scale", decays=False),)

    def operation(self, dtype: str) -> OperationSpec:
        scratch = np.dtype(dtype).itemsize * self.outputs
        codes = (code.of(dtype) for code in (scale_forward, scale_backward, scale_gradient))
        return self.spec(*codes, scratch_bytes=scratch)
