"""The callbacks of a fit, and the Checkpoint among them, which sees more of the fit than the others."""

from __future__ import annotations

from typing import Any

from fastbp.callbacks import Callback, end_fit
from fastbp.callbacks.checkpoint import Checkpoint
from fastbp.network.network import Network
from fastbp.training.run import Run


class Watchers:
    """Callbacks in the order in which they are called, with at most one Checkpoint."""

    def __init__(self, callbacks: tuple[Callback, ...]):
        self.callbacks = callbacks
        self.checkpoint: Checkpoint | None = None

    def check(self, net: Network, series: list[str], settings: dict[str, Any], epochs: int) -> None:
        """Let them look at a fit that has changed nothing yet; what they raise refuses it. series: the names of what it will
        measure; settings: what must be as in the fit of a checkpoint."""
        for callback in self.callbacks:
            callback.check_fit(series)
        found = [callback for callback in self.callbacks if isinstance(callback, Checkpoint)]
        if len(found) > 1:
            raise ValueError(f"callbacks: got {len(found)} of fastbp.Checkpoint, expected at most one")
        if found:
            self.checkpoint = found[0]
            self.checkpoint.look(net, settings, epochs, self.callbacks)

    @property
    def resume(self) -> bool:
        """Whether the fit goes on from a file."""
        return self.checkpoint is not None and self.checkpoint.resumes

    def begin(self, run: Run) -> bool:
        """Begin the fit, or bring it to where a file has it; return whether it had been ended by a callback there."""
        ended = self.checkpoint is not None and self.checkpoint.resume_fit(run)
        for callback in self.callbacks:
            callback.on_fit_begin(run.net, run.history)
        if self.checkpoint is not None:
            self.checkpoint.resume_callbacks(self.callbacks)
        return ended

    def end_epoch(self, run: Run) -> bool:
        """Return whether a callback ends the fit."""
        stops = [callback.on_epoch_end(run.net, run.history) is True for callback in self.callbacks]  # all are called
        ended = any(stops)
        if self.checkpoint is not None:
            self.checkpoint.save(run, self.callbacks, ended)
        return ended

    def end(self, run: Run) -> None:
        """Tell all of them that the fit is over, however it ended."""
        end_fit(self.callbacks, run.net, run.history)
