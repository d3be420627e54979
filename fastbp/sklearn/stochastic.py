"""The epochs of a stochastic solver: compiled in stretches that cannot end sooner, with scikit-learn's rule in between."""

from __future__ import annotations

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
from fastbp.sklearn.solvers import Rate, optimizer_of, penalty_of
from fastbp.sklearn.sparse import AloneOnSparse, SparseSamples, samples_of
from fastbp.sklearn.warned import warn
from fastbp.training.jobs import Alone, Plan, Work


class Data(NamedTuple):
    """x and y as the network takes them; weights, or None."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None


class Epochs:
    """The training of one estimator's network."""

    def __init__(
        self, estimator: Any, net: Network, objective: Objective, data: Data, held: Data | None, *, batch_size: int,
        epochs: int, rate: Rate | None,
    ):  # fmt: skip
        self.net, self.objective, self.held, self.epochs, self.data = net, objective, held, epochs, data
        loss, optimizer, validation = objective.loss, optimizer_of(estimator), None
        optimizer.check(net.dtype)
        if held is not None:
            validation = Evaluation(net, loss, samples_of(net, loss, *held, names=VALIDATION).checked(x=True))
        samples = samples_of(net, loss, *data).checked()
        if rate is not None:
            net.state.restart()  # what does not go on begins with new moments
        plan = Plan(net, loss, optimizer, batch_size, epochs, samples, validation)
        self.alone = alone(plan, estimator.shuffle, penalty_of(estimator), estimator.restore_best_weights)
        self.training = self.alone.run.training

    def set_rate(self, rate: float) -> None:
        """The learning rate from now on; velocities, which scikit-learn multiplies by it, keep their effect."""
        old = self.training.learning_rate[0]
        if rate != old:
            self.training.learning_rate[0] = rate
            self.net.state.rescale_moments(old / rate)

    def losses(self, first: int) -> list[tuple[float, float | None]]:
        """The losses and the validation losses of the epochs finished after the first so many."""
        history, reported = self.alone.history, self.objective.reported
        found = [reported(*pair) for pair in zip(history.cost[first:], self.alone.penalties[first:], strict=True)]
        held: list[Any] = [reported(cost) for cost in history.validation_cost[first:]] or [None] * len(found)
        return list(zip(found, held, strict=True))


def alone(plan: Plan, shuffle: bool, penalty: float, restores_best: bool) -> Alone | AloneOnSparse:
    """What advances the network, by whether all samples are dense."""
    all_samples = (plan.samples, plan.validation and plan.validation.samples)
    if any(isinstance(samples, SparseSamples) for samples in all_samples):
        return AloneOnSparse(plan, shuffle, penalty, restores_best)
    return Alone(Work(plan, shuffle, EarlyStopping(plan.epochs + 1) if restores_best else None), penalty)


def check_callbacks(callbacks: tuple[Callback, ...], validated: bool) -> None:
    """Raises what would be raised late: in mid-fit, or never, as for a checkpoint that nobody writes."""
    for callback in callbacks:
        if isinstance(callback, Checkpoint):
            raise ValueError(
                "callbacks: got a fastbp.Checkpoint, expected others: it goes with the fit of a Sequential"
            )
        callback.check_fit(["cost", *["validation_cost"] * validated, "learning_rate", "seconds"])


