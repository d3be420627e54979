"""What both estimators share: parameters, validation of data, weights as scikit-learn shows them, fits."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastbp.callbacks.base import as_callbacks
from fastbp.data.convert import as_weights
from fastbp.sequential import Sequential
from fastbp.sklearn.architecture import Blueprint, checked_sizes, initial_weights, sizes_of
from fastbp.sklearn.calls import unchanged_if_refused
from fastbp.sklearn.constraints import CONSTRAINTS
from fastbp.sklearn.held import Given
from fastbp.sklearn.hooks import CallbackSupportMixin, has_callbacks
from fastbp.sklearn.lbfgs import fit_lbfgs
from fastbp.sklearn.objective import Objective
from fastbp.sklearn.records import Records
from fastbp.sklearn.solvers import Rate
from fastbp.sklearn.sparse import dense_if_small, output_of
from fastbp.sklearn.stochastic import Data, Epochs, EstimatorFit, check_callbacks
from fastbp.sklearn.turns import HIDDEN, weights_lock
from fastbp.sklearn.warned import as_one_column, warn
from fastbp.sklearn.workers import one_thread_in_workers

EXACT = tuple(map(np.dtype, "?bBhHiIlLqQef"))  # what a network of either dtype reads as it is


class MultilayerPerceptron(CallbackSupportMixin, BaseEstimator, ABC):
    """The common part of `MLPClassifier` and `MLPRegressor`."""

    _parameter_constraints: ClassVar[dict] = CONSTRAINTS

    # The pictures of estimators and of their parameters in notebooks link to scikit-learn's description of them.
    _doc_link_module = "fastbp"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"estimator_module": "sklearn.neural_network", "estimator_name": type(self).__name__}

    # ---------------------------------------------------------------------------------------------- what differs

    _y_numeric: ClassVar[bool]

    @abstractmethod
    def _learn_classes(self, y: Any, classes: Any, incremental: bool) -> None:
        """Learn from the first y what those that follow may hold; ValueError for one that does not go with it."""

    @abstractmethod
    def _as_targets(self, y: Any, dtype: Any) -> np.ndarray:
        """y as the network takes it: labels (rows,) of many classes, numbers (rows, outputs) otherwise."""

    @abstractmethod
    def _objective(self, y: np.ndarray, weights: np.ndarray | None) -> Objective: ...

    @abstractmethod
    def _outputs_of(self, y: np.ndarray) -> tuple[int, str]:
        """(outputs, the name of their activation)."""

    @abstractmethod
    def _score_of(self, net: Sequential, held: Data) -> float: ...

    def _stratified_by(self, y: np.ndarray) -> np.ndarray | None:
        """Return what the split for early stopping keeps the shares of."""
        return None

    def _weights_of_samples(self, y: Any, sample_weight: np.ndarray | None) -> np.ndarray | None:
        return sample_weight

    # ------------------------------------------------------------------------------------------------------- fits

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation: Given | None = None, callbacks: Any = (),
        incremental: bool = False, classes: Any = None,
    ) -> Any:  # fmt: skip
        self._validate_changed()
        with unchanged_if_refused(self):
            train = self._prepared(X, y, sample_weight, validation, as_callbacks(callbacks), incremental, classes)
        with one_thread_in_workers(), self.network_.turn.taken("fit"):
            train()
        return self

    def _prepared(
        self, X: Any, y: Any, sample_weight: Any, validation: Given | None, callbacks: tuple, incremental: bool,
        classes: Any,
    ) -> Callable[[], None]:  # fmt: skip
        """Return what trains the network, after everything has been looked at."""
        self._refuse_together(validation, callbacks, incremental)
        check_callbacks(callbacks, validated=self.early_stopping or validation is not None)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        if not first:
            self._network().state.refuse_read_only()
        X, y, weights = self._checked(X, y, sample_weight, None if first else self.network_.dtype)
        self._learn_classes(y, classes, incremental)
        dtype = X.dtype if first else self.network_.dtype
        weights, y, X = self._weights_of_samples(y, weights), self._as_targets(y, dtype), dense_if_small(X)
        units, random = self._units_of(X, y), check_random_state(self.random_state)
        start = initial_weights(units, self.activation == "logistic", dtype, random) if first else None
        if first:
            self.n_iter_ = self.t_ = 0
            self.n_layers_ = len(units)
        else:
            self._refuse_other_sizes(units)
        self.n_outputs_, self.out_activation_ = self._outputs_of(y)
        if self.solver == "lbfgs":
            net = self._network_for(start, random)
            return partial(fit_lbfgs, self, net, self._objective(y, weights), X, y, weights)
        held = None
        if validation is not None:
            held = self._held(validation, y, dtype)
        elif self.early_stopping:
            X, y, weights, held = self._split(X, y, weights, random)
        records = Records(self)
        records.begin(first, held is not None)
        net = self._network_for(start, random)
        with net.turn.taken("fit"):
            epochs = Epochs(
                self, net, self._objective(y, weights), Data(X, y, weights), held,
                batch_size=self._rows_at_once(X.shape[0]), epochs=1 if incremental else self.max_iter,
                anew=self._set_rate(incremental),
            )  # fmt: skip
        score = partial(self._score_of, net, held) if held is not None and self.early_stopping else None
        return EstimatorFit(self, epochs, records, self._optimizer, score, callbacks, incremental).run

    def _validate_changed(self) -> None:
        """Look at the parameters, where they are others than those that were looked at last."""
        given = [getattr(self, name) for name in self._parameter_constraints]
        if any(a is not b for a, b in zip(given, getattr(self, "_validated", [object()]), strict=False)):
            self._validate_params()
        self._validated = given

    def _refuse_together(self, validation: Given | None, callbacks: tuple, incremental: bool) -> None:
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.solver != "lbfgs":
            return
        for name, given in (
            (validation.name if validation else "", validation is not None),
            ("callbacks", bool(callbacks) or has_callbacks(self)),
            ("dropout", np.any(self.dropout)),
            ("restore_best_weights", self.restore_best_weights),
        ):
            if given:
                raise ValueError(f"{name}: got one with solver='lbfgs', expected it with a solver that has epochs only")

    def _checked(self, X: Any, y: Any, sample_weight: Any, dtype: np.dtype | None) -> tuple:
        """X, y and weights by scikit-learn's rules, for a network of that dtype; for one to be made where it is None."""
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=self._y_numeric,
            dtype=(np.float64, np.float32) if dtype is None else (dtype, np.float32), reset=dtype is None,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = as_one_column(y)
        if sample_weight is not None:
            sample_weight = as_weights("sample_weight", _check_sample_weight(sample_weight, X), X.shape[0])
        return X, y, sample_weight

    def _held(self, given: Given, trained: np.ndarray, dtype: np.dtype) -> Data:
        """Return the validation data, looked at as X and y are."""
        try:
            X, y, weights = self._checked(given.X, given.y, given.weights, dtype)
            held = self._as_targets(y, dtype)
            if held.shape[1:] != trained.shape[1:]:
                raise ValueError(f"y: got shape {y.shape}, expected {(len(y), *trained.shape[1:])}, as y of the fit")
            return Data(dense_if_small(X), held, weights)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{given.name}: {error}") from error

    def _units_of(self, X: Any, y: np.ndarray) -> list[int]:
        """Neurons of all layers, from the input to the output."""
        hidden = np.atleast_1d(self.hidden_layer_sizes).tolist()
        if min(hidden, default=1) <= 0:
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        return [X.shape[1], *hidden, self._outputs_of(y)[0]]

    def _refuse_other_sizes(self, units: list[int]) -> None:
        """ValueError where a fit that goes on with a network has other sizes."""
        at_hand = sizes_of(self.coefs_, self.intercepts_)
        for name, got, expected in (
            ("hidden_layer_sizes", units[1:-1], at_hand[1:-1]), ("y", units[-1:], at_hand[-1:])
        ):  # fmt: skip
            if got != expected:
                outputs = " outputs" if name == "y" else ""
                raise ValueError(
                    f"{name}: got {tuple(got)}{outputs}, expected {tuple(expected)}, as the network has that warm_start and"
                    " partial_fit go on with"
                )

    def _set_rate(self, incremental: bool) -> bool:
        """Begin with a new learning rate, unless `partial_fit` goes on with that of the call before; return whether it is
        new."""
        rate, before = Rate(self), getattr(self, "_optimizer", None)
        if incremental and before is not None and before.settings == rate.settings:
            return False
        self._optimizer = rate
        return True

    def _split(self, X: Any, y: np.ndarray, weights: Any, random: np.random.RandomState) -> tuple:
        """Return the rows to train on and those held out: (X, y, weights, held)."""
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
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        return min(self.batch_size, rows)

    # ---------------------------------------------------------------------------------------------------- weights

    @staticmethod
    def weights_in(net: Sequential) -> dict[str, Any]:
        """Return the attributes that hold a network and show its weights; the arrays are views of its parameters."""
        dense: list[Any] = [layer for layer in net.layers if layer.tensors]
        coefs, intercepts = [layer.weight.T for layer in dense], [layer.bias for layer in dense]
        return {"network_": net, "coefs_": coefs, "intercepts_": intercepts, "_views": (*coefs, *intercepts)}

    def _network_for(self, start: tuple | None, random: np.random.RandomState) -> Sequential:
        """Return the network to train: one of the weights to start with, or that at hand, with the settings of today."""
        seed = int(random.randint(2**63 - 1, dtype=np.int64)) if start else self._network().seed
        coefs, intercepts = start or (self.coefs_, self.intercepts_)
        blueprint = Blueprint.of(self, sizes_of(coefs, intercepts))
        if start or blueprint != self._blueprint:
            net = blueprint.make_network(coefs, intercepts, seed)
            with weights_lock(self):
                self._adopt(blueprint, net)
        return self.network_

    def _adopt(self, blueprint: Blueprint, net: Sequential) -> None:
        self.__dict__.update(self.weights_in(net), _blueprint=blueprint)

    def _network(self) -> Sequential:
        """Return the network, with the weights that `coefs_` and `intercepts_` hold: users may have assigned others."""
        with weights_lock(self):
            shown, views = (*self.coefs_, *self.intercepts_), getattr(self, "_views", ())
            if len(shown) != len(views) or any(a is not b for a, b in zip(shown, views, strict=True)):
                self._take_assigned()
            return self.network_

    def _take_assigned(self) -> None:
        coefs, intercepts = [[np.asarray(a) for a in arrays] for arrays in (self.coefs_, self.intercepts_)]
        units = checked_sizes(coefs, intercepts, self.n_features_in_, self.n_outputs_)
        old = getattr(self, "network_", None)
        if old is not None and units == list(self._blueprint.units):
            self.__dict__.update(self.weights_in(copy.deepcopy(old)))
            for view, values in zip(self._views, (*coefs, *intercepts), strict=True):
                view[...] = values
        else:
            blueprint = Blueprint.of(self, units)
            self._adopt(blueprint, blueprint.make_network(coefs, intercepts, 0 if old is None else old.seed))
            self.n_layers_ = len(units)

    def __getstate__(self) -> dict[str, Any]:
        """Without the views of the network's parameters: a copy has its own."""
        if hasattr(self, "network_"):
            self._network()
        state = super().__getstate__()
        hidden = ("_validated", *HIDDEN, *(("coefs_", "intercepts_", "_views") if "network_" in state else ()))
        return {name: value for name, value in state.items() if name not in hidden}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "network_" in state:
            self.__dict__.update(self.weights_in(state["network_"]))

    # ------------------------------------------------------------------------------------------------- predictions

    def _output(self, X: Any) -> np.ndarray:
        """Return the network's output for X."""
        if not hasattr(self, "coefs_"):
            check_is_fitted(self)  # to say so; where all is well it takes longer than a small prediction
        net = self._network()
        kept = (net.dtype, *EXACT)  # others are converted, and what its dtype does not hold is refused
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=kept, reset=False)
        with one_thread_in_workers():
            return output_of(net, X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
