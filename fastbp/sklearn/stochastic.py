"""The epochs of a stochastic solver.

Between two checks of scikit-learn's rule, compiled code runs as many epochs as must pass before the rule can end the fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastbp.callbacks.base import Callback, end_fit
from fastbp.callbacks.checkpoint import Checkpoint
from fastbp.callbacks.early_stopping import EarlyStopping
from fastbp.network.network import Network
from fastbp.network.samples import VALIDATION, Evaluation
from fastbp.sklearn.hooks import Hooks
from fastbp.sklearn.objective import Objective
from fastbp.sklearn.records import Records
from fastbp.sklearn.solvers import Rate, optimizer_of, penalty_of
from fastbp.sklearn.sparse import SparseJob, SparseSamples, samples_of
from fastbp.sklearn.warned import warn
from fastbp.training.jobs import Job, JobSpec, SingleJob


class Data(NamedTuple):
    """x and y as the network takes them; weights, or None."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None


class Epochs:
    """The training of one estimator's network. anew: it begins with new moments, where otherwise it would go on with those at
    hand."""

    def __init__(
        self, estimator: Any, net: Network, objective: Objective, data: Data, held: Data | None, *, batch_size: int,
        epochs: int, anew: bool,
    ):  # fmt: skip
        self.net, self.objective, self.epochs, self.data = net, objective, epochs, data
        loss, optimizer, validation = objective.loss, optimizer_of(estimator), None
        optimizer.check(net.dtype)
        if held is not None:
            validation = Evaluation(net, loss, samples_of(net, loss, *held, names=VALIDATION).checked(x=True))
        samples = samples_of(net, loss, *data).checked()
        if anew:
            net.state.restart()
        spec = JobSpec(net, loss, optimizer, batch_size, epochs, samples, validation)
        stopping = EarlyStopping(epochs + 1) if estimator.restore_best_weights else None
        self.job = single_job(spec, estimator.shuffle, penalty_of(estimator), stopping)
        self.training = self.job.run.training

    def set_rate(self, rate: float) -> None:
        """Set the learning rate from now on; velocities, which scikit-learn multiplies by it, keep their effect."""
        old = self.training.learning_rate[0]
        if rate != old:
            self.training.learning_rate[0] = rate
            self.net.state.rescale_moments(old / rate)

    def losses(self, first: int) -> list[tuple[float, float | None]]:
        """Return the losses and the validation losses of the finished epochs, but for the `first` ones."""
        history, reported = self.job.history, self.objective.reported
        found = [reported(*pair) for pair in zip(history.cost[first:], self.job.penalties[first:], strict=True)]
        held: list[Any] = [reported(cost) for cost in history.validation_cost[first:]] or [None] * len(found)
        return list(zip(found, held, strict=True))


def single_job(spec: JobSpec, shuffle: bool, penalty: float, stopping: EarlyStopping | None) -> SingleJob | SparseJob:
    """Return what advances the network, which depends on whether all samples are dense."""
    all_samples = (spec.samples, spec.validation and spec.validation.samples)
    if any(isinstance(samples, SparseSamples) for samples in all_samples):
        return SparseJob(spec, shuffle, penalty, stopping)
    return SingleJob(Job(spec, shuffle, stopping), penalty)


def check_callbacks(callbacks: tuple[Callback, ...], validated: bool) -> None:
    """Raise what would be raised late, in the midst of a fit, or never, as for a checkpoint that no estimator writes."""
    for callback in callbacks:
        if isinstance(callback, Checkpoint):
            raise ValueError(
                "callbacks: got a fastbp.Checkpoint, expected others: it goes with the fit of a Sequential"
            )
        callback.check_fit(["cost", *["validation_cost"] * validated, "learning_rate", "seconds"])