class Fit:
    """One call of `fit` or `partial_fit`: when to look up from the epochs, and what to do then."""

    def __init__(self, estimator: Any, epochs: Epochs, callbacks: tuple[Callback, ...], incremental: bool):
        self.e, self.epochs, self.callbacks = estimator, epochs, callbacks
        self.hooks = Hooks(estimator, epochs.epochs, *epochs.data)
        self.early, self.incremental = estimator.early_stopping, incremental
        self.rate: Rate = estimator._optimizer
        self.at_each = bool(self.early or callbacks or self.hooks.active or estimator.verbose or self.rate.changes)
        self.best: np.ndarray | None = None
        if estimator.solver == "sgd":
            epochs.training.learning_rate[0] = self.rate.learning_rate  # where the fit before has left it

    def run(self) -> None:
        e, net, history = self.e, self.epochs.net, self.epochs.alone.history
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
            self.epochs.alone.finish()
            end_fit(self.callbacks, net, history)
        if self.best is not None:
            net.state.values[:] = self.best
        self.hooks.end()

    def stretch(self) -> bool:
        """The next epochs, so many that the rule cannot end the fit before the last of them; whether it ends it then."""
        e = self.e
        until_stop = max(1, e.n_iter_no_change - e._no_improvement_count + 1)
        count = 1 if self.at_each else int(min(self.epochs.epochs - e.n_iter_, until_stop))
        first = e.n_iter_
        self.hooks.begin_epoch()
        try:
            self.epochs.alone.advance(first + count)
        finally:
            for losses in self.epochs.losses(first):
                self.note(*losses)
        if self.epochs.alone.diverged:
            return self.end_diverged()
        net, history = self.epochs.net, self.epochs.alone.history
        asked = [callback.on_epoch_end(net, history) is True for callback in self.callbacks]
        return any([*asked, self.hooks.end_epoch(), self.ends()])

    def note(self, loss: float, validation_loss: float | None) -> None:
        """An epoch is finished."""
        e = self.e
        e.n_iter_ += 1
        e.t_ += len(self.epochs.data.y)
        e.loss_ = loss
        e.loss_curve_.append(loss)
        if e.validation_loss_curve_ is not None:
            e.validation_loss_curve_.append(float("nan") if validation_loss is None else validation_loss)
        if e.verbose:
            print(f"Iteration {e.n_iter_}, loss = {loss:.8f}")
        if self.early:
            self.note_score(e._score_of(self.epochs.net, self.epochs.held))
        else:
            e._no_improvement_count = e._no_improvement_count + 1 if loss > e.best_loss_ - e.tol else 0
            e.best_loss_ = min(loss, e.best_loss_)

    def note_score(self, score: float) -> None:
        e = self.e
        e.validation_scores_.append(score)
        if e.verbose:
            print(f"Validation score: {score:f}")
        e._no_improvement_count = e._no_improvement_count + 1 if score < e.best_validation_score_ + e.tol else 0
        if score > e.best_validation_score_:
            e.best_validation_score_ = score
            self.best = self.epochs.net.state.values.copy()

    def ends(self) -> bool:
        """What scikit-learn does after an epoch: end the fit, or make the learning rate smaller, or warn."""
        e = self.e
        self.rate.end_epoch(e.t_)
        if e._no_improvement_count > e.n_iter_no_change:
            if self.rate.give_up():
                self.say("Stopping.")
                return True
            self.say(f"Setting learning rate to {self.rate.learning_rate:f}")
            e._no_improvement_count = 0
        if e.solver == "sgd":
            self.epochs.set_rate(self.rate.learning_rate)
        if e.n_iter_ == e.max_iter and not self.incremental:
            self.warn_of_the_end()
        return False

    def say(self, consequence: str) -> None:
        if self.e.verbose:
            what, epochs = "Validation score" if self.early else "Training loss", self.e.n_iter_no_change
            print(f"{what} did not improve more than tol={self.e.tol:f} for {epochs} consecutive epochs. {consequence}")

    def warn_of_the_end(self) -> None:
        warn(
            f"Stochastic Optimizer: Maximum iterations ({self.e.max_iter}) reached and the optimization hasn't converged yet.",
            ConvergenceWarning,
        )

    def end_diverged(self) -> bool:
        """The loss was not finite: with the best weights of an epoch at hand the fit ends, otherwise it fails."""
        e = self.e
        if self.best is None and not (e.restore_best_weights and e.n_iter_):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
                " preprocessed."
            )
        nan = float("nan")
        e.n_iter_, e.loss_ = e.n_iter_ + 1, nan
        e.loss_curve_.append(nan)
        if self.early:
            e.validation_scores_.append(nan)
        message = f"Stochastic Optimizer: the loss was not finite in epoch {e.n_iter_}; the weights of the best epoch are kept."
        warn(message, ConvergenceWarning)
        return True
