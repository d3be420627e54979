"""A network before a fit, to go back to when the fit is refused or its cost is not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastbp import optimizers
from fastbp.sequential import Sequential

if TYPE_CHECKING:
    from fastbp.network.samples import Samples
    from fastbp.training.history import History


class RefusedData(ValueError):  # noqa: N818 (users see a ValueError)
    """What `fit` was given and found to be of no use in the midst of it: NaN or infinity, or no weight at all."""


class Snapshot:
    """A network before a fit, to go back to; the last finite parameters themselves are the network's `kept`.

    samples: what the fit goes over; None where they cannot be looked at ahead.
    """

    def __init__(self, net: Sequential, samples: Samples | None, optimizer: optimizers.Optimizer):
        if not net.keep_if_finite():
            raise ValueError("parameters: got NaN or infinity before the first step, expected finite numbers")
        self.counters, self.rule, self.moments = net._counters.copy(), net._rule, net._moments
        self.epochs_shuffled, self.history = net.epochs_shuffled, net.history
        self.copied: np.ndarray | None = None  # of the moments, where they are about to change and not all 0
        self.changes_moments = bool(self.counters[0]) and self.rule == optimizer.rule
        if self.changes_moments:
            self.keep_moments(samples)

    def keep_moments(self, samples: Samples | None) -> None:
        """A copy of them, or the certainty that no number in the data will spoil them, whichever is cheaper."""
        if samples is None or self.moments.nbytes <= samples.x.nbytes or samples.rows is not None:
            self.copied = self.moments.copy()
        elif found := samples.wrong_number():
            raise ValueError(found)

    def keep_all(self) -> None:
        """A copy of the moments in any case: a checkpoint is about to bring others."""
        self.copied = self.moments.copy()

    def restore(self, net: Sequential) -> None:
        """All in place: a Training may share these arrays."""
        net.parameters[:], net._counters[:] = net.kept, self.counters
        net._rule, net.epochs_shuffled, net.history = self.rule, self.epochs_shuffled, self.history
        net._moments = self.moments
        if self.copied is not None:
            net._moments[:] = self.copied
        elif not self.counters[0]:
            net._moments[:] = 0
        net._forget_workspaces()

    def begin_anew(self, net: Sequential) -> None:
        """Back to the last finite parameters, with the optimizer's state as if no step had been made."""
        net.parameters[:] = net.kept
        net._moments[:], net._counters[0] = 0, 0

    def go_back(self, net: Sequential, history: History) -> None:
        """After a cost that was not finite: to the last finite epoch, or to before the first one."""
        if history.cost or (self.changes_moments and self.copied is None):
            self.begin_anew(net)
        else:
            self.restore(net)
