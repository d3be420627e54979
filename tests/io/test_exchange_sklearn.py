"""scikit-learn's fitted networks, in both directions: they predict the same."""

import copy
import pickle
import sys
import warnings

import numpy as np
import pytest
from reference import numbers

import fastbp as fb

sklearn = pytest.importorskip("sklearn")
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402

X = 3 * numbers((60, 4), np.dtype(np.float64))
ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
LABELS = {2: np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)], 3: (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)}
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def fit(kind, y, dtype="float64", **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a few iterations do not converge
        return kind(hidden_layer_sizes=(7, 5), max_iter=3, random_state=0, **settings).fit(X.astype(dtype), y)


def close(found, expected, dtype="float64"):
    return np.abs(found - expected).max() <= TOLERANCE[dtype] * np.abs(expected).max()


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# -------------------------------------------------------------------------------------------------- from scikit-learn


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_regressor_predicts_the_same(activation, dtype):
    mlp = fit(MLPRegressor, X[:, 0], dtype, activation=activation)
    net = fb.Sequential.from_sklearn(mlp, seed=4)
    assert [layer.activation for layer in net.layers] == [ACTIVATIONS[activation]] * 2 + ["identity"]
    assert (net.dtype, net.seed) == (dtype, 4)
    assert close(net.predict(X)[:, 0], mlp.predict(X.astype(dtype)), dtype)


def test_outputs_of_classifiers_become_logits():
    several = fit(MLPClassifier, LABELS[3])
    assert close(softmax(fb.Sequential.from_sklearn(several).predict(X)), several.predict_proba(X))
    two = fit(MLPClassifier, LABELS[2])
    assert close(sigmoid(fb.Sequential.from_sklearn(two).predict(X))[:, 0], two.predict_proba(X)[:, 1])
    multilabel = fit(MLPClassifier, (X[:, :3] > 0).astype(int))
    assert close(sigmoid(fb.Sequential.from_sklearn(multilabel).predict(X)), multilabel.predict_proba(X))


def test_several_targets_and_no_hidden_layer():
    mlp = fit(MLPRegressor, X[:, :3]).set_params(hidden_layer_sizes=())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlp.fit(X, X[:, :3])
    assert close(fb.Sequential.from_sklearn(mlp).predict(X), mlp.predict(X))


@pytest.mark.parametrize("mlp", [MLPRegressor(), None, X])
def test_what_is_not_fitted_is_refused(mlp):
    with pytest.raises(ValueError, match=r"mlp: got .*, expected a fitted MLPClassifier or MLPRegressor"):
        fb.Sequential.from_sklearn(mlp)


def test_parameters_that_are_not_finite_are_named():
    mlp = fit(MLPRegressor, X[:, 0])
    mlp.intercepts_[1][2] = np.inf
    with pytest.raises(ValueError, match=r"mlp.1.bias: got a number that is not finite"):
        fb.Sequential.from_sklearn(mlp)
    mlp.activation = "gelu"
    with pytest.raises(ValueError, match=r"mlp: got activation 'gelu', expected one of identity, logistic"):
        fb.Sequential.from_sklearn(mlp)


# ----------------------------------------------------------------------------------------------------- to scikit-learn


def network(outputs, activation="tanh", last="identity", dtype="float64"):
    dense = fb.Dense(4, 6, activation), fb.Dense(6, 5, activation, bias=False), fb.Dense(5, outputs, last)
    net = fb.Sequential(dense[0], fb.Dropout(0.4), *dense[1:], dtype=dtype, seed=2)
    net.layers[-1].bias = numbers((outputs,), np.dtype(np.float64))
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS.values())
def test_a_network_becomes_a_regressor(activation, dtype):
    net = network(3, activation, dtype=dtype)
    mlp = net.to_sklearn()
    assert type(mlp) is MLPRegressor
    assert mlp.coefs_[0].dtype == dtype
    assert close(mlp.predict(X.astype(dtype)), net.predict(X), dtype)
    assert network(1).to_sklearn().predict(X).shape == (60,)


def test_a_network_becomes_a_classifier():
    net, classes = network(3), ["a", "b", "c"]
    mlp = net.to_sklearn(classes)
    assert type(mlp) is MLPClassifier
    assert close(mlp.predict_proba(X), softmax(net.predict(X)))
    assert (mlp.predict(X) == np.array(classes)[net.predict(X).argmax(axis=1)]).all()
    assert 0 <= mlp.score(X, mlp.predict(X)) <= 1


