"""The workspaces of a network: what compiled code works in, kept from one call to the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastbp.engine.memory import StateArrays, Training, make_training
from fastbp.network.contract import NetworkLayer
from fastbp.network.state import State
from fastbp.parallel.turns import ProcessLock

KEPT = 8  # workspaces


class Workspaces:
    """Makes Trainings over a network's state, and keeps the latest ones by purpose and batch size: what one purpose leaves in
    its buffers (between a forward and a backward pass, in the midst of a fit) another must not overwrite."""

    def __init__(self, layers: Sequence[NetworkLayer], state: State, seed: int, dtype: np.dtype):
        self.layers, self.state, self.seed, self.dtype = layers, state, seed, dtype
        self.inference = ProcessLock()  # for the workspace that predict and evaluate share, from any thread
        self.kept: dict[tuple[str, int, bool], Training] = {}

    def make(self, batch_size: int, stores: bool) -> Training:
        """Return a new Training, with room for gradients if it `stores` them."""
        specs = [layer.operation(self.dtype.name) for layer in self.layers]
        s = self.state
        gradients = s.gradients if stores else s.parameters[:0]
        return make_training(
            specs, StateArrays(s.parameters, gradients, s.moments, s.counters, s.statistics, self.seed), batch_size
        )

    def for_purpose(self, purpose: str, batch_size: int, stores: bool = False) -> Training:
        """Return the Training for a purpose and batch size, made at the first call."""
        key = (purpose, batch_size, stores)
        if key in self.kept:
            return self.kept[key]
        training = self.make(batch_size, stores)
        latest = list(self.kept.items())[1 - KEPT :]
        self.kept = {**dict(latest), key: training}  # another dict: other threads may be looking at the old one
        return training

    def largest(self, purpose: str) -> int:
        """Return the largest batch size that there is a workspace of that purpose for; 0 without any."""
        return max((size for of, size, _ in self.kept if of == purpose), default=0)

    def forget(self) -> None:
        """Drop all of them, when the state gets other moments, whose addresses they do not hold."""
        self.kept = {}
