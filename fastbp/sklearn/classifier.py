"""MLPClassifier."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import log_expit, log_softmax
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from fastbp import kernels
from fastbp.activations import Activation
from fastbp.data.scores import largest_is_right, same_sides
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


class MLPClassifier(ClassifierMixin, MultilayerPerceptron):
    """A multi-layer perceptron for classes, several labels a sample included: scikit-learn's MLPClassifier, and more.

    Parameters, their defaults and the fitted attributes are scikit-learn's; so is the initial state for the same
    `random_state`, while shuffling draws other random numbers. float32 in gives a float32 network. What is more:

    activation: the name of any activation of fastbp, what `fb.activations.custom` returns, or a list with one for each
    hidden layer ("logistic" is "sigmoid"). solver: also "adamw" (alpha is its decoupled weight decay), "rmsprop" (beta_2 is
    its rho), "adagrad", or an optimizer such as `fb.SGD(0.1, clip_norm=1.0)`, which brings its own learning rate, schedule and
    weight decay. loss: "log_loss", or the fastbp loss that fits the labels, for label smoothing.
    dropout: the rate after each hidden layer, or a list of rates. class_weight: "balanced" or a dict, as elsewhere in
    scikit-learn; not in the loss of validation data. restore_best_weights: a fit ends with the weights of the epoch of the
    least loss on the validation data, or without any of the least training loss (`early_stopping` does so by the score
    anyway).

    `validation_loss_curve_`: a loss an epoch, without the penalty alpha, where there are validation data; else None.
    `network_`: the fastbp.Sequential, whose last layer gives logits; `coefs_` and `intercepts_` are views of its
    parameters. With sample weights, losses are weighted means over all samples, where scikit-learn averages over
    minibatches.
    """

    _parameter_constraints: ClassVar[dict] = {
        **CONSTRAINTS,
        "loss": [StrOptions({"log_loss"}), Loss],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    def __init__(
        self,
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
        loss="log_loss",
        dropout=0.0,
        class_weight=None,
        restore_best_weights=False,
    ):
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
        self.loss = loss
        self.dropout = dropout
        self.class_weight = class_weight
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
        """Train on X (rows, features), dense or sparse, and labels y, (rows,) or a matrix of 0 and 1 (rows, labels).

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
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """One epoch over X and y; a `fit` of as many epochs gives the same bits. `classes`: all of them, in the first call."""
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight: got 'balanced' in partial_fit, expected a dict: it sees a part of the classes"
            )
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    def predict(self, X):
        """Return the classes (rows,), or a matrix of 0 and 1 (rows, labels)."""
        output = self._output(X)
        if self.out_activation_ == "softmax":
            return self.classes_[np.argmax(output, axis=1)]
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return self._label_binarizer.inverse_transform((output > 0).astype(np.int64))
        return self.classes_[((output[:, 0] > 0) & (len(self.classes_) > 1)).astype(np.int64)]

    def predict_proba(self, X):
        """Probabilities (rows, classes), in the order of `classes_`; of several labels each by itself."""
        return self._chances(self._logits(X))

    def predict_log_proba(self, X):
        """Return the logarithm of `predict_proba`, also of what is too small for its dtype."""
        logits = self._logits(X)
        logarithms = log_softmax(logits, axis=1) if self.out_activation_ == "softmax" else log_expit(logits)
        chances = self._chances(logits)
        return np.log(chances, out=logarithms, where=chances > 0.5)  # with its ties among those next to 1

    def _logits(self, X: Any) -> np.ndarray:
        """Return what softmax or the logistic function makes probabilities of, those of two classes by themselves."""
        output = self._output(X)
        single = self.out_activation_ == "logistic" and output.shape[1] == 1
        return np.hstack([-output, output]) if single else output

    def _chances(self, logits: np.ndarray) -> np.ndarray:
        softmax = self.out_activation_ == "softmax"
        return kernels.softmax(logits) if softmax else kernels.activate(logits, Activation.SIGMOID)

    # ------------------------------------------------------------------------------------------------- for the fit

    _y_numeric = False

    def _learn_classes(self, y: Any, classes: Any, incremental: bool) -> None:
        refuse_none(y)
        if incremental and _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        elif not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start and set(found := unique_labels(y)) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously got "
                f"{self.classes_}, `y` has {found}"
            )

    def _as_targets(self, y: Any, dtype: Any) -> np.ndarray:
        refuse_none(y)
        kind, classes = self._label_binarizer.y_type_, len(self.classes_)
        columns = (classes,) if kind.startswith("multilabel") else ()
        if y.shape[1:] != columns:
            raise ValueError(f"y: got shape {y.shape}, expected {(len(y), *columns)}, as y had in the first fit")
        if columns and not np.isin(y, (0, 1)).all():
            raise ValueError("y: got other values in a matrix of labels, expected 0 and 1")
        if not columns and not np.isin(y, self.classes_).all():
            self._refuse_unknown(unique_labels(y))
        if kind == "multiclass":
            return np.searchsorted(self.classes_, y)
        return self._label_binarizer.transform(y).astype(dtype)

    def _refuse_unknown(self, classes: np.ndarray) -> None:
        if not np.isin(classes, self.classes_).all():
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _outputs_of(self, y: np.ndarray) -> tuple[int, str]:
        return (len(self.classes_), "softmax") if y.ndim == 1 else (y.shape[1], "logistic")

    def _objective(self, y: np.ndarray, weights: np.ndarray | None) -> objective.Objective:
        return objective.classification(self.loss, self.n_outputs_, self.out_activation_ == "softmax")

    def _score_of(self, net: Sequential, held: Data) -> float:
        score = largest_is_right if held.y.ndim == 1 else same_sides
        return score(held.y, output_of(net, held.x), held.weights)

    def _stratified_by(self, y: np.ndarray) -> np.ndarray | None:
        return y > 0 if self.n_outputs_ == 1 else None

    def _weights_of_samples(self, y: Any, sample_weight: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return sample_weight
        weights = compute_sample_weight(self.class_weight, y)
        return weights if sample_weight is None else weights * sample_weight

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def refuse_none(y: np.ndarray) -> None:
    """ValueError for a missing label: to sort it among the others ends in an error about comparisons."""
    if y.dtype == object and None in (labels := y.ravel().tolist()):
        raise ValueError(f"y: got None in row {labels.index(None) * len(y) // y.size}, expected a class in every row")
