"""TensorBoard: writes the history of a fit. The one module that uses tensorboardX: `pip install 'fastbp[tensorboard]'`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from fastbp.attributes import setting
from fastbp.callbacks.base import Callback
from fastbp.checks import require
from fastbp.io.files import check_folder


class TensorBoard(Callback):
    """Writes cost/training, cost/validation, metrics/NAME and learning_rate after every epoch, counted from 1.

    `tensorboard --logdir` of the folder, or of one above it, shows them; a folder for each fit keeps their curves apart.
    """

    folder: str = setting(lambda name, value: os.fspath(value))

    def __init__(self, folder: str | os.PathLike):
        self.folder = folder  # type: ignore[assignment]
        self._writer: Any = None

    def check_fit(self, series: Sequence[str]) -> None:
        _writer_class()
        if "://" not in self.folder:  # tensorboardX knows how to reach some others
            check_folder("folder", self.folder)

    def on_fit_begin(self, net: Any, history: Any) -> None:
        begun = len(history.cost)  # what a killed fit wrote beyond its checkpoint does not count
        self._writer = _writer_class()(self.folder, purge_step=begun + 1 if begun else None)

    def on_epoch_end(self, net: Any, history: Any) -> None:
        series = {"cost/training": history.cost, "cost/validation": history.validation_cost}
        series |= {f"metrics/{name}": values for name, values in history.metrics.items()}
        for name, values in {**series, "learning_rate": history.learning_rate}.items():
            if values:
                self._writer.add_scalar(name, values[-1], len(history.cost))

    def on_fit_end(self, net: Any, history: Any) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _writer_class() -> Any:
    """Return tensorboardX's class of writers."""
    return require("tensorboardX", "TensorBoard needs tensorboardX", "tensorboard").SummaryWriter
