"""What a network is trained or evaluated on: samples in the form that compiled code reads, and the cost over them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from fastbp import data, losses, mapped
from fastbp.arrays import column_titles, dimensions
from fastbp.engine import steps
from fastbp.engine.memory import Training
from fastbp.lowering import SliceBlock, configure_loss, in_compiled_form, slice_block
from fastbp.model import PREDICT_ROWS, Sequential, check_last_activation


class Samples:
    """x, y and sample weights, checked, in the form that compiled code reads; all rows, or those that `only` names."""

    rows: np.ndarray | None = None

    def __init__(self, net: Sequential, loss: losses.Loss, x: Any, y: Any, weights: Any = None, names: str = "x y"):
        self.x_name, self.y_name = names.split()
        self.x_titles = column_titles(x)
        self.x = in_compiled_form(data.as_matrix(self.x_name, x, net.inputs))
        if dimensions(self.y_name, y, "labels or real numbers"):
            data.same_length(**{self.x_name: self.x, self.y_name: y, "sample_weight": weights})
        self.y = in_compiled_form(loss.targets(y, len(self.x), net.outputs, self.y_name))
        self.weights = None if weights is None else data.as_weights("sample_weight", weights, len(self.x))

    def __len__(self) -> int:
        return len(self.x if self.rows is None else self.rows)

    def only(self, rows: np.ndarray | None) -> Samples:
        """The same samples, of which those rows count, int64 numbers, in that order; None: all."""
        some = copy.copy(self)
        some.rows = rows
        return some

    def masked(self, used: np.ndarray) -> Samples:
        """The same samples, with zeros in the rows that are not used."""
        some = copy.copy(self)
        some.x, some.y = (np.where(used.reshape(-1, *[1] * (a.ndim - 1)), a, 0) for a in (self.x, self.y))
        return some

    def block(self, training: Training) -> SliceBlock:
        """A Slice of these samples for `training`."""
        block = slice_block(training, x=self.x, y=self.y, weights=self.weights)
        block.set(order=0 if self.rows is None else self.rows.ctypes.data, order_stride=8)
        return block

    def non_finite(self) -> str | None:
        """The sentence that names the first NaN or infinity, if there is one."""
        return data.first_non_finite(self.x_name, self.x, self.x_titles) or data.first_non_finite(self.y_name, self.y)


class Evaluation:
    """The cost of a network over samples."""

    def __init__(self, net: Sequential, loss: losses.Loss, samples: Samples):
        check_last_activation(net, loss)
        self.net, self.loss, self.samples = net, loss, samples

    def block(self, purpose: str = "inference") -> SliceBlock:
        training = self.net._workspace(purpose, min(len(self.samples), PREDICT_ROWS))
        configure_loss(training, self.loss, self.net.dtype.name)
        return self.samples.block(training)

    def cost(self) -> float:
        net, samples = self.net, self.samples
        workers = net.region_for(min(len(samples), PREDICT_ROWS))
        with net._inference.here():
            block, in_files = self.block(), mapped.too_large(samples.x, samples.y, samples.weights)
            for first, last in net._slices(len(samples), PREDICT_ROWS):
                block.set(first=first, last=last)
                block.run(steps.evaluate_slice, workers)
                for array in in_files:
                    mapped.give_back(array, first, last)
        total = block.number("cost")
        if not np.isfinite(total) and (found := samples.non_finite()):
            raise ValueError(found)
        return total / block.number("weight")


def validation_pair(validation_data: Any) -> tuple[Any, Any]:
    if not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
        raise TypeError(f"validation_data: got {type(validation_data).__name__}, expected a pair (x, y)")
    return validation_data[0], validation_data[1]


def as_validation(net: Sequential, loss: losses.Loss, validation_data: Any) -> Evaluation | None:
    """The validation data of a fit, all of it finite; None for None."""
    if validation_data is None:
        return None
    pair = validation_pair(validation_data)
    validation = Evaluation(net, loss, Samples(net, loss, *pair, names="validation_x validation_y"))
    if found := validation.samples.non_finite():
        raise ValueError(found)
    return validation
