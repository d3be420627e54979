"""The same numbers as scikit-learn's, to rounding, where no random order comes between: same first weights, same steps."""

import warnings

import numpy as np
import pytest
import sklearn
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning

from fastbp import sklearn as fastbp_sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
since_1_7 = pytest.mark.skipif(
    sklearn.__version__.startswith("1.6."), reason="scikit-learn 1.6 has no weights of samples and no loss poisson here"
)
rng = np.random.default_rng(0)
X = rng.standard_normal((50, 7))
TARGETS = {
    "classes": rng.integers(0, 4, 50),
    "two classes": rng.integers(0, 2, 50),
    "labels": rng.integers(0, 2, (50, 3)),
    "number": rng.standard_normal(50),
    "numbers": rng.standard_normal((50, 3)),
}
WEIGHTS = rng.uniform(0.5, 2.0, 50)
SOLVERS = {
    "sgd": {"solver": "sgd", "momentum": 0.0},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1},
    "adam": {"solver": "adam", "epsilon": 1e-3},
}


def pair(y, **parameters):
    kind = "MLPClassifier" if y.dtype.kind == "i" else "MLPRegressor"
    settings = {
        "random_state": 3,
        "hidden_layer_sizes": (6, 5),
        "batch_size": 16,
        "shuffle": False,
        "max_iter": 7,
        **parameters,
    }
    return [getattr(module, kind)(**settings) for module in (fastbp_sklearn, neural_network)]


def compare(ours, theirs, tolerance=1e-9):
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=tolerance)
    assert (ours.n_iter_, ours.t_, ours.n_layers_) == (theirs.n_iter_, theirs.t_, theirs.n_layers_)
    assert (ours.n_outputs_, ours.out_activation_) == (theirs.n_outputs_, theirs.out_activation_)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", ["classes", "numbers"])
def test_epochs_with_every_solver(solver, target):
    """The last minibatch has 2 rows, so that the penalty's share of it is another."""
    y = TARGETS[target]
    ours, theirs = (e.fit(X, y) for e in pair(y, alpha=0.5, **SOLVERS[solver]))
    compare(ours, theirs)
    assert ours.loss_curve_ == pytest.approx(theirs.loss_curve_, rel=1e-9)
    assert ours.best_loss_ == pytest.approx(theirs.best_loss_, rel=1e-9)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("target", TARGETS)
def test_epochs_with_every_target_and_activation(target, activation):
    y = TARGETS[target]
    ours, theirs = (e.fit(X, y) for e in pair(y, solver="sgd", activation=activation))
    compare(ours, theirs)
    assert ours.loss_curve_ == pytest.approx(theirs.loss_curve_, rel=1e-9)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)
    if y.dtype.kind == "i":
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-8)
        np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-7, atol=1e-9)
        assert ours.classes_.tolist() == theirs.classes_.tolist()


@since_1_7
@pytest.mark.parametrize("target", ["classes", "labels", "numbers"])
def test_sample_weights(target):
    y = TARGETS[target]
    compare(*(e.fit(X, y, sample_weight=WEIGHTS) for e in pair(y, batch_size=50, alpha=0.5, solver="sgd")))


@since_1_7
def test_poisson():
    y = rng.poisson(3.0, (50, 2)).astype(float)
    for solver in ("sgd", "lbfgs"):
        ours, theirs = (e.fit(X, y) for e in pair(y, loss="poisson", solver=solver))
        compare(ours, theirs, 1e-6)
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-6)


@since_1_7
@pytest.mark.parametrize("target", ["classes", "two classes", "labels", "number"])
def test_lbfgs(target):
    """Of several numbers scikit-learn's gradient is not that of its cost, and its line search goes other ways."""
    y = TARGETS[target]
    ours, theirs = (e.fit(X, y, sample_weight=WEIGHTS) for e in pair(y, solver="lbfgs", activation="tanh", alpha=0.1))
    compare(ours, theirs, 1e-6)


