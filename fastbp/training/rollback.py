"""The way back to a network before a fit, for when the fit is refused or its cost is not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastbp import optimizers
from fastbp.network.network import Network

if TYPE_CHECKING:
    from fastbp.network.samples import Samples
    from fastbp.training.history import History


class RefusedData(ValueError):  # noqa: N818 (users see a ValueError)
    """Raised by a fit that has begun, for data that are of no use: NaN or infinity, or no weight at all."""


class Rollback:
    """What a fit needs to take a network back to where it was; the last finite parameters are the network's `kept`.

    samples: what the fit goes over; None where they cannot be looked at ahead.
    """

    def __init__(self, net: Network, samples: Samples | None, optimizer: optimizers.Optimizer):
        if not net.state.keep_if_finite():
            raise ValueError("parameters: got NaN or infinity before the first step, expected finite numbers")
        self.state, self.history = net.state.snapshot(), net.history
        self.moments: np.ndarray | None = None  # a copy, where they are about to change and not all 0
        self.changes_moments = bool(self.state.counters[0]) and self.state.rule == optimizer.rule
        if self.changes_moments:
            self.secure_moments(samples)

    def secure_moments(self, samples: Samples | None) -> None:
        """Copy the moments, unless it is cheaper to check that the data are finite, which guarantees that no fit on them is
        refused in its midst; ValueError where they are not."""
        if samples is None or self.state.moments.nbytes <= samples.x.nbytes or samples.rows is not None:
            self.copy_moments()
        elif found := samples.wrong_number():
            raise ValueError(found)

    def copy_moments(self) -> None:
        """Copy the moments, also where a checkpoint is about to bring others."""
        self.moments = self.state.moments.copy()

    def restore(self, net: Network) -> None:
        """Go back to before the fit, all in place: a Training may share these arrays."""
        net.state.restore(self.state, self.moments)
        net.history = self.history
        net.forget_workspaces()

    def go_back(self, net: Network, history: History) -> None:
        """Go back, after a cost that was not finite, to the last finite epoch, or to before the first one."""
        if history.cost or (self.changes_moments and self.moments is None):
            net.state.begin_anew()
        else:
            self.restore(net)
