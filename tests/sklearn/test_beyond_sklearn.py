"""What scikit-learn's estimators do not have."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mean_absolute_error

import fastbp as fb
from fastbp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
TRAIN, HELD = np.arange(150) % 3 > 0, np.arange(150) % 3 == 0


def test_layers_have_activations_and_dropout_of_their_own():
    e = MLPClassifier((5, 4, 3), ["gelu", "logistic", "relu"], dropout=[0.1, 0.0, 0.2], max_iter=2).fit(X, Y)
    dense = "Dense(4, 5, activation='gelu')", "Dense(5, 4, activation='sigmoid')", "Dense(4, 3, activation='relu')"
    expected = [dense[0], "Dropout(0.1)", dense[1], dense[2], "Dropout(0.2)", "Dense(3, 3, activation='identity')"]
    assert list(map(repr, e.network_.layers)) == expected
    with pytest.raises(ValueError, match=r"dropout: got 2 entries, expected one value or 1"):
        MLPClassifier(dropout=[0.1, 0.2]).fit(X, Y)
    with pytest.raises(ValueError, match=r"activation: got 'relu6', expected one of"):
        MLPClassifier((3, 3), ["relu", "relu6"]).fit(X, Y)


@pytest.mark.parametrize(
    ("solver", "optimizer"),
    [
        ("adamw", fb.AdamW(0.02, weight_decay=0.3)),
        ("rmsprop", fb.RMSprop(0.02, rho=0.9)),
        ("adagrad", fb.Adagrad(0.02, epsilon=1e-8)),
        (fb.SGD(fb.schedules.Cosine(0.1, 5), clip_norm=0.1), fb.SGD(fb.schedules.Cosine(0.1, 5), clip_norm=0.1)),
    ],
)
def test_solvers_are_fastbp_s_optimizers(solver, optimizer):
    """To the bit, as nothing else is done: no penalty where alpha is 0 or the optimizer's own affair."""
    alpha = 0.3 if solver == "adamw" or not isinstance(solver, str) else 0.0
    settings = {"learning_rate_init": 0.02, "beta_2": 0.9 if solver == "rmsprop" else 0.999, "alpha": alpha, "tol": 0}
    e = MLPClassifier((6,), solver=solver, max_iter=5, batch_size=32, random_state=0, shuffle=False, **settings)
    e.fit(X, Y)
    start = MLPClassifier((6,), solver=fb.SGD(0.0), max_iter=1, random_state=0).fit(X, Y)
    net = start.network_
    net.fit(X, Y, optimizer=optimizer, batch_size=32, epochs=5, shuffle=False)
    np.testing.assert_array_equal(net.parameters, e.network_.parameters)
    assert e.loss_curve_ == net.history.cost


def test_losses_of_fastbp():
    x, y = load_diabetes(return_X_y=True)
    y = (y - y.mean()) / y.std()
    y[::20] += 30.0  # outliers
    settings = {"random_state": 0, "max_iter": 100, "learning_rate_init": 0.01}
    errors = {}
    for loss in ("squared_error", "mean_absolute_error", "huber", fb.losses.Quantile(0.5)):
        errors[str(loss)] = mean_absolute_error(y, MLPRegressor(loss, **settings).fit(x, y).predict(x))
    assert max(list(errors.values())[1:]) < errors["squared_error"]
    smooth = MLPClassifier(loss=fb.losses.SoftmaxCrossEntropy(0.3), solver="lbfgs", alpha=0, random_state=0).fit(X, Y)
    assert smooth.predict_proba(X).max() < 0.9
    with pytest.raises(ValueError, match=r"loss: got .*expected 'log_loss' or a loss named binary_cross_entropy"):
        MLPClassifier(loss=fb.losses.SoftmaxCrossEntropy(0.3)).fit(X, Y > 0)
    with pytest.raises(ValueError, match=r"y: got -1.0, expected numbers >= 0"):
        MLPRegressor("poisson").fit(X, Y - 1.0)


