"""What both estimators share: parameters, validation of data, weights as scikit-learn shows them, fits."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastbp.activations import CustomActivation, names
from fastbp.callbacks import as_callbacks
from fastbp.layers import Dense
from fastbp.model import Sequential
from fastbp.optimizers import Optimizer
from fastbp.sklearn.architecture import activations_of, built, initial_weights
from fastbp.sklearn.hooks import CallbackSupportMixin, Hooks
from fastbp.sklearn.lbfgs import fit_lbfgs
from fastbp.sklearn.objective import Objective
from fastbp.sklearn.solvers import Rate
from fastbp.sklearn.sparse import handy, output_of
from fastbp.sklearn.stochastic import Data, Epochs, Fit, check_callbacks
from fastbp.sklearn.workers import one_thread_in_workers

SOLVERS = ("lbfgs", "sgd", "adam", "adamw", "rmsprop", "adagrad")


def at_least(low: float, kind: type = Real) -> Interval:
    return Interval(kind, low, None, closed="left")


class MultilayerPerceptron(CallbackSupportMixin, BaseEstimator, ABC):
    """The common part of `MLPClassifier` and `MLPRegressor`."""

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like", at_least(1, Integral)],
        "activation": [StrOptions({"logistic", *names}), "array-like", CustomActivation],
        "solver": [StrOptions(set(SOLVERS)), Optimizer],
        "alpha": [at_least(0)],
        "batch_size": [StrOptions({"auto"}), at_least(1, Integral)],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [at_least(0)],
        "max_iter": [at_least(1, Integral)],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [at_least(0)],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [at_least(1, Integral), Options(Real, {np.inf})],
        "max_fun": [at_least(1, Integral)],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "restore_best_weights": ["boolean"],
    }

    # ---------------------------------------------------------------------------------------------- what differs

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, np.ndarray]:
        """X, and y as the network takes it: labels (rows,) of many classes, numbers (rows, outputs) otherwise."""

    @abstractmethod
    def _as_targets(self, y: Any, dtype: Any) -> np.ndarray:
        """y of a validation set in that form."""

    @abstractmethod
    def _objective(self, y: np.ndarray, weights: np.ndarray | None) -> Objective: ...

    @abstractmethod
    def _outputs_of(self, y: np.ndarray) -> tuple[int, str]:
        """(outputs, the name of their activation)."""

    @abstractmethod
    def _score_of(self, net: Sequential, held: Data) -> float: ...

    def _stratified_by(self, y: np.ndarray) -> np.ndarray | None:
        """What the split for early stopping keeps the shares of."""
        return None

    def _weights_of_samples(self, y: Any, sample_weight: np.ndarray | None) -> np.ndarray | None:
        return sample_weight

    # ------------------------------------------------------------------------------------------------------- fits

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, callbacks: Any, incremental: bool = False
    ) -> Any:
        callbacks = as_callbacks(callbacks)
        if self.solver == "lbfgs":
            self._refuse_with_lbfgs(validation_data, callbacks)
        check_callbacks(callbacks, validated=self.early_stopping or validation_data is not None)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        if not first:
            self._network_for().refuse_read_only()
        given = y
        X, y = self._validate_input(X, y, incremental, reset=first)
        X = handy(X)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        sample_weight = self._weights_of_samples(given, sample_weight)
        random = check_random_state(self.random_state)
        if first:
            self._initialize(X, y, random)
        with one_thread_in_workers():
            if self.solver == "lbfgs":
                net = self._network_for(random)
                fit_lbfgs(self, net, self._objective(y, sample_weight), X, y, sample_weight)
            else:
                self._fit_stochastic(X, y, sample_weight, validation_data, callbacks, incremental, random)
        return self

    def _refuse_with_lbfgs(self, validation_data: Any, callbacks: tuple) -> None:
        for name, given in (
            ("validation_data", validation_data is not None),
            ("callbacks", bool(callbacks) or hasattr(self, "_skl_callbacks")),
            ("dropout", np.any(self.dropout)),
            ("restore_best_weights", self.restore_best_weights),
        ):
            if given:
                raise ValueError(f"{name}: got one with solver='lbfgs', expected it with a solver that has epochs only")

    def _initialize(self, X: Any, y: np.ndarray, random: np.random.RandomState) -> None:
        """New weights, and attributes as before a first epoch."""
        outputs, self.out_activation_ = self._outputs_of(y)
        units = [X.shape[1], *np.atleast_1d(self.hidden_layer_sizes).tolist(), outputs]
        if min(units[1:]) <= 0:
            raise ValueError(f"hidden_layer_sizes must be > 0, got {units[1:-1]}.")
        self.n_outputs_, self.n_layers_ = outputs, len(units)
        self.n_iter_ = self.t_ = 0
        self.__dict__.pop("network_", None)
        self.coefs_, self.intercepts_ = initial_weights(units, self.activation == "logistic", X.dtype, random)
        if self.solver != "lbfgs":
            self.loss_curve_: list[float] = []
            self.validation_loss_curve_: list[float] | None = None
            self._no_improvement_count = 0
            self.best_loss_ = None if self.early_stopping else np.inf
            self.validation_scores_: list[float] | None = [] if self.early_stopping else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _fit_stochastic(
        self, X: Any, y: np.ndarray, weights: Any, validation_data: Any, callbacks: tuple, incremental: bool,
        random: np.random.RandomState,
    ) -> None:  # fmt: skip
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        held = None
        if validation_data is not None:
            held = self._given_validation(validation_data, X.dtype)
        elif self.early_stopping:
            X, y, weights, held = self._split(X, y, weights, random)
        if held is not None and getattr(self, "validation_loss_curve_", None) is None:
            self.validation_loss_curve_ = []
        net = self._network_for(random)
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = Rate(self)
            net._rule = None  # a new fit begins with new moments
        hooks = Hooks(self, 1 if incremental else self.max_iter, X, y, weights)
        epochs = Epochs(
            self, net, self._objective(y, weights), Data(X, y, weights), held, self._rows_at_once(X.shape[0]),
            1 if incremental else self.max_iter,
        )  # fmt: skip
        Fit(self, epochs, callbacks, hooks, incremental).run()
        hooks.end()

    def _given_validation(self, validation_data: Any, dtype: Any) -> Data:
        if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
            got = type(validation_data).__name__
            raise TypeError(f"validation_data: got {got}, expected (X, y) or (X, y, sample_weight)")
        X, y, *weights = validation_data
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=False)
        weight = _check_sample_weight(weights[0], X) if weights and weights[0] is not None else None
        return Data(handy(X), self._as_targets(y, dtype), weight)

    def _split(self, X: Any, y: np.ndarray, weights: Any, random: np.random.RandomState) -> tuple:
        """The rows to train on and those held out: (X, y, weights, held)."""
        arrays = [X, y] if weights is None else [X, y, weights]
        X, X_held, y, y_held, *both = train_test_split(
            *arrays, random_state=random, test_size=self.validation_fraction, stratify=self._stratified_by(y)
        )
        if X_held.shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        weights, weights_held = both or (None, None)
        return X, y, weights, Data(X_held, y_held, weights_held)

    def _rows_at_once(self, rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, rows)
        if self.batch_size > rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2
            )
        return min(self.batch_size, rows)

    # ---------------------------------------------------------------------------------------------------- weights

    @staticmethod
    def weights_in(net: Sequential) -> dict[str, Any]:
        """The attributes that hold a network and show its weights; the arrays are views of its parameters."""
        dense = [layer for layer in net.layers if isinstance(layer, Dense)]
        coefs, intercepts = [layer.weight.T for layer in dense], [layer.bias for layer in dense]
        return {"network_": net, "coefs_": coefs, "intercepts_": intercepts, "_views": (*coefs, *intercepts)}

    def _network_for(self, random: Any = None) -> Sequential:
        """The network, with the weights that `coefs_` and `intercepts_` hold: users may have assigned others."""
        if not hasattr(self, "network_"):
            seed = 0 if random is None else int(random.randint(2**63 - 1, dtype=np.int64))
            units = [len(self.coefs_[0]), *(len(b) for b in self.intercepts_)]
            activations = activations_of(self.activation, len(units) - 2)
            net = built(units, activations, self.dropout, self.coefs_, self.intercepts_, seed)
            self.__dict__.update(self.weights_in(net))
        shown = (*self.coefs_, *self.intercepts_)
        if len(shown) != len(self._views) or any(a is not b for a, b in zip(shown, self._views, strict=True)):
            self.__dict__.update(self.weights_in(copy.deepcopy(self.network_)))
            for view, values in zip(self._views, shown, strict=True):
                view[...] = values
        return self.network_

    def __getstate__(self) -> dict[str, Any]:
        """Without the views of the network's parameters: a copy has its own."""
        if hasattr(self, "network_"):
            self._network_for()
        state = super().__getstate__()
        hidden = ("coefs_", "intercepts_", "_views") if "network_" in state else ()
        return {name: value for name, value in state.items() if name not in hidden}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "network_" in state:
            self.__dict__.update(self.weights_in(state["network_"]))

    # ------------------------------------------------------------------------------------------------- predictions

    def _output(self, X: Any) -> np.ndarray:
        """The network's output for X."""
        if not hasattr(self, "coefs_"):
            check_is_fitted(self)  # to say so; where all is well it takes longer than a small prediction
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        with one_thread_in_workers():
            return output_of(self._network_for(), X)

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
