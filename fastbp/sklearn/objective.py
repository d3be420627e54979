"""What is minimised: a cost of fastbp, scaled so that its gradient is scikit-learn's, and how scikit-learn states its value."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.special import xlogy

from fastbp import losses


class Objective(NamedTuple):
    """The value that is reported for a mean cost c of `loss` is c / divisor + constant."""

    loss: losses.Loss
    divisor: float = 1.0
    constant: float = 0.0

    def reported(self, cost: float, penalty: float = 0.0) -> float:
        return cost / self.divisor + self.constant + penalty


def classification(loss: str | losses.Loss, outputs: int, multiclass: bool) -> Objective:
    """Cross-entropy: over classes, or added over independent outputs."""
    if loss == "log_loss":
        if multiclass:
            return Objective(losses.softmax_cross_entropy)
        return Objective(replace(losses.binary_cross_entropy, scale=float(outputs)))
    expected = losses.softmax_cross_entropy if multiclass else losses.binary_cross_entropy
    if getattr(loss, "name", None) != expected.name:
        raise ValueError(f"loss: got {loss!r}, expected 'log_loss' or a loss named {expected.name} for this y")
    assert isinstance(loss, losses.Loss)
    return Objective(loss)


def regression(loss: str | losses.Loss, y: np.ndarray, weights: np.ndarray | None) -> Objective:
    """scikit-learn minimises squared errors and deviances added over the outputs; of squared errors it states the mean."""
    outputs = float(y.shape[1])
    if loss == "squared_error":
        return Objective(replace(losses.mean_squared_error, scale=0.5 * outputs), divisor=outputs)
    if loss != "poisson":
        return Objective(losses.as_loss(loss))
    constant = np.average(xlogy(y, y) - y, axis=0, weights=weights).sum()
    return Objective(replace(losses.poisson, scale=outputs), constant=float(constant))
