"""What a fit measured, epoch by epoch: as lists, as arrays, as a frame, as a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbp import plot
from fastbp.attributes import Declared
from fastbp.checks import require
from fastbp.inspect.tabular import as_html, as_text

ROWS_SHOWN = 10  # of a long fit the first and the last ones


@dataclass(repr=False)
class History(Declared):
    """What `fit` measured, an entry an epoch.

    cost: the mean over the samples, each as it was before the update of its minibatch; validation_cost: after the epoch,
    empty without validation data; metrics: a list by name; learning_rate: at the epoch's end; seconds: of the epoch's
    training. `steps` counts the updates of this fit.
    """

    cost: list[float] = field(default_factory=list)
    validation_cost: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    steps: int = 0

    def __repr__(self) -> str:
        cells = self._cells()
        return "\n".join([self._caption(), "", *as_text(cells, [False] * len(cells[0]))])

    def _repr_html_(self) -> str:
        cells = self._cells()
        return as_html([self._caption()], cells, [False] * len(cells[0]))

    def _caption(self) -> str:
        epochs = len(self.cost)
        return f"{epochs} epoch{'s' * (epochs != 1)}, {self.steps:,d} steps"

    def _cells(self) -> list[list[str]]:
        """Headings, and a row for each epoch that is shown: its number and what was measured."""
        series, epochs = self.series(), len(self.cost)
        shown = list(range(epochs))
        if epochs > ROWS_SHOWN:
            shown[ROWS_SHOWN // 2 : -ROWS_SHOWN // 2] = [epochs]  # a row of dots
        columns = [[str(i + 1) for i in range(epochs)], *([f"{v:.5g}" for v in values] for values in series.values())]
        rows = [[(column[i] if i < len(column) else "..." * (i == epochs)) for column in columns] for i in shown]
        return [["epoch", *series], *rows]

    def series(self) -> dict[str, list[float]]:
        """Return what was measured, by name, the metrics under their own; without what was not."""
        found = {
            "cost": self.cost, "validation_cost": self.validation_cost, **self.metrics,
            "learning_rate": self.learning_rate, "seconds": self.seconds,
        }  # fmt: skip
        return {name: values for name, values in found.items() if values}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return a float64 array (epochs,) for everything that was measured, by name."""
        return {name: np.array(values, np.float64) for name, values in self.series().items()}

    def to_frame(self) -> Any:
        """Return a pandas frame with a row for every epoch, counted from 1, and a column for everything that was measured.

        It needs pandas: `pip install 'fastbp[pandas]'`.
        """
        pandas = require("pandas", "to_frame needs pandas", "pandas")
        series = self.series()
        index = pandas.RangeIndex(1, max(map(len, series.values()), default=0) + 1, name="epoch")
        columns = {name: pandas.Series(values, index[: len(values)]) for name, values in series.items()}
        return pandas.DataFrame(columns, index)  # NaN where a fit was interrupted before it was measured

    def plot(self, ax: Any = None) -> Any:
        """Cost, validation cost and learning rate over the epochs, drawn into `ax` or a new figure; see `plot.history`."""
        return plot.history(self, ax)