class EstimatorFit:
    """One call of `fit` or `partial_fit`: when to look up from the epochs, and what to do then.

    score: measures the network on the validation data, for `early_stopping`; None without it.
    """

    def __init__(
        self, estimator: Any, epochs: Epochs, records: Records, rate: Rate, score: Callable[[], float] | None,
        callbacks: tuple[Callback, ...], incremental: bool,
    ):  # fmt: skip
        self.e, self.epochs, self.records, self.rate = estimator, epochs, records, rate
        self.score, self.callbacks, self.incremental = score, callbacks, incremental
        self.hooks = Hooks(estimator, epochs.epochs, *epochs.data)
        self.at_each = bool(score or callbacks or self.hooks.active or estimator.verbose or rate.changes)
        self.best: np.ndarray | None = None
        if estimator.solver == "sgd":
            epochs.training.learning_rate[0] = rate.learning_rate  # where the fit before has left it

    def run(self) -> None:
        """Train until the last epoch, or until the rule, a callback or Ctrl-C ends the fit."""
        e, net, history = self.e, self.epochs.net, self.epochs.job.history
        e.n_iter_ = 0
        self.hooks.begin()
        try:
            for callback in self.callbacks:
                callback.on_fit_begin(net, history)
            while e.n_iter_ < self.epochs.epochs and not self.stretch():
                pass
        except KeyboardInterrupt:
            warn("Training interrupted by user.")
        finally:
            self.epochs.job.finish()
            end_fit(self.callbacks, net, history)
        if self.best is not None:
            net.state.values[:] = self.best
        self.hooks.end()

    def stretch(self) -> bool:
        """Run as many epochs as must pass before the rule can end the fit; return whether it ends."""
        e, job = self.e, self.epochs.job
        until_stop = max(1, e.n_iter_no_change - self.records.stale + 1)
        count = 1 if self.at_each else int(min(self.epochs.epochs - e.n_iter_, until_stop))
        first = e.n_iter_
        self.hooks.begin_epoch()
        try:
            job.advance(first + count)
        finally:
            for losses in self.epochs.losses(first):
                self.note(*losses)
        if job.diverged:
            return self.end_diverged()
        asked = [callback.on_epoch_end(self.epochs.net, job.history) is True for callback in self.callbacks]
        return any([*asked, self.hooks.end_epoch(), self.ends()])

    def note(self, loss: float, validation_loss: float | None) -> None:
        """Add a finished epoch to what the estimator shows, and keep the weights of the best score."""
        self.records.note_epoch(loss, validation_loss, len(self.epochs.data.y))
        if self.score is None:
            self.records.judge_loss(loss)
        elif self.records.judge_score(self.score()):
            self.best = self.epochs.net.state.values.copy()

    def ends(self) -> bool:
        """Do as scikit-learn does after an epoch: end the fit (then True is returned), lower the learning rate, or warn."""
        e = self.e
        self.rate.end_epoch(e.t_)
        if self.records.stale > e.n_iter_no_change:
            if self.rate.give_up():
                self.say("Stopping.")
                return True
            self.say(f"Setting learning rate to {self.rate.learning_rate:f}")
            self.records.stale = 0
        if e.solver == "sgd":
            self.epochs.set_rate(self.rate.learning_rate)
        if e.n_iter_ == e.max_iter and not self.incremental:
            self.warn_of_the_end()
        return False

    def say(self, consequence: str) -> None:
        """Print, if the estimator is verbose, that it no longer improves, and what follows."""
        if self.e.verbose:
            what, epochs = "Validation score" if self.score else "Training loss", self.e.n_iter_no_change
            print(f"{what} did not improve more than tol={self.e.tol:f} for {epochs} consecutive epochs. {consequence}")

    def warn_of_the_end(self) -> None:
        warn(
            f"Stochastic Optimizer: Maximum iterations ({self.e.max_iter}) reached and the optimization hasn't converged yet.",
            ConvergenceWarning,
        )

    def end_diverged(self) -> bool:
        """End the fit where the loss was not finite: with the best weights of an epoch if there are any, else by an error."""
        e = self.e
        if self.best is None and not (e.restore_best_weights and e.n_iter_):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
                " preprocessed."
            )
        self.records.note_divergence()
        message = f"Stochastic Optimizer: the loss was not finite in epoch {e.n_iter_}; the weights of the best epoch are kept."
        warn(message, ConvergenceWarning)
        return True
