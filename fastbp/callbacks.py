"""What runs between the epochs of a fit: early stopping, the progress bar, functions of the user's.

A callback is an object with the methods of Callback, or a function f(net, history). See also `fastbp.Checkpoint`,
`fastbp.TensorBoard` and `fastbp.OptunaPruning`.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from fastbp.attributes import Declared, fixed, flag, setting
from fastbp.schedules import real_number, whole_number


class Callback(Declared):
    """Derive from it and override what is needed.

    `history` has the lists cost, validation_cost, learning_rate and seconds, and the dict metrics of lists by name,
    each with one entry for every epoch finished so far. What a method raises ends the fit, and passes through it.

    A callback that remembers something from one epoch to the next hands it to checkpoints by `state`, and takes it back by
    `resume`.
    """

    def check_fit(self, series: Sequence[str]) -> None:
        """Before a fit has changed anything: raises what would otherwise be raised late, for want of a package or a folder,
        say. series: the names of what the fit will measure, as in `History.series`."""

    def on_fit_begin(self, net: Any, history: Any) -> None:
        """Before the first epoch, or the first that a checkpoint does not have: then history holds those before it."""

    def on_epoch_end(self, net: Any, history: Any) -> bool | None:
        """After each epoch; True ends the fit."""

    def on_fit_end(self, net: Any, history: Any) -> None:
        """After the last epoch, and also when Ctrl-C or an error ends the fit."""

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that a checkpoint is to keep, by name."""
        return {}

    def resume(self, state: dict[str, np.ndarray]) -> None:
        """After on_fit_begin of a fit that a checkpoint continues: what `state` returned, unless that was nothing."""

    def check_state(self, net: Any, state: dict[str, np.ndarray]) -> None:
        """Before a fit has changed anything: raises ValueError for what `resume` cannot take."""


class _AtEpochEnd(Callback):
    """A plain function of the user's, called after every epoch."""

    function: Callable[[Any, Any], Any] = fixed()

    def __init__(self, function: Callable[[Any, Any], Any]):
        self.function = function

    def on_epoch_end(self, net: Any, history: Any) -> bool:
        stop = self.function(net, history)
        # a lambda returns whatever its expression gives, a cost for instance: that must not end the fit
        return isinstance(stop, (bool, np.bool_)) and bool(stop)


def as_callbacks(callbacks: Callback | Callable | Iterable[Callback | Callable]) -> tuple[Callback, ...]:
    """One or several callbacks, or functions f(net, history) to call after each epoch (True ends the fit), as a tuple.

    TypeError for anything else, a class in place of an instance included.
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


class EarlyStopping(Callback):
    """Ends the fit when the cost has not fallen by more than `min_delta` for `patience` epochs in a row.

    The cost is that on the validation data, where there are any, else that of training. With `restore_best` the
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
        """Counted from 1; None where no epoch had a finite cost."""
        return self._best_epoch

    @property
    def best_cost(self) -> float:
        """That of the best epoch."""
        return self._best_cost

    def on_fit_begin(self, net: Any, history: Any) -> None:
        self._reset()

    def on_epoch_end(self, net: Any, history: Any) -> bool:
        self._epoch += 1
        cost = (history.validation_cost or history.cost)[-1]
        if cost < self.best_cost - self.min_delta:  # False for NaN
            self._best_cost, self._best_epoch = float(cost), self._epoch
            if self.restore_best:
                self._best_parameters = np.array(net.parameters)
        return self._epoch - (self.best_epoch or 0) >= self.patience

    def on_fit_end(self, net: Any, history: Any) -> None:
        if self._best_parameters is not None:
            net.parameters[:] = self._best_parameters
        self._best_parameters = None  # a callback that outlives the fit should not hold a copy of the network

    def state(self) -> dict[str, np.ndarray]:
        numbers = {"numbers": np.array([self._epoch, self.best_epoch or 0, self.best_cost])}
        return numbers if self._best_parameters is None else {**numbers, "parameters": self._best_parameters}

    def check_state(self, net: Any, state: dict[str, np.ndarray]) -> None:
        if not state:
            return
        numbers, best = state.get("numbers", np.empty(0)), state.get("parameters", net.parameters)
        epoch, best_epoch, best_cost = (
            numbers if numbers.shape == (3,) and numbers.dtype == np.float64 else [np.nan] * 3
        )
        if not (0 <= best_epoch <= epoch < 2**53 and best_epoch % 1 == epoch % 1 == 0) or np.isnan(best_cost):
            raise ValueError(f"EarlyStopping: got {numbers!r}, expected its epoch, the best one, and the cost of that")
        if best.shape != net.parameters.shape or best.dtype != net.dtype or not np.isfinite(best).all():
            got = f"{best.dtype} of shape {best.shape}"
            raise ValueError(
                f"EarlyStopping: got parameters {got}, expected finite ones {net.dtype} of {net.parameters.shape}"
            )

    def resume(self, state: dict[str, np.ndarray]) -> None:
        epoch, best_epoch, self._best_cost = state["numbers"].tolist()
        self._epoch, self._best_epoch = int(epoch), int(best_epoch) or None
        self._best_parameters = state.get("parameters") if self.restore_best else None


class Progress(Callback):
    """A bar on stderr, or in a notebook, one tick an epoch, with cost, validation cost and metrics beside it.

    Silent where stderr is neither a terminal nor a notebook's, unless `force`. It needs tqdm:
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
            begun = len(history.cost) if history is not None else 0  # fit_many counts the epochs of many
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


def end_fit(callbacks: Sequence[Callback], net: Any, history: Any) -> None:
    """Call every `on_fit_end`, also where one raises: another may have to bring the best parameters back."""
    with contextlib.ExitStack() as stack:
        for callback in reversed(callbacks):
            stack.callback(callback.on_fit_end, net, history)


def latest(history: Any) -> dict[str, float]:
    """Cost, validation cost where there is one, and every metric of the last epoch, by name."""
    series = {"cost": history.cost, "validation cost": history.validation_cost, **history.metrics}
    return {name: values[-1] for name, values in series.items() if values}


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook; asks IPython only where it runs already."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config


def _tqdm(notebook: bool) -> Any:
    try:
        if notebook:
            from tqdm.auto import tqdm  # a bar of the notebook's own, where ipywidgets is there
        else:
            from tqdm import tqdm
    except ImportError as error:
        raise ImportError("the progress bar needs tqdm: pip install 'fastbp[progress]'") from error
    return tqdm
