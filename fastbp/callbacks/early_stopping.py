"""EarlyStopping: a fit ends when its cost falls no more."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbp.attributes import setting
from fastbp.callbacks.base import Callback
from fastbp.checks import flag, real_number, whole_number


class EarlyStopping(Callback):
    """Ends the fit when the cost has not fallen by more than `min_delta` for `patience` epochs in a row.

    The cost is the one on the validation data, if there are any, else the one of training. With `restore_best` the
    network ends with the parameters of the best epoch, also when the fit ends by itself or by Ctrl-C. Afterwards
    `best_epoch` (counted from 1) and `best_cost` tell which that was: None and infinity when no epoch had a finite
    cost. The object serves any number of fits, one after another; what is set between two epochs counts from the next.
    """

    patience: int = setting(whole_number, at_least=1)
    restore_best: bool = setting(flag)
    min_delta: float = setting(real_number, at_least=0)

    def __init__(self, patience: int, restore_best: bool = True, min_delta: float = 0.0):
        self.patience, self.restore_best, self.min_delta = patience, restore_best, min_delta
        self._reset()

    def __repr__(self) -> str:
        return f"EarlyStopping(patience={self.patience}, restore_best={self.restore_best}, min_delta={self.min_delta})"

    def _reset(self) -> None:
        self._best_epoch: int | None = None
        self._best_cost = math.inf
        self._epoch = 0
        self._best_parameters: np.ndarray | None = None

    @property
    def best_epoch(self) -> int | None:
        """The number of the best epoch, counted from 1; None if no epoch had a finite cost."""
        return self._best_epoch

    @property
    def best_cost(self) -> float:
        """The cost of the best epoch, or infinity."""
        return self._best_cost

    def on_fit_begin(self, net: Any, history: Any) -> None:
        self._reset()

    def on_epoch_end(self, net: Any, history: Any) -> bool:
        self._epoch += 1
        cost = (history.validation_cost or history.cost)[-1]
        if cost < self.best_cost - self.min_delta:  # False for NaN
            self._best_cost, self._best_epoch = float(cost), self._epoch
            if self.restore_best:
                self._best_parameters = np.array(net.state.values)
        return self._epoch - (self.best_epoch or 0) >= self.patience

    def on_fit_end(self, net: Any, history: Any) -> None:
        if self._best_parameters is not None:
            net.state.values[:] = self._best_parameters
        self._best_parameters = None  # a callback that outlives the fit should not hold a copy of the network

    def state(self) -> dict[str, np.ndarray]:
        numbers = {"numbers": np.array([self._epoch, self.best_epoch or 0, self.best_cost])}
        return numbers if self._best_parameters is None else {**numbers, "parameters": self._best_parameters}

    def check_state(self, net: Any, state: dict[str, np.ndarray]) -> None:
        if not state:
            return
        numbers, best = state.get("numbers", np.empty(0)), state.get("parameters", net.state.values)
        epoch, best_epoch, best_cost = (
            numbers if numbers.shape == (3,) and numbers.dtype == np.float64 else [np.nan] * 3
        )
        if not (0 <= best_epoch <= epoch < 2**53 and best_epoch % 1 == epoch % 1 == 0) or np.isnan(best_cost):
            raise ValueError(f"EarlyStopping: got {numbers!r}, expected its epoch, the best one, and the cost of that")
        if best.shape != net.state.values.shape or best.dtype != net.dtype or not np.isfinite(best).all():
            got = f"{best.dtype} of shape {best.shape}"
            raise ValueError(
                f"EarlyStopping: got parameters {got}, expected finite ones {net.dtype} of {net.parameters.shape}"
            )

    def resume(self, state: dict[str, np.ndarray]) -> None:
        epoch, best_epoch, self._best_cost = state["numbers"].tolist()
        self._epoch, self._best_epoch = int(epoch), int(best_epoch) or None
        self._best_parameters = state.get("parameters") if self.restore_best else None
