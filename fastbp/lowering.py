"""What lies between a network's objects and compiled code: layers as operations of the table, hyper-parameters as fields of
it, NumPy arrays as blocks of arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp import losses, optimizers
from fastbp._check import describe_in_python
from fastbp.activations import activation_passes
from fastbp.engine import steps
from fastbp.engine.dense import dense_backward, dense_forward
from fastbp.engine.dropout import dropout_backward, dropout_forward
from fastbp.engine.memory import Layer as Lowered
from fastbp.engine.memory import Training, set_fields, zeros_apart
from fastbp.engine.table import NETWORK
from fastbp.kernels.updates import update
from fastbp.layers import Custom, Dense, Dropout, Layer


def lowered(layer: Layer, dtype: str) -> Lowered:
    """The layer as an operation of the table."""
    if isinstance(layer, Dropout):
        forward, backward = dropout_forward.of(dtype).resolve(), dropout_backward.of(dtype).resolve()
        return Lowered(forward, backward, layer.inputs, layer.outputs, rate=layer.rate)
    if isinstance(layer, Custom):
        return Lowered(*layer.codes(dtype), layer.inputs, layer.outputs, weights=layer._weights)
    assert isinstance(layer, Dense)
    forward_pass, backward_pass, from_output = activation_passes(layer.activation, dtype)
    identity = layer.activation == "identity"
    return Lowered(
        dense_forward.of(dtype).resolve(), dense_backward.of(dtype).resolve(), layer.inputs, layer.outputs,
        weights=layer._weights, bias=layer._bias if layer.has_bias else None,
        activation=0 if identity and not layer.has_bias else forward_pass,
        derivative=0 if identity else backward_pass, from_output=from_output, propagates=True,
    )  # fmt: skip


def configure(training: Training, loss: losses.Loss, optimizer: optimizers.Optimizer, dtype: str) -> None:
    configure_loss(training, loss, dtype)
    use_optimizer(training, optimizer, dtype)


def configure_loss(training: Training, loss: losses.Loss, dtype: str) -> None:
    set_fields(
        training.network, NETWORK,
        loss=loss.code(dtype), loss_parameter=float(loss.parameter), takes_labels=int(loss.takes_labels),
    )  # fmt: skip


def use_optimizer(training: Training, optimizer: optimizers.Optimizer, dtype: str) -> None:
    *numbers, weight_decay = optimizer.numbers
    settings = {f"h{i}": float(x) for i, x in enumerate(numbers)}
    set_fields(
        training.network, NETWORK,
        update=update.of(dtype, optimizer.rule).resolve(), weight_decay=float(weight_decay),
        clip_norm=float(optimizer.clip_norm or np.inf), clip_value=float(optimizer.clip_value or np.inf), **settings,
    )  # fmt: skip
    training.learning_rate[0] = optimizer.schedule(np.zeros(1))[0]


# ------------------------------------------------------------------------------------------ arrays for compiled code


def in_compiled_form(x: np.ndarray) -> np.ndarray:
    """x, or a copy in float32 or float64 of what compiled code does not read: float16, longdouble, foreign byte orders."""
    if x.dtype.isnative and x.dtype.name in READABLE:
        return x
    return x.astype(np.float32 if x.dtype.itemsize <= 2 and x.dtype.kind == "f" else np.float64)


READABLE = ("bool", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


class Description:
    """The Array of a NumPy array (or of None), at an address, for as long as this object lives."""

    def __init__(self, x: np.ndarray | None):
        self.kept = x
        self.fields = np.array(describe_in_python(x), np.int64)
        self.address = self.fields.ctypes.data


class SliceBlock:
    """A Slice at an address, and what it refers to, for as long as this object lives."""

    def __init__(self, training: Training, **arrays: Any):
        self.kept: list[Any] = [training]
        self.fields = zeros_apart(len(steps.Slice._fields), np.int64)
        self.address = self.fields.ctypes.data
        self.set(network=training.network.ctypes.data)
        for name in ("x", "y", "weights", "out"):
            description = Description(arrays.get(name))
            self.kept.append(description)
            self.set(**{name: description.address})

    def set(self, **values: float) -> None:
        set_fields(self.fields, steps.SLICE, **values)

    def number(self, name: str) -> float:
        return float(self.fields.view(np.float64)[steps.SLICE[name] // 8])


def slice_block(training: Training, first: int = 0, last: int = 0, **arrays: Any) -> SliceBlock:
    block = SliceBlock(training, **arrays)
    block.set(first=first, last=last)
    return block