def test_class_weights_weigh_samples():
    settings = {"random_state": 0, "max_iter": 20}
    by_class = MLPClassifier(class_weight={0: 1.0, 1: 2.0, 2: 0.5}, **settings).fit(
        X, Y, sample_weight=np.arange(150) + 1.0
    )
    by_sample = MLPClassifier(**settings).fit(X, Y, sample_weight=np.array([1.0, 2.0, 0.5])[Y] * (np.arange(150) + 1.0))
    np.testing.assert_array_equal(by_class.coefs_[0], by_sample.coefs_[0])
    few = Y[:60]
    balanced = MLPClassifier(class_weight="balanced", **settings).fit(X[:60], few)
    weights = 30.0 / np.bincount(few)
    np.testing.assert_array_equal(
        balanced.coefs_[0], MLPClassifier(**settings).fit(X[:60], few, sample_weight=weights[few]).coefs_[0]
    )
    with pytest.raises(ValueError, match="class_weight: got 'balanced' in partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


def test_validation_data_of_one_s_own():
    held = (X[HELD], Y[HELD])
    e = MLPClassifier(random_state=0, max_iter=30, learning_rate_init=0.05).fit(
        X[TRAIN], Y[TRAIN], validation_data=held
    )
    assert len(e.validation_loss_curve_) == e.n_iter_ == 30
    expected = e.network_.evaluate(*held, loss="softmax_cross_entropy")
    assert e.validation_loss_curve_[-1] == pytest.approx(expected)
    assert MLPClassifier(max_iter=2).fit(X, Y).validation_loss_curve_ is None
    weights = np.arange(50) + 1.0
    settings = {"early_stopping": True, "random_state": 0, "n_iter_no_change": 3, "max_iter": 500}
    early = MLPClassifier(**settings).fit(X[TRAIN], Y[TRAIN], validation_data=(*held, weights))
    assert early.t_ == 100 * early.n_iter_ < 100 * 500
    assert early.best_validation_score_ == early.score(*held, sample_weight=weights) == max(early.validation_scores_)
    with pytest.raises(TypeError, match=r"validation_data: got ndarray, expected \(X, y\)"):
        MLPClassifier().fit(X, Y, validation_data=X)
    with pytest.raises(ValueError, match="classes not in"):
        MLPClassifier().fit(X, Y, validation_data=(X, Y + 1))


def test_validation_loss_of_numbers_is_stated_as_the_loss_is():
    x, y = load_diabetes(return_X_y=True)
    for loss in ("squared_error", "poisson"):
        e = MLPRegressor(loss, max_iter=3, alpha=0.0, learning_rate_init=1e-9).fit(x, y, validation_data=(x, y))
        assert e.validation_loss_curve_[-1] == pytest.approx(e.loss_, rel=1e-4)


def test_the_best_weights_are_restored():
    held = (X[HELD], Y[HELD])
    settings = {
        "random_state": 0,
        "max_iter": 60,
        "learning_rate_init": 0.3,
        "solver": "sgd",
        "restore_best_weights": True,
    }
    e = MLPClassifier(**settings).fit(X[TRAIN], Y[TRAIN], validation_data=held)
    assert e.network_.evaluate(*held) == pytest.approx(min(e.validation_loss_curve_)) != e.validation_loss_curve_[-1]


def test_a_fit_that_diverges_keeps_the_best_weights():
    x, y = load_diabetes(return_X_y=True)
    settings = {
        "random_state": 0,
        "solver": "sgd",
        "learning_rate_init": 1.0,
        "restore_best_weights": True,
        "alpha": 0.0,
    }
    e = MLPRegressor(activation="identity", shuffle=False, **settings)
    with pytest.warns(ConvergenceWarning, match="was not finite"):
        e.fit(x * 30, y)
    assert np.isfinite(e.predict(x)).all()
    assert np.isnan(e.loss_curve_[-1])
    assert len(e.loss_curve_) == e.n_iter_


def test_callbacks_of_fastbp(capsys):
    costs = []
    stopping = fb.EarlyStopping(patience=4, min_delta=1e9)
    e = MLPRegressor(max_iter=30, alpha=0.0, verbose=True).fit(
        X, Y, callbacks=[lambda net, history: costs.append(history.cost[-1]), stopping]
    )
    assert e.n_iter_ == len(costs) == 5
    assert costs == e.loss_curve_
    assert capsys.readouterr().out.splitlines() == [f"Iteration {i + 1}, loss = {c:.8f}" for i, c in enumerate(costs)]


def test_ctrl_c_leaves_what_was_learned():
    def interrupt(net, history):
        if len(history.cost) == 3:
            raise KeyboardInterrupt

    e = MLPRegressor(max_iter=30)
    with pytest.warns(UserWarning, match="interrupted"):
        e.fit(X, Y, callbacks=interrupt)
    assert e.n_iter_ == len(e.loss_curve_) == 3
    assert e.predict(X).shape == (150,)


@pytest.mark.parametrize(
    ("given", "fit_with"),
    [
        ({"dropout": 0.1}, {}),
        ({"restore_best_weights": True}, {}),
        ({}, {"validation_data": (X, Y)}),
        ({}, {"callbacks": [fb.EarlyStopping(1)]}),
    ],
)
def test_lbfgs_has_no_epochs(given, fit_with):
    name = next(iter([*given, *fit_with]))
    with pytest.raises(ValueError, match=f"{name}: got one with solver='lbfgs'"):
        MLPRegressor(solver="lbfgs", **given).fit(X, Y, **fit_with)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_callbacks_that_cannot_do_their_work_are_refused_before_anything_changes(tmp_path, solver):
    """A checkpoint belongs to the fit of a network: here nobody would write it."""
    e = MLPRegressor(hidden_layer_sizes=(5,), solver=solver, max_iter=3)
    with pytest.raises(ValueError, match=r"callbacks: got a fastbp.Checkpoint, expected others"):
        e.fit(X, Y, callbacks=[fb.Checkpoint(tmp_path / "run")])
    with pytest.raises(
        ValueError, match="monitor: got 'validation_cost', expected one of cost, learning_rate, seconds"
    ):
        e.fit(X, Y, callbacks=fb.OptunaPruning(None))
    assert not hasattr(e, "coefs_")


def test_the_network_trains_on_without_the_estimator_s_penalty():
    """`network_` is a fastbp.Sequential like any other."""
    settings = {"hidden_layer_sizes": (5,), "alpha": 10.0, "max_iter": 1, "random_state": 0}
    without = MLPRegressor(solver=fb.SGD(0.0), **settings).fit(X, Y)
    penalised = MLPRegressor(solver="sgd", momentum=0.0, learning_rate_init=1e-300, **settings).fit(X, Y)
    for net in (without.network_, penalised.network_):
        net.fit(X, Y, loss="mean_squared_error", optimizer=fb.SGD(0.1), batch_size=150, shuffle=False)
    np.testing.assert_array_equal(without.network_.parameters, penalised.network_.parameters)
