"""What a network is trained or evaluated on: samples in the form that compiled code reads, and the cost over them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from fastbp import losses
from fastbp.data import convert, mapped
from fastbp.data.arrays import column_titles, dimensions
from fastbp.engine.infer import evaluate_slice
from fastbp.engine.memory import Training
from fastbp.network.blocks import SliceBlock, slice_block
from fastbp.network.chain import check_loss
from fastbp.network.configure import configure_loss
from fastbp.network.network import Network
from fastbp.network.sharing import PREDICT_ROWS

TRAINING, VALIDATION = "x y sample_weight", "validation_x validation_y validation_sample_weight"


class Samples:
    """x, y and sample weights, checked, in the form that compiled code reads; all rows, or those that `only` names.

    names: of the three in errors. minibatch: all weights may be 0, since others follow.
    """

    rows: np.ndarray | None = None

    def __init__(
        self, net: Network, loss: losses.Loss, x: Any, y: Any, weights: Any = None, names: str = TRAINING,
        minibatch: bool = False,
    ):  # fmt: skip
        check_loss(net, loss)
        self.loss, self.dtype = loss, net.dtype
        self.x_name, self.y_name, self.weights_name = names.split()
        self.x_titles = column_titles(x)
        self.x = convert.as_input(self.x_name, x, net.inputs)
        if dimensions(self.y_name, y, "labels or real numbers"):
            convert.same_length(**{self.x_name: self.x, self.y_name: y, self.weights_name: weights})
        self.y = convert.in_compiled_form(self.y_name, loss.targets(y, len(self.x), net.outputs, self.y_name))
        self.weights = None
        if weights is not None:
            self.weights = convert.as_weights(self.weights_name, weights, len(self.x), net.dtype, minibatch)

    def __len__(self) -> int:
        return len(self.x if self.rows is None else self.rows)

    def only(self, rows: np.ndarray | None) -> Samples:
        """Return the same samples restricted to `rows` (int64 row numbers, in that order); None keeps all rows."""
        some = copy.copy(self)
        some.rows = rows
        return some

    def block(self, training: Training) -> SliceBlock:
        """Return a Slice of these samples for `training`."""
        block = slice_block(training, x=self.x, y=self.y, weights=self.weights)
        block.set(order=0 if self.rows is None else self.rows.ctypes.data, order_stride=8)
        return block

    def checked(self, x: bool = False) -> Samples:
        """These samples; ValueError for a y that the cost cannot mean, and if asked to look at x for what is not finite there.

        Training leaves x alone, since its cost tells: a pass over all of x may take as long as an epoch.
        """
        if found := self.wrong_y() or (x and self.wrong_number()):
            raise ValueError(found)
        return self

    def wrong_y(self, used: np.ndarray | None = None) -> str | None:
        """Return the sentence that names the first target that the cost cannot mean, in a row that is `used` and has a
        weight."""
        counts = used if self.weights is None else (self.weights > 0) & (True if used is None else used)
        return self.loss.fault(self.y_name, self.y, self.dtype, counts)

    def wrong_number(self, used: np.ndarray | None = None) -> str | None:
        """Return the sentence that names the first NaN or infinity, in x or y, or number that becomes one in the network's
        dtype."""
        return convert.first_non_finite(
            self.x_name, self.x, self.x_titles, self.dtype, used
        ) or convert.first_non_finite(self.y_name, self.y, None, self.dtype, used)


class Evaluation:
    """The cost of a network over samples."""

    def __init__(self, net: Network, loss: losses.Loss, samples: Samples):
        self.net, self.loss, self.samples = net, loss, samples

    def block(self, purpose: str = "inference") -> SliceBlock:
        training = self.net.workspaces.for_purpose(purpose, min(len(self.samples), PREDICT_ROWS))
        configure_loss(training, self.loss, self.net.dtype.name)
        return self.samples.block(training)

    def cost(self) -> float:
        net, samples = self.net, self.samples
        workers = net.sharing.region_for(min(len(samples), PREDICT_ROWS))
        with net.workspaces.inference.here():
            block, in_files = self.block(), mapped.too_large(samples.x, samples.y, samples.weights)
            for first, last in net.sharing.calls(len(samples)):
                block.set(first=first, last=last)
                block.run(evaluate_slice, workers)
                for array in in_files:
                    mapped.give_back(array, first, last)
        total = block["cost"]
        if not np.isfinite(total) and (found := samples.wrong_number()):
            raise ValueError(found)
        return total / block["weight"]


def parts_of_validation(validation_data: Any) -> tuple[Any, Any, Any]:
    """Return x, y and weights, None without any."""
    if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
        got = type(validation_data).__name__
        got += f" of {len(validation_data)}" if isinstance(validation_data, tuple | list) else ""
        raise TypeError(f"validation_data: got {got}, expected a pair (x, y), or (x, y, sample_weight)")
    x, y, *weights = validation_data
    return x, y, weights[0] if weights else None


def as_validation(net: Network, loss: losses.Loss, validation_data: Any) -> Evaluation | None:
    """Return the validation data of a fit, all of it finite; None for None."""
    if validation_data is None:
        return None
    samples = Samples(net, loss, *parts_of_validation(validation_data), names=VALIDATION)
    return Evaluation(net, loss, samples.checked(x=True))
