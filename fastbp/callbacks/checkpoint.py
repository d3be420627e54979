"""Checkpoint: files from which a fit that was killed goes on, to the same bits."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.attributes import setting
from fastbp.callbacks.base import Callback
from fastbp.checks import whole_number
from fastbp.io import files, model_file, safetensors
from fastbp.network.network import Network

if TYPE_CHECKING:
    from fastbp.training.run import Run

SERIES = ("cost", "validation_cost", "learning_rate", "seconds")  # of a History, beside metrics
MANY = 2**53  # more than any count


class Checkpoint(Callback):
    """Writes all that a fit consists of to `path` after every `every` epochs and after the last one; goes on from there.

    Where the file is there when a fit begins, the fit goes on after the epochs in it: the same script, run again after it was
    killed, ends with the same bits in parameters, moments and history (but for `seconds`) as if it had run through, and
    changes nothing once it has. `epochs` counts all of them, and may be raised. The network must be in the state in which the
    first of these fits found it, and settings, metrics and numbers of rows, those of the validation data too, as in that fit:
    otherwise a ValueError says what differs. The data themselves are not compared. Other callbacks go on by their `state` and
    `resume`. What cannot be written, or is damaged, is refused before anything changes.

    The file is a model file (extra `io`) that `Sequential.load` reads too; it is there whole or not at all.
    """

    path: Path = setting(lambda name, value: Path(value))
    every: int = setting(whole_number, at_least=1)

    def __init__(self, path: str | os.PathLike, every: int = 1):
        self.path, self.every = path, every  # type: ignore[assignment]
        self._content: dict[str, Any] = {}
        self._tensors: dict[str, np.ndarray] = {}
        self._fit: dict[str, Any] = {}

    def look(self, net: Network, settings: dict[str, Any], epochs: int, callbacks: Iterable[Callback] = ()) -> None:
        """Read the file, if there is one, and change nothing else.

        ValueError if it is not of a fit like this one; raises also the error that writing would end in.
        """
        safetensors.require_safetensors()
        _, content = model_file.content_of(net, net.metadata)  # refuses layers that a file cannot name
        safetensors.as_json(content)
        files.check_writable("path", self.path)
        shown = {name: re.sub(" at 0x[0-9a-f]+", "", str(value)) for name, value in settings.items()}
        self._fit = {**shown, "metrics": shown_names(settings["metrics"]), "network": f"{net!r}, {net.state.digest()}"}
        self._content, self._tensors = {}, {}
        if not self.path.exists():
            return
        tensors, content = safetensors.read(self.path)
        if "checkpoint" not in content:
            raise ValueError(f"{self.path}: got a model file without the state of a fit, expected a checkpoint's path")
        try:
            self.compare(content["checkpoint"], epochs)
            check_content(content["checkpoint"], tensors)
            check_state(net, settings["optimizer"].moments, tensors)
            for name, callback in by_name(callbacks).items():
                callback.check_state(net, state_of(name, tensors))
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error
        self._content, self._tensors = content["checkpoint"], tensors

    def compare(self, found: Any, epochs: int) -> None:
        """ValueError unless the file is the checkpoint of this fit."""
        fit = safetensors.entry(found, "fit", dict)
        for name, value in self._fit.items():
            if (was := fit.get(name)) != value:
                was = was if type(was) is str else safetensors.shortened(was)
                raise ValueError(
                    f"got the checkpoint of another fit, whose {name} was {was}, expected {value}; delete the file to begin "
                    "anew, or give another path"
                )
        if safetensors.entry(found, "epochs", int) > epochs:
            raise ValueError(f"epochs: got {epochs}, expected at least the {found['epochs']} that the checkpoint has")

    @property
    def resumes(self) -> bool:
        """Whether the fit that `look` was called for goes on from a file."""
        return bool(self._content)

    def resume_fit(self, run: Run) -> bool:
        """Bring network and history to the state in the file; returns whether a callback had ended the fit."""
        if not self._content:
            return False
        net, history, tensors = run.net, run.history, self._tensors
        model_file.set_parameters(net, tensors)
        state = {name: tensors[f"checkpoint.{name}"] for name in net.state.tensors()}
        net.state.load(state, self._content["epochs_shuffled"])
        history.steps = self._content["steps"]
        for name in SERIES:
            getattr(history, name).extend(tensors[f"checkpoint.history.{name}"].tolist())
        history.metrics.update({m: tensors[f"checkpoint.metrics.{m}"].tolist() for m in self._content["metrics"]})
        return self._content["ended"]

    def resume_callbacks(self, callbacks: Iterable[Callback]) -> None:
        """Hand each callback the state that the file has of it."""
        for name, callback in by_name(callbacks).items():
            if state := state_of(name, self._tensors):
                callback.resume(state)

    def save(self, run: Run, callbacks: Iterable[Callback], ended: bool) -> None:
        """Write the file, if it is due. ended: whether a callback ends the fit."""
        net, history, epochs = run.net, run.history, len(run.history.cost)
        if epochs % self.every and epochs < run.epochs and not ended:
            return
        tensors, content = model_file.content_of(net, net.metadata)
        tensors |= {f"checkpoint.{name}": values for name, values in net.state.tensors().items()}
        for name in SERIES:
            tensors[f"checkpoint.history.{name}"] = np.array(getattr(history, name), np.float64)
        for name, values in history.metrics.items():
            tensors[f"checkpoint.metrics.{name}"] = np.array(values, np.float64)
        for name, callback in by_name(callbacks).items():
            tensors |= {f"checkpoint.{name}.{key}": np.asarray(value) for key, value in callback.state().items()}
        content["checkpoint"] = {
            "fit": self._fit, "epochs": epochs, "steps": history.steps, "metrics": list(history.metrics), "ended": ended,
            "epochs_shuffled": net.epochs_shuffled,
        }  # fmt: skip
        safetensors.write(self.path, tensors, content)


def by_name(callbacks: Iterable[Callback]) -> dict[str, Callback]:
    """Return callbacks by names that are the same in each run of a script: the class, and a number within the class."""
    count: Counter[str] = Counter()
    found = {}
    for callback in callbacks:
        kind = type(callback).__name__
        found[f"{kind}.{count[kind]}"] = callback
        count[kind] += 1
    return found


def shown_names(names: Iterable[str]) -> str:
    """Join the names in alphabetical order."""
    return ", ".join(sorted(names)) or "none"


def state_of(name: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a file has of the callback of that name."""
    start = f"checkpoint.{name}."
    return {key.removeprefix(start): values for key, values in tensors.items() if key.startswith(start)}