def test_two_classes_by_one_output_or_two():
    one, two, squashed = network(1), network(2), network(1, last="sigmoid")
    assert close(one.to_sklearn([3, 8]).predict_proba(X)[:, 1], sigmoid(one.predict(X))[:, 0])
    assert set(one.to_sklearn([3, 8]).predict(X)) == {3, 8}
    assert close(two.to_sklearn([3, 8]).predict_proba(X), softmax(two.predict(X)))
    assert close(squashed.to_sklearn([3, 8]).predict_proba(X)[:, 1], squashed.predict(X)[:, 0])


@pytest.mark.parametrize("outputs", [2, 3])
def test_several_labels_a_row(outputs):
    net = network(outputs)
    mlp = net.to_sklearn(multilabel=True)
    assert close(mlp.predict_proba(X), sigmoid(net.predict(X)))
    assert (mlp.predict(X) == (net.predict(X) > 0)).all()


@pytest.mark.parametrize(
    ("net", "arguments", "y"),
    [
        (network(1), {}, X[:, 0]),
        (network(2), {"classes": ["no", "yes"]}, LABELS[2]),
        (network(3), {"classes": [0, 1, 2]}, LABELS[3]),
        (network(2), {"multilabel": True}, (X[:, :2] > 0).astype(int)),
    ],
)
def test_what_is_made_is_a_fitted_estimator_that_goes_on(net, arguments, y):
    mlp = net.to_sklearn(**arguments)
    assert repr(sklearn.base.clone(mlp)) == repr(mlp)
    assert (pickle.loads(pickle.dumps(mlp)).predict(X) == mlp.predict(X)).all()
    before = copy.deepcopy(mlp.coefs_[0])
    mlp.partial_fit(X, y)
    mlp.partial_fit(X, y)
    assert mlp.loss_curve_[1] < mlp.loss_curve_[0]
    assert (mlp.coefs_[0] != before).any()
    assert (before == net.layers[0].weight.T).all()  # the network keeps its own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlp.set_params(warm_start=True, max_iter=2).fit(X, y)


def test_there_and_back_keeps_every_bit():
    net = network(3)
    back = fb.Sequential.from_sklearn(net.to_sklearn([0, 1, 2]))
    assert back.predict(X).tobytes() == net.predict(X).tobytes()


@pytest.mark.parametrize(
    ("net", "arguments", "message"),
    [
        (network(2, "gelu"), {}, r"to_sklearn: got Dense\(.*'gelu'.*\), expected one of the activations"),
        (
            fb.Sequential(fb.Dense(4, 4, "relu"), fb.Dense(4, 4, "tanh"), fb.Dense(4, 1)),
            {},
            r"to_sklearn: got the activations relu, tanh, expected one for all hidden layers",
        ),
        (network(1, last="relu"), {}, r"to_sklearn: got Dense.* as the last layer, expected activation identity"),
        (network(3, last="sigmoid"), {"classes": [0, 1, 2]}, r"as the last layer, expected activation identity"),
        (network(1, last="tanh"), {"classes": [0, 1]}, r"expected activation identity or sigmoid"),
        (network(3), {"classes": [0, 1]}, r"classes: got shape \(2,\), expected 3 for a network with 3 outputs"),
        (network(1), {"classes": [0]}, r"classes: got shape \(1,\), expected 2 for a network with 1 outputs"),
        (network(3), {"classes": [0, 2, 1]}, r"classes: got \[0, 2, 1\], expected different ones in ascending order"),
        (network(3), {"classes": [0, 1, 1]}, r"classes: got \[0, 1, 1\], expected different"),
        (network(1), {"multilabel": True}, r"multilabel: got True with classes None and 1 outputs"),
        (network(2), {"multilabel": True, "classes": [0, 1]}, r"multilabel: got True with classes \[0, 1\]"),
    ],
)
def test_what_scikit_learn_has_not_is_refused(net, arguments, message):
    with pytest.raises(ValueError, match=message):
        net.to_sklearn(**arguments)


def test_without_scikit_learn_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.neural_network", None)
    with pytest.raises(ImportError, match=r"to_sklearn needs scikit-learn: pip install 'fastbp\[sklearn\]'"):
        network(1).to_sklearn()