@pytest.mark.parametrize("target", ["two classes", "labels", "numbers"])
def test_early_stopping(target):
    """The same rows are held out, so scores, their best and the weights that are restored are the same."""
    y = TARGETS[target]
    ours, theirs = (
        e.fit(X, y) for e in pair(y, early_stopping=True, max_iter=40, solver="sgd", learning_rate_init=0.1)
    )
    compare(ours, theirs)
    assert ours.validation_scores_ == pytest.approx(theirs.validation_scores_, rel=1e-9)
    assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_)
    assert ours.best_loss_ is theirs.best_loss_ is None


def test_the_fit_ends_when_scikit_learn_s_does():
    x, y = datasets.load_iris(return_X_y=True)
    settings = {"tol": 3e-3, "max_iter": 1000, "batch_size": 40}
    for n_iter_no_change in (1, 3, 10):
        ours, theirs = (e.fit(x, y) for e in pair(y, n_iter_no_change=n_iter_no_change, **settings))
        assert 10 < ours.n_iter_ == theirs.n_iter_ < 1000
        compare(ours, theirs, 1e-6)


def test_several_fits_in_a_row():
    """Warm starts begin with new moments, epochs of partial_fit go on with those at hand."""
    y = TARGETS["classes"]
    estimators = pair(y, solver="adam", warm_start=True)
    for _ in range(2):
        for e in estimators:
            e.fit(X, y)
    compare(*estimators)
    for _ in range(3):
        for e in estimators:
            e.partial_fit(X[:20], y[:20])
    compare(*estimators)
    assert len(estimators[0].loss_curve_) == len(estimators[1].loss_curve_) == 17


@since_1_7
def test_warnings_and_errors_read_the_same():
    y = TARGETS["classes"]
    calls = [
        ({"max_iter": 2}, lambda e: e.fit(X, y)),
        ({"batch_size": 100}, lambda e: e.fit(X, y)),
        ({"solver": "lbfgs", "max_iter": 1}, lambda e: e.fit(X, y)),
        ({"hidden_layer_sizes": (3, -1)}, lambda e: e.fit(X, y)),
        ({"early_stopping": True}, lambda e: e.partial_fit(X, y, classes=[0, 1, 2, 3])),
        ({"early_stopping": True}, lambda e: e.fit(X[:5], y[:5])),
        ({"warm_start": True}, lambda e: e.fit(X, y).fit(X, y % 2)),
        ({}, lambda e: e.partial_fit(X, y % 3, classes=[0, 1, 2]).partial_fit(X, y)),
        ({"solver": "lbfgs"}, lambda e: e.partial_fit),
        ({"n_iter_no_change": 0}, lambda e: e.fit(X, y)),
        ({}, lambda e: e.predict(X)),
    ]
    for parameters, call in calls:
        said = [outcome(call, e) for e in pair(y, **parameters)]
        assert said[0] == said[1], parameters


def test_filters_for_scikit_learn_s_warnings_meet_these_too():
    y = TARGETS["classes"]
    calls = [
        ({"max_iter": 1}, ConvergenceWarning, lambda e: e.fit(X, y)),
        ({"max_iter": 1, "solver": "lbfgs"}, ConvergenceWarning, lambda e: e.fit(X, y)),
        ({"batch_size": 100}, UserWarning, lambda e: e.fit(X, y)),
        ({}, DataConversionWarning, lambda e: e.fit(X, y[:, None])),
    ]
    for parameters, category, call in calls:
        for e in pair(y, **parameters):
            for module in ("sklearn", r"sklearn\.neural_network\._multilayer_perceptron$"):
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    warnings.filterwarnings("ignore", category=category, module=module)
                    call(e)
                assert not [w for w in caught if w.category is category], (e, module)


def test_a_loss_that_is_not_finite_is_refused_in_the_same_words():
    """At once, where scikit-learn goes on until `max_iter`."""
    said = [
        outcome(lambda e: e.fit(X, TARGETS["number"]), e) for e in pair(TARGETS["number"], learning_rate_init=1e200)
    ]
    assert said[0][0] == said[1][0]


def outcome(call, estimator):
    """The error's type and first lines and the warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call(estimator)
            error = None
        except (ValueError, AttributeError) as e:
            error = type(e), str(e)
    kinds = (ConvergenceWarning, UserWarning)
    return error, {str(w.message) for w in caught if w.category in kinds}
