"""MLPRegressor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from fastbp.data.scores import r2
from fastbp.losses import Loss
from fastbp.sequential import Sequential
from fastbp.sklearn import held, objective
from fastbp.sklearn.constraints import CONSTRAINTS
from fastbp.sklearn.estimator import MultilayerPerceptron
from fastbp.sklearn.hooks import with_callbacks
from fastbp.sklearn.solvers import has_epochs
from fastbp.sklearn.sparse import output_of
from fastbp.sklearn.stochastic import Data
from fastbp.sklearn.turns import one_at_a_time

LOSSES = ("squared_error", "poisson", "mean_squared_error", "mean_absolute_error", "huber", "quantile")


class MLPRegressor(RegressorMixin, MultilayerPerceptron):
    """A multi-layer perceptron for one or several numbers: scikit-learn's MLPRegressor, and more.

    Parameters, their defaults and the fitted attributes are scikit-learn's; so is the initial state for the same
    `random_state`, while shuffling draws other random numbers. float32 in gives a float32 network and float32 predictions. What
    is more:

    loss: "squared_error" and "poisson" are scikit-learn's, half the squared error and half the deviance; also
    "mean_squared_error", "mean_absolute_error", "huber", "quantile", or a loss of fastbp's: `fb.losses.Huber(0.5)`,
    `fb.losses.custom(...)`. activation: the name of any activation of fastbp, what `fb.activations.custom` returns, or a list
    with one for each hidden layer ("logistic" is "sigmoid"). solver: also "adamw" (alpha is its decoupled weight decay),
    "rmsprop" (beta_2 is its rho), "adagrad", or an optimizer such as `fb.SGD(0.1, clip_norm=1.0)`, which brings its own
    learning rate, schedule and weight decay. dropout: the rate after each hidden layer, or a list of rates.
    restore_best_weights: a fit ends with the weights of the epoch of the least loss on the validation data, or without any of
    the least training loss (`early_stopping` does so by the score anyway).

    `validation_loss_curve_`: a loss an epoch, without the penalty alpha, where there are validation data; else None.
    `network_`: the fastbp.Sequential, whose last layer gives predictions (logarithms of them with the loss poisson);
    `coefs_` and `intercepts_` are views of its parameters. With sample weights, losses are weighted means over all
    samples, where scikit-learn averages over minibatches.
    """

    _parameter_constraints: ClassVar[dict] = {
        **CONSTRAINTS,
        "loss": [StrOptions(set(LOSSES)), Loss],
    }

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        dropout=0.0,
        restore_best_weights=False,
    ):
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.restore_best_weights = restore_best_weights

    @one_at_a_time
    @with_callbacks
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        validation_data=None,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
        callbacks=(),
    ):
        """Train on X (rows, features), dense or sparse, and numbers y, (rows,) or (rows, outputs).

        validation_data: (X, y) or (X, y, sample_weight) to measure `validation_loss_curve_` on, and for `early_stopping` in
        place of a part of the training data; or X_val, y_val and sample_weight_val, of which a pipeline made with
        `transform_input=["X_val"]` transforms the first. callbacks: fastbp's, called after every epoch. Returns self. Raises
        ValueError and TypeError for what it cannot take, with the estimator as it was, RuntimeError while another thread trains
        it, and ValueError where the loss of finite data is not finite.
        """
        validation = held.as_given(validation_data, X_val, y_val, sample_weight_val)
        return self._fit(X, y, sample_weight, validation, callbacks)

    @available_if(has_epochs)
    @one_at_a_time
    @with_callbacks
    def partial_fit(self, X, y, sample_weight=None):
        """One epoch over X and y; a `fit` of as many epochs gives the same bits."""
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X):
        """Return the predictions (rows,), or (rows, outputs) of several."""
        output = self._prediction(self._output(X))
        return output[:, 0] if output.shape[1] == 1 else output

    def _prediction(self, output: np.ndarray) -> np.ndarray:
        return np.exp(output) if self.out_activation_ == "exp" else output

    # ------------------------------------------------------------------------------------------------- for the fit

    _y_numeric = True

    def _learn_classes(self, y: Any, classes: Any, incremental: bool) -> None:
        """Learn nothing: numbers have no classes."""

    def _as_targets(self, y: Any, dtype: Any) -> np.ndarray:
        y = np.asarray(y, np.float64 if y.dtype.kind != "f" else None)
        if not (np.abs(y) <= np.finfo(dtype).max).all():
            raise ValueError(f"y: got {y[~(np.abs(y) <= np.finfo(dtype).max)][0]}, expected numbers that {dtype} holds")
        if self._outputs_are_logarithms and (y < 0).any():
            raise ValueError(f"y: got {y.min()}, expected numbers >= 0 with loss='poisson'")
        return y[:, None] if y.ndim == 1 else y

    @property
    def _outputs_are_logarithms(self) -> bool:
        return getattr(self.loss, "name", self.loss) == "poisson"

    def _outputs_of(self, y: np.ndarray) -> tuple[int, str]:
        return y.shape[1], "exp" if self._outputs_are_logarithms else "identity"

    def _objective(self, y: np.ndarray, weights: np.ndarray | None) -> objective.Objective:
        return objective.regression(self.loss, y, weights)

    def _score_of(self, net: Sequential, held: Data) -> float:
        return r2(held.y, self._prediction(output_of(net, held.x)), held.weights)
