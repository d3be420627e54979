"""OptunaPruning: trials of Optuna end early. The one module that uses optuna: `pip install 'fastbp[optuna]'`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastbp.attributes import setting
from fastbp.callbacks.base import Callback
from fastbp.checks import require


class OptunaPruning(Callback):
    """Reports to an `optuna.trial.Trial` after every epoch, and raises `optuna.TrialPruned` where its pruner says so.

    monitor: "validation_cost", "cost", or the name of a metric of the fit (for one that should grow, make the study with
    direction="maximize"). ValueError, before the first epoch, for a name that the fit does not measure.
    """

    trial: Any = setting()
    monitor: str = setting()

    def __init__(self, trial: Any, monitor: str = "validation_cost"):
        self.trial, self.monitor = trial, monitor

    def check_fit(self, series: Sequence[str]) -> None:
        _pruned()
        if self.monitor not in series:
            raise ValueError(f"monitor: got {self.monitor!r}, expected one of {', '.join(series)}")

    def on_epoch_end(self, net: Any, history: Any) -> None:
        self.trial.report(history.series()[self.monitor][-1], step=len(history.cost))
        if self.trial.should_prune():
            raise _pruned()(f"pruned after epoch {len(history.cost)}")


def _pruned() -> type[Exception]:
    """Return optuna's exception for a trial that ends early."""
    return require("optuna", "OptunaPruning needs optuna", "optuna").TrialPruned