def check_content(found: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """ValueError unless a file says of a fit what `save` writes: counts, and series with an entry for each epoch."""
    for name in ("epochs", "steps", "epochs_shuffled"):
        if not 0 <= safetensors.entry(found, name, int) < MANY:
            raise ValueError(f"{name}: got {found[name]}, expected a number of {name}")
    safetensors.entry(found, "ended", bool)
    epochs = found["epochs"]
    for name in SERIES:
        length = 0 if name == "validation_cost" and found["fit"]["validation_rows"] == "0" else epochs
        values = safetensors.tensor(tensors, f"checkpoint.history.{name}", (length,), np.float64)
        if name in ("cost", "learning_rate") and not np.isfinite(values).all():
            raise ValueError(f"checkpoint.history.{name}: got NaN or infinity, expected finite numbers")
    if (names := shown_names(map(str, safetensors.entry(found, "metrics", list)))) != found["fit"]["metrics"]:
        raise ValueError(f"metrics: got {names}, expected {found['fit']['metrics']}")
    for name in found["metrics"]:
        safetensors.tensor(tensors, f"checkpoint.metrics.{name}", (epochs,), np.float64)


def check_state(net: Network, moments: int, tensors: dict[str, np.ndarray]) -> None:
    """ValueError unless a file has parameters, counters and that number of moments for this network."""
    model_file.check_parameters(net, tensors)
    if np.isnan(safetensors.tensor(tensors, "checkpoint.moments", (moments, net.parameters.size), net.dtype)).any():
        raise ValueError("checkpoint.moments: got NaN, expected numbers")
    counters = safetensors.tensor(tensors, "checkpoint.counters", (2,), np.int64)
    if not ((counters >= 0) & (counters < MANY)).all():
        raise ValueError(f"checkpoint.counters: got {counters.tolist()}, expected counts")
