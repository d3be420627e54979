"""What a callback is: an object with the methods of Callback, which a fit calls between its epochs.

Users also give functions f(net, history), which are called after each epoch. See also `fastbp.Checkpoint`,
`fastbp.TensorBoard` and `fastbp.OptunaPruning`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from fastbp.attributes import Declared, fixed


class Callback(Declared):
    """The base of callbacks: derive from it, and override what is needed.

    `history` has the lists cost, validation_cost, learning_rate and seconds, and the dict metrics of lists by name,
    each with one entry for every epoch finished so far. What a method raises ends the fit, and passes through it.

    A callback that remembers something from one epoch to the next hands it to checkpoints by `state`, and takes it back by
    `resume`.
    """

    def check_fit(self, series: Sequence[str]) -> None:
        """Raise, before a fit has changed anything, what would otherwise be raised late: a package or a folder is missing, say.

        series: the names of what the fit will measure, as in `History.series`.
        """

    def on_fit_begin(self, net: Any, history: Any) -> None:
        """Called before the first epoch, or the first that a checkpoint does not have: history then holds those before it."""

    def on_epoch_end(self, net: Any, history: Any) -> bool | None:
        """Called after each epoch; True ends the fit."""

    def on_fit_end(self, net: Any, history: Any) -> None:
        """Called after the last epoch, and also when Ctrl-C or an error ends the fit."""

    def state(self) -> dict[str, np.ndarray]:
        """Return the arrays that a checkpoint is to keep, by name."""
        return {}

    def resume(self, state: dict[str, np.ndarray]) -> None:
        """Take back what `state` returned, unless it was nothing; after `on_fit_begin` of a fit that a checkpoint continues."""

    def check_state(self, net: Any, state: dict[str, np.ndarray]) -> None:
        """Raise, before a fit has changed anything, ValueError for what `resume` cannot take."""


class _AtEpochEnd(Callback):
    """Calls a plain function of the user's after every epoch."""

    function: Callable[[Any, Any], Any] = fixed()

    def __init__(self, function: Callable[[Any, Any], Any]):
        self.function = function

    def on_epoch_end(self, net: Any, history: Any) -> bool:
        stop = self.function(net, history)
        # a lambda returns the value of its expression, a cost for instance, which must not end the fit
        return isinstance(stop, (bool, np.bool_)) and bool(stop)


def as_callbacks(callbacks: Callback | Callable | Iterable[Callback | Callable]) -> tuple[Callback, ...]:
    """Return a tuple of callbacks, from one or several, or functions f(net, history) to call after each epoch.

    A function ends the fit by returning True. TypeError for anything else, a class in place of an instance included.
    """
    if isinstance(callbacks, Callback) or callable(callbacks) or not isinstance(callbacks, Iterable):
        callbacks = (callbacks,)
    return tuple(_as_callback(c) for c in callbacks)


def _as_callback(c: Any) -> Callback:
    if isinstance(c, Callback):
        return c
    if isinstance(c, type):
        raise TypeError(f"callbacks: got the class {c.__name__}, expected an instance: {c.__name__}(...)")
    if not callable(c):
        raise TypeError(f"callbacks: got {c!r}, expected a fastbp.callbacks.Callback or a function f(net, history)")
    return _AtEpochEnd(c)


def end_fit(callbacks: Sequence[Callback], net: Any, history: Any) -> None:
    """Call every `on_fit_end`, also where one raises: another may have to bring the best parameters back."""
    with contextlib.ExitStack() as stack:
        for callback in reversed(callbacks):
            stack.callback(callback.on_fit_end, net, history)


def latest(history: Any) -> dict[str, float]:
    """Return cost, validation cost where there is one, and every metric of the last epoch, by name."""
    series = {"cost": history.cost, "validation cost": history.validation_cost, **history.metrics}
    return {name: values[-1] for name, values in series.items() if values}
