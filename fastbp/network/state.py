"""The state of a network: the vectors that training changes, and what it counts."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np

from fastbp import optimizers
from fastbp.engine.finite import copy_if_finite
from fastbp.engine.memory import zeros_apart
from fastbp.network.sharing import region_for_vector


class Snapshot(NamedTuple):
    """A state to go back to, apart from parameters and statistics, which are `State.kept`."""

    counters: np.ndarray
    rule: str | None
    moments: (
        np.ndarray
    )  # those of the network themselves: what a fit by another optimizer replaces, but does not change
    epochs_shuffled: int


class State:
    """Parameters and statistics, gradients, moments, and counts.

    parameters and statistics lie in one block, `values`: what keeps, copies or restores the ones does so with the others.
    Statistics are not trained. `counters`: updates made, forward passes of training made. `rule`: the kind of optimizer
    that the moments belong to. `kept`: the last finite `values` of a fit.
    """

    def __init__(self, parameters: int, statistics: int, dtype: np.dtype):
        self.size = parameters
        self.values = zeros_apart(parameters + statistics, dtype)
        self.moments = np.zeros((0, parameters), dtype)
        self.counters = zeros_apart(2, np.int64)
        self.rule: str | None = None
        self.epochs_shuffled = 0
        self.kept = np.zeros(0, dtype)
        self.stored: np.ndarray | None = None  # gradients, once anything asks for them
        self._cut()

    def _cut(self) -> None:
        self.parameters, self.statistics = self.values[: self.size], self.values[self.size :]

    def __getstate__(self) -> dict[str, Any]:
        """Everything but views."""
        return {name: value for name, value in vars(self).items() if name not in ("parameters", "statistics")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """With vectors of its own: those at hand may lie in a file, read-only, as joblib's workers get them."""
        vars(self).update(state)
        for name in ("values", "moments", "counters", "kept", "stored"):
            if state[name] is not None:
                setattr(self, name, owned(state[name]))
        self._cut()

    @property
    def gradients(self) -> np.ndarray:
        """The gradients of the last backward pass that stored them; made at the first use."""
        if self.stored is None:
            self.stored = zeros_apart(self.size, self.values.dtype)
        return self.stored

    def refuse_read_only(self) -> None:
        """ValueError where a vector that training writes was marked as read-only."""
        check_writable("parameters", self.parameters)
        check_writable("gradients", self.stored)
        check_writable("moments", self.moments)

    # ---------------------------------------------------------------------------------------------------- the optimizer

    def use(self, optimizer: optimizers.Optimizer, within_fit: bool = False) -> bool:
        """Provide moments for the optimizer: those at hand when it is of the kind used before, otherwise new ones. Returns
        whether they are new."""
        self.refuse_read_only()
        if self.rule == optimizer.rule:
            return False
        if within_fit:
            raise RuntimeError(
                f"optimizer: got {optimizer.rule} within a fit by {self.rule}, whose moments it would replace, "
                "expected the same kind"
            )
        self.rule = optimizer.rule
        self.moments = zeros_apart((optimizer.moments, self.size), self.values.dtype)
        self.counters[0] = 0
        return True

    def restart(self) -> None:
        """Let the next optimizer begin with new moments."""
        self.rule = None

    def rescale_moments(self, factor: float) -> None:
        """Multiply the moments, as where a velocity has to keep its effect at another learning rate."""
        self.moments *= factor

    # --------------------------------------------------------------------------------------------------- going back to it

    def keep_if_finite(self, keep: bool = True) -> bool:
        """Return whether all parameters and statistics are finite; if so, and if asked to `keep` them, copy them to `kept`."""
        if self.kept.size != self.values.size:
            self.kept = np.empty_like(self.values)
        vectors = (self.values.ctypes.data, self.kept.ctypes.data if keep else 0, self.values.size)
        return bool(copy_if_finite.of(self.values.dtype.name).run(*vectors, region_for_vector(self.values.size)))

    def snapshot(self) -> Snapshot:
        """Return what `restore` goes back to, together with `kept`."""
        return Snapshot(self.counters.copy(), self.rule, self.moments, self.epochs_shuffled)

    def restore(self, before: Snapshot, moments: np.ndarray | None) -> None:
        """Go back, all in place: a Training may share these arrays. moments: a copy, where they have changed since."""
        self.values[:], self.counters[:] = self.kept, before.counters
        self.rule, self.epochs_shuffled, self.moments = before.rule, before.epochs_shuffled, before.moments
        if moments is not None:
            self.moments[:] = moments
        elif not before.counters[0]:
            self.moments[:] = 0

    def begin_anew(self) -> None:
        """Go back to the last finite parameters, with the optimizer's state as if no step had been made."""
        self.values[:] = self.kept
        self.moments[:], self.counters[0] = 0, 0

    def without_moments(self) -> State:
        """Return a copy as it is before the first optimizer."""
        made = State(self.size, self.statistics.size, self.values.dtype)
        made.values[:], made.counters[:], made.epochs_shuffled = self.values, self.counters, self.epochs_shuffled
        return made

    # ------------------------------------------------------------------------------------------------------------- files

    def tensors(self) -> dict[str, np.ndarray]:
        """Return what a checkpoint holds of it, beside the layers' tensors and statistics."""
        return {"moments": self.moments, "counters": self.counters}

    def load(self, tensors: dict[str, np.ndarray], epochs_shuffled: int) -> None:
        """Take what `tensors` gave back in."""
        self.moments[:], self.counters[:] = tensors["moments"], tensors["counters"]
        self.epochs_shuffled = epochs_shuffled

    def digest(self) -> str:
        """Return a hash of all that training depends on, beside layers and seed."""
        found = hashlib.sha256(repr((self.rule, self.epochs_shuffled)).encode())
        for array in (self.values, self.moments, self.counters):
            found.update(array.tobytes())
        return found.hexdigest()[:16]


def former_state(content: dict[str, Any]) -> State:
    """Return the state of a network that was pickled before it had a State, taken out of what was pickled."""
    vectors = {name: content.pop(f"_{name}") for name in ("parameters", "moments", "counters", "kept", "gradients")}
    state = State(vectors["parameters"].size, 0, vectors["parameters"].dtype)
    state.values[:], state.counters[:] = vectors["parameters"], vectors["counters"]
    state.moments, state.kept = owned(vectors["moments"]), owned(vectors["kept"])
    if vectors["gradients"] is not None:
        state.gradients[:] = vectors["gradients"]
    state.rule, state.epochs_shuffled = content.pop("_rule"), content.pop("epochs_shuffled")
    return state


def owned(vector: np.ndarray) -> np.ndarray:
    """Return a copy, in memory that compiled code may write."""
    copied = zeros_apart(vector.shape, vector.dtype)
    copied[...] = vector
    return copied


def check_writable(name: str, vector: np.ndarray | None) -> None:
    """ValueError for a vector that was made read-only."""
    if vector is not None and not vector.flags.writeable:
        raise ValueError(f"{name}: got a vector that was made read-only, expected one that can be written")
