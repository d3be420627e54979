"""Checkpoint: files from which a fit that was killed goes on, to the same bits."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fastbp import io, saving
from fastbp.callbacks import Callback
from fastbp.epochs import Fit
from fastbp.model import Sequential
from fastbp.schedules import whole_number


class Checkpoint(Callback):
    """Writes all that a fit consists of to `path` after every `every` epochs and after the last one; goes on from there.

    Where the file is there when a fit begins, the fit goes on after the epochs in it: the same script, run again after it was
    killed, ends with the same bits in parameters, moments and history (but for `seconds`) as if it had run through, and
    changes nothing once it has. `epochs` counts all of them, and may be raised. The network must be in the state in which the
    first of these fits found it, and settings and number of rows those of that fit, otherwise a ValueError says what differs;
    the data themselves are not compared. Other callbacks go on by their `state` and `resume`.

    The file is a model file (extra `io`) that `Sequential.load` reads too; it is there whole or not at all.
    """

    def __init__(self, path: str | os.PathLike, every: int = 1):
        self.path, self.every = Path(path), whole_number("every", every, at_least=1)
        self._content: dict[str, Any] = {}
        self._tensors: dict[str, np.ndarray] = {}
        self._fit: dict[str, Any] = {}

    def look(self, net: Sequential, settings: dict[str, Any], epochs: int) -> None:
        """Read the file, if there is one; changes nothing else. ValueError if it is not of a fit like this one."""
        io.require_safetensors()
        saving.content_of(net, {})  # refuses layers that a file cannot name
        shown = {name: re.sub(" at 0x[0-9a-f]+", "", str(value)) for name, value in settings.items()}
        self._fit = {**shown, "network": f"{net!r}, {digest(net)}"}
        self._content, self._tensors = {}, {}
        if not self.path.exists():
            return
        tensors, content = io.read(self.path)
        if "checkpoint" not in content:
            raise ValueError(f"{self.path}: got a model file without the state of a fit, expected a checkpoint's path")
        self.compare(content["checkpoint"], epochs)
        self._content, self._tensors = content["checkpoint"], tensors

    def compare(self, found: dict[str, Any], epochs: int) -> None:
        for name, value in self._fit.items():
            if found["fit"].get(name) != value:
                raise ValueError(
                    f"{self.path}: got the checkpoint of another fit, whose {name} was {found['fit'].get(name)}, expected "
                    f"{value}; delete the file to begin anew, or give another path"
                )
        if found["epochs"] > epochs:
            raise ValueError(f"epochs: got {epochs}, expected at least the {found['epochs']} that {self.path} has")

    def resume_fit(self, run: Fit) -> bool:
        """Bring the network and the history to where the file has them; whether a callback had ended the fit."""
        if not self._content:
            return False
        net, history = run.net, run.history
        saving.set_parameters(net, self._tensors)
        net._moments[:] = self._tensors["checkpoint.moments"]
        net._counters[:] = self._tensors["checkpoint.counters"]
        net.epochs_shuffled, history.steps = self._content["epochs_shuffled"], self._content["steps"]
        for name in ("cost", "validation_cost", "learning_rate", "seconds"):
            getattr(history, name).extend(self._tensors[f"checkpoint.history.{name}"].tolist())
        history.metrics.update({m: self._tensors[f"checkpoint.metrics.{m}"].tolist() for m in self._content["metrics"]})
        net.keep_if_finite()
        return self._content["ended"]

    def resume_callbacks(self, callbacks: Iterable[Callback]) -> None:
        for name, callback in named(callbacks).items():
            start = f"checkpoint.{name}."
            state = {key.removeprefix(start): t for key, t in self._tensors.items() if key.startswith(start)}
            if state:
                callback.resume(state)

    def save(self, run: Fit, callbacks: Iterable[Callback], ended: bool) -> None:
        """Write the file, if it is due; `ended`: a callback ends the fit."""
        net, history, epochs = run.net, run.history, len(run.history.cost)
        if epochs % self.every and epochs < run.epochs and not ended:
            return
        tensors, content = saving.content_of(net, net.metadata)
        tensors |= {"checkpoint.moments": net._moments, "checkpoint.counters": net._counters}
        for name in ("cost", "validation_cost", "learning_rate", "seconds"):
            tensors[f"checkpoint.history.{name}"] = np.array(getattr(history, name), np.float64)
        for name, values in history.metrics.items():
            tensors[f"checkpoint.metrics.{name}"] = np.array(values, np.float64)
        for name, callback in named(callbacks).items():
            tensors |= {f"checkpoint.{name}.{key}": np.asarray(value) for key, value in callback.state().items()}
        content["checkpoint"] = {
            "fit": self._fit, "epochs": epochs, "steps": history.steps, "metrics": list(history.metrics), "ended": ended,
            "epochs_shuffled": net.epochs_shuffled,
        }  # fmt: skip
        io.write(self.path, tensors, content)


def named(callbacks: Iterable[Callback]) -> dict[str, Callback]:
    """Callbacks by names that are the same whenever a script gives the same ones: their class and which of it they are."""
    count: Counter[str] = Counter()
    found = {}
    for callback in callbacks:
        kind = type(callback).__name__
        found[f"{kind}.{count[kind]}"] = callback
        count[kind] += 1
    return found


def digest(net: Sequential) -> str:
    """A hash of all that the training of a network depends on, beside its layers and seed."""
    state = hashlib.sha256(repr((net._rule, net.epochs_shuffled)).encode())
    for array in (net.parameters, net._moments, net._counters):
        state.update(array.tobytes())
    return state.hexdigest()[:16]
