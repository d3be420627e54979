"""One fit after another of the same estimator, with other settings: as scikit-learn does it, or refused in a sentence."""

import copy
import warnings

import numpy as np
import pytest
from sklearn import neural_network

import fastbp as fb
from fastbp import sklearn as fastbp_sklearn
from fastbp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::RuntimeWarning")
rng = np.random.default_rng(0)
X = rng.standard_normal((60, 4))
Y = rng.integers(0, 3, 60)

ALWAYS = {"hidden_layer_sizes": (5,), "max_iter": 4, "shuffle": False, "random_state": 0, "warm_start": True}
THEIRS = {
    "adam": {},
    "sgd": {"solver": "sgd", "batch_size": 7},
    "lbfgs": {"solver": "lbfgs"},
    "early stopping": {"early_stopping": True, "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1},
    "tanh": {"activation": "tanh"},
}
OURS = {
    **THEIRS,
    "dropout": {"dropout": 0.5},
    "best weights": {"restore_best_weights": True},
    "other loss": {"loss": fb.losses.SoftmaxCrossEntropy(0.1)},
    "other optimizer": {"solver": fb.RMSprop(0.01)},
}
DEFAULTS = {name: MLPClassifier().get_params()[name] for settings in OURS.values() for name in settings}


def fitted(kind, first, then):
    """An estimator of the module `kind`, after both fits; the error in its stead."""
    e = kind.MLPClassifier(**ALWAYS, **first).fit(X, Y)
    known = {name: value for name, value in DEFAULTS.items() if name in e.get_params()}
    try:
        return e.set_params(**{**known, **then}).fit(X, Y)
    except Exception as error:
        return error


@pytest.mark.parametrize("first", OURS)
@pytest.mark.parametrize("then", OURS)
def test_a_warm_start_after_a_change_of_settings(first, then):
    e = fitted(fastbp_sklearn, OURS[first], OURS[then])
    assert np.isfinite(e.predict_proba(X)).all()
    series = [getattr(e, name, None) for name in ("loss_curve_", "validation_scores_", "validation_loss_curve_")]
    assert len({len(values) for values in series if values is not None}) <= 1
    assert (
        (getattr(e, "validation_scores_", None) is None)
        or first == "early stopping"
        or OURS[then].get("early_stopping")
    )
    if first in THEIRS and then in THEIRS:
        theirs = fitted(neural_network, THEIRS[first], THEIRS[then])
        if not isinstance(theirs, Exception):
            for a, b in zip(e.coefs_, theirs.coefs_, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("first", OURS)
@pytest.mark.parametrize("then", OURS)
def test_partial_fit_after_a_change_of_settings(first, then):
    e = MLPClassifier(**ALWAYS, **OURS[first]).fit(X, Y).set_params(**{**DEFAULTS, **OURS[then]})
    before = copy.deepcopy(e)
    if then == "lbfgs":
        assert not hasattr(e, "partial_fit")
    elif then == "early stopping":
        with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
            e.partial_fit(X, Y)
        np.testing.assert_array_equal(e.predict_proba(X), before.predict_proba(X))
    else:
        e.partial_fit(X[:20], Y[:20])
        assert e.n_iter_ == 1
        assert not np.array_equal(e.predict_proba(X), before.predict_proba(X))


def test_what_changes_counts_from_the_next_call():
    e = MLPClassifier(**ALWAYS).fit(X, Y)
    assert repr(e.set_params(activation="tanh", dropout=0.25).fit(X, Y).network_.layers[:2]) == (
        "(Dense(4, 5, activation='tanh'), Dropout(0.25))"
    )
    slow = MLPRegressor(solver="sgd", learning_rate_init=0.1).partial_fit(X, Y)
    before = slow.coefs_[0].copy()
    slow.set_params(learning_rate_init=1e-30).partial_fit(X, Y)
    np.testing.assert_array_equal(slow.coefs_[0], before)
    with pytest.raises(ValueError, match="'solver' parameter"):
        slow.set_params(solver="sdg").partial_fit(X, Y)


def shown(e):
    """The fitted attributes, as text."""
    return {name: repr(value) for name, value in vars(e).items() if name.endswith("_")}


SIZES = r"expected \(5,\), as the network has that warm_start and partial_fit go on with"


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_other_sizes_are_refused_before_anything_changes(method):
    e = MLPRegressor(**ALWAYS).fit(X, Y)
    before = shown(e)
    with pytest.raises(ValueError, match=rf"hidden_layer_sizes: got \(8, 3\), {SIZES}"):
        getattr(e.set_params(hidden_layer_sizes=(8, 3)), method)(X, Y)
    e.set_params(hidden_layer_sizes=5)
    with pytest.raises(ValueError, match=r"y: got \(2,\) outputs, expected \(1,\), as the network has"):
        getattr(e, method)(X, np.c_[Y, Y])
    with pytest.raises(ValueError, match="X has 3 features"):
        getattr(e, method)(X[:, :3], Y)
    assert shown(e) == before
    getattr(e, method)(X, Y)


def test_weights_of_other_sizes_may_be_assigned_where_they_fit():
    ours, theirs = (module.MLPRegressor(**ALWAYS).fit(X, Y) for module in (fastbp_sklearn, neural_network))
    wide = [rng.standard_normal((4, 9)), rng.standard_normal((9, 1))]
    for e in (ours, theirs):
        e.coefs_, e.intercepts_ = wide, [np.ones(9), np.ones(1)]
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X))
    with pytest.raises(ValueError, match=r"hidden_layer_sizes: got \(5,\), expected \(9,\)"):
        ours.fit(X, Y)
    before = ours.predict(X)
    assert not np.array_equal(ours.set_params(hidden_layer_sizes=(9,)).partial_fit(X, Y).predict(X), before)


