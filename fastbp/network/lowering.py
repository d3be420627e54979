"""What lies between a network's objects and compiled code: layers as operations of the table, hyper-parameters as fields of
it, NumPy arrays as blocks of arguments."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numba import types

from fastbp import losses, optimizers
from fastbp.activations import activation_passes
from fastbp.compiler.arguments import describe_in_python
from fastbp.compiler.llvm import places, value_in
from fastbp.compiler.raised import raise_again
from fastbp.engine.memory import Layer as Lowered
from fastbp.engine.memory import Training, set_fields, zeros_apart
from fastbp.engine.operations.dense import dense_backward, dense_forward, dense_gradient
from fastbp.engine.operations.dropout import dropout_backward, dropout_forward
from fastbp.engine.slices import Slice
from fastbp.engine.table import AT_RAISED, NETWORK
from fastbp.gemm.isa import blocks_for
from fastbp.kernels.update_rules import rule_constants, update, update_pass
from fastbp.layers.base import Layer
from fastbp.layers.custom import Custom
from fastbp.layers.dense import Dense
from fastbp.layers.dropout import Dropout


def lowered(layer: Layer, dtype: str) -> Lowered:
    """The layer as an operation of the table."""
    if isinstance(layer, Dropout):
        forward, backward = dropout_forward.of(dtype).resolve(), dropout_backward.of(dtype).resolve()
        return Lowered(forward, backward, 0, layer.inputs, layer.outputs, rate=layer.rate_address)
    if isinstance(layer, Custom):
        return Lowered(*layer.codes(dtype), 0, layer.inputs, layer.outputs, weights=layer._weights)
    assert isinstance(layer, Dense)
    forward_pass, backward_pass, from_output = activation_passes(layer.activation, dtype)
    identity = layer.activation == "identity"
    forward, backward, gradient = (code.of(dtype).resolve() for code in (dense_forward, dense_backward, dense_gradient))
    return Lowered(
        forward, backward, gradient, layer.inputs, layer.outputs,
        weights=layer._weights, bias=layer._bias if layer.has_bias else None,
        by_input=layer.held_by_input,
        activation=0 if identity and not layer.has_bias else forward_pass,
        derivative=0 if identity else backward_pass, from_output=from_output, propagates=True,
    )  # fmt: skip


def configure(training: Training, loss: losses.Loss, optimizer: optimizers.Optimizer, dtype: str, fused: bool) -> None:
    configure_loss(training, loss, dtype)
    use_optimizer(training, optimizer, dtype, fused)


def configure_loss(training: Training, loss: losses.Loss, dtype: str) -> None:
    set_fields(
        training.network, NETWORK,
        loss=loss.code(dtype), loss_parameter=float(loss.parameter), loss_scale=float(loss.scale),
        takes_labels=int(loss.takes_labels), least_target=loss.domain.least, most_target=loss.domain.most,
        sum_tolerance=loss.domain.sum_tolerance,
    )  # fmt: skip


def use_optimizer(training: Training, optimizer: optimizers.Optimizer, dtype: str, fused: bool) -> None:
    *numbers, weight_decay = optimizer.numbers
    settings = {f"h{i}": float(numbers[i]) if i < len(numbers) else 0.0 for i in range(4)}
    set_fields(
        training.network, NETWORK,
        update=update.of(dtype, optimizer.rule).resolve(), update_pass=update_pass.of(dtype, optimizer.rule).resolve(),
        rule_constants=rule_constants.of(dtype, optimizer.rule).resolve(), fuses=int(fused),
        weight_decay=float(weight_decay), penalty=0.0,
        clip_norm=float(optimizer.clip_norm or np.inf), clip_value=float(optimizer.clip_value or np.inf), **settings,
    )  # fmt: skip
    training.learning_rate[0] = optimizer.schedule(np.zeros(1))[0]


def longest_sum(dtype: str) -> int:
    """How many terms of a product's sums are added in one block."""
    return blocks_for(getattr(types, dtype)).KC


# ------------------------------------------------------------------------------------------ arrays for compiled code


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
        found = code.of(self.training.parameters.dtype.name)
        found.resolve()
        found.compiled.ctypes(self.address, workers)
        raise_from(self.training)

    def set(self, **values: float) -> None:
        set_fields(self.fields, places(Slice), **values)

    def __getitem__(self, name: str) -> Any:
        """The value of a field of the Slice."""
        return value_in(self.fields, Slice, name)


def slice_block(training: Training, first: int = 0, last: int = 0, **arrays: Any) -> SliceBlock:
    block = SliceBlock(training, **arrays)
    block.set(first=first, last=last)
    return block
