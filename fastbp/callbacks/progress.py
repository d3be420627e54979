"""Progress: the progress bar of a fit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from fastbp.attributes import setting
from fastbp.callbacks.base import Callback, latest
from fastbp.checks import flag, require, whole_number


class Progress(Callback):
    """A bar on stderr, or in a notebook, one tick an epoch, with cost, validation cost and metrics beside it.

    It is not shown where stderr is neither a terminal nor a notebook's, unless `force` is set. It needs tqdm:
    `pip install 'fastbp[progress]'`.
    """

    epochs: int = setting(whole_number, at_least=1)
    force: bool = setting(flag)

    def __init__(self, epochs: int, *, force: bool = False):
        self.epochs, self.force = epochs, force
        self._bar: Any = None

    def check_fit(self, series: Sequence[str]) -> None:
        if self._shows():
            _tqdm(_in_notebook())

    def on_fit_begin(self, net: Any, history: Any) -> None:
        if self._shows():
            begun = len(history.cost) if history is not None else 0  # fit_many counts epochs of many networks
            bar = {"total": self.epochs, "initial": begun, "unit": "epoch", "file": sys.stderr, "dynamic_ncols": True}
            self._bar = _tqdm(_in_notebook())(**bar)

    def _shows(self) -> bool:
        return self.force or _in_notebook() or sys.stderr.isatty()

    def on_epoch_end(self, net: Any, history: Any) -> None:
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in latest(history).items()}, refresh=False)
            self._bar.update()

    def on_fit_end(self, net: Any, history: Any) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook; asks IPython only if that is imported already."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config


def _tqdm(notebook: bool) -> Any:
    """Return tqdm's bar, in a notebook the one of `tqdm.auto`, which is a widget where ipywidgets is installed."""
    return require("tqdm.auto" if notebook else "tqdm", "the progress bar needs tqdm", "progress").tqdm