BAD = {
    r"coefs_\[0\]: got shape \(3, 5\), expected \(4, 5\)": ("coefs_", 0, np.ones((3, 5))),
    r"coefs_\[1\]: got shape \(1, 1\), expected \(5, 1\)": ("coefs_", 1, np.ones((1, 1))),
    r"coefs_\[0\]: got what are not finite numbers": ("coefs_", 0, np.full((4, 5), np.nan)),
    r"intercepts_\[1\]: got shape \(2,\), expected \(1,\)": ("intercepts_", 1, np.ones(2)),
}


@pytest.mark.parametrize("message", BAD)
@pytest.mark.parametrize("method", ["predict", "fit", "partial_fit"])
def test_weights_that_do_not_fit_are_refused_where_they_are_used(method, message):
    e = MLPRegressor(**ALWAYS).fit(X, Y)
    name, place, values = BAD[message]
    arrays = list(getattr(e, name))
    arrays[place] = values
    setattr(e, name, arrays)
    with pytest.raises(ValueError, match=message):
        getattr(e, method)(*((X,) if method == "predict" else (X, Y)))
    e.coefs_, e.intercepts_ = [np.ones((4, 5))], [np.ones(5), np.ones(1)]
    with pytest.raises(ValueError, match=r"coefs_: got 1 arrays, expected as many as intercepts_ has, 2"):
        e.predict(X)


def test_classes_of_the_first_fit_stay():
    e = MLPClassifier(**ALWAYS).fit(X, Y)
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=r"y: got shape \(60, 3\), expected \(60,\), as y had in the first fit"):
            getattr(e, method)(X, np.eye(3, dtype=int)[Y])
    labels = MLPClassifier(**ALWAYS).fit(X, np.eye(3, dtype=int)[Y])
    with pytest.raises(ValueError, match=r"y: got shape \(60,\), expected \(60, 3\), as y had in the first fit"):
        labels.fit(X, Y)


def test_a_fit_that_is_refused_leaves_an_estimator_as_it_was():
    """Not warm: what was fitted predicts on, what was not stays so."""
    settings = {"random_state": 0, "max_iter": 3}
    e = MLPClassifier(**settings).fit(X, Y)
    chances = e.predict_proba(X)
    refused = [
        ((X[:, :2], Y + 5), {"validation_data": (X[:, :2], Y)}),
        ((X[:, :2], Y % 2), {"sample_weight": np.full(60, -1.0)}),
        ((X, Y + 5), {"callbacks": 3}),
    ]
    for arguments, given in refused:
        for estimator in (e, MLPClassifier(**settings)):
            fitted = hasattr(estimator, "classes_")
            with pytest.raises((ValueError, TypeError)), warnings.catch_warnings():
                estimator.fit(*arguments, **given)
            assert hasattr(estimator, "coefs_") == hasattr(estimator, "classes_") == fitted
    np.testing.assert_array_equal(e.predict_proba(X), chances)
    assert e.n_features_in_ == 4
