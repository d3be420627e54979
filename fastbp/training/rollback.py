"""A network before a fit, to go back to when the fit is refused or its cost is not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastbp import optimizers
from fastbp.network.network import Network

if TYPE_CHECKING:
    from fastbp.network.samples import Samples
    from fastbp.training.history import History


class RefusedData(ValueError):  # noqa: N818 (users see a ValueError)
    """What `fit` was given and found to be of no use in the midst of it: NaN or infinity, or no weight at all."""


class Snapshot:
    """A network before a fit, to go back to; the last finite parameters themselves are the network's `kept`.

    samples: what the fit goes over; None where they cannot be looked at ahead.
    """

    def __init__(self, net: Network, samples: Samples | None, optimizer: optimizers.Optimizer):
        if not net.state.keep_if_finite():
            raise ValueError("parameters: got NaN or infinity before the first step, expected finite numbers")
        self.state, self.history = net.state.snapshot(), net.history
        self.copied: np.ndarray | None = None  # of the moments, where they are about to change and not all 0
        self.changes_moments = bool(self.state.counters[0]) and self.state.rule == optimizer.rule
        if self.changes_moments:
            self.keep_moments(samples)

    def keep_moments(self, samples: Samples | None) -> None:
        """A copy of them, or the certainty that no number in the data will spoil them, whichever is cheaper."""
        if samples is None or self.state.moments.nbytes <= samples.x.nbytes or samples.rows is not None:
            self.copied = self.state.moments.copy()
        elif found := samples.wrong_number():
            raise ValueError(found)

    def keep_all(self) -> None:
        """A copy of the moments in any case: a checkpoint is about to bring others."""
        self.copied = self.state.moments.copy()

    def restore(self, net: Network) -> None:
        """All in place: a Training may share these arrays."""
        net.state.restore(self.state, self.copied)
        net.history = self.history
        net.forget_workspaces()

    def go_back(self, net: Network, history: History) -> None:
        """After a cost that was not finite: to the last finite epoch, or to before the first one."""
        if history.cost or (self.changes_moments and self.copied is None):
            net.state.begin_anew()
        else:
            self.restore(net)
