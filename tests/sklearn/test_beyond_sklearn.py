"""What scikit-learn's estimators do not have."""

import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mean_absolute_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

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


NUMBERS = np.linspace(0.0, 1.0, 150)
LABELS = np.eye(3, dtype=int)[Y]


def with_one(y, value):
    y = y.astype(object) if value is None else y.astype(float)
    y[7] = value
    return y


BAD_Y = [
    (MLPRegressor(), NUMBERS, with_one(NUMBERS, np.nan), "Input y contains NaN"),
    (MLPRegressor(), NUMBERS, with_one(NUMBERS, np.inf), "Input y contains infinity"),
    (MLPRegressor(), NUMBERS, with_one(NUMBERS, None), "y: got nan, expected numbers that float64 holds"),
    (MLPRegressor(), NUMBERS, NUMBERS[:-1], "inconsistent numbers of samples"),
    (MLPRegressor("poisson"), NUMBERS, with_one(NUMBERS, -1), "y: got -1.0, expected numbers >= 0 with loss='poisson'"),
    (MLPRegressor(fb.losses.poisson), NUMBERS, with_one(NUMBERS, -1), "y: got -1.0, expected numbers >= 0"),
    (MLPClassifier(), Y, with_one(Y, None), "y: got None in row 7, expected a class in every row"),
    (MLPClassifier(), Y, with_one(Y, np.nan), "Input y contains NaN"),
    (MLPClassifier(), Y.astype(str), with_one(Y.astype(str), None), "y: got None in row 7, expected a class"),
    (MLPClassifier(), LABELS, LABELS + 1, "y: got other values in a matrix of labels, expected 0 and 1"),
]


@pytest.mark.parametrize(("estimator", "good", "bad", "message"), BAD_Y)
def test_validation_data_are_refused_as_training_data_are(estimator, good, bad, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, bad)
    for given in ({"validation_data": (X, bad)}, {"X_val": X, "y_val": bad}):
        with pytest.raises(ValueError, match=f"{', '.join(given)}: .*{message}"):
            estimator.fit(X, good, **given)
    assert not hasattr(estimator, "coefs_")


def test_validation_data_that_do_not_fit_the_training_data_are_refused():
    short = {"max_iter": 2}
    cases = [
        (MLPRegressor(**short), NUMBERS, (X, LABELS * 1.0), r"y: got shape \(150, 3\), expected \(150, 1\)"),
        (MLPRegressor(**short), LABELS * 1.0, (X, NUMBERS), r"y: got shape \(150,\), expected \(150, 3\)"),
        (MLPClassifier(**short), Y, (X, LABELS), r"y: got shape \(150, 3\), expected \(150,\)"),
        (MLPClassifier(**short), LABELS, (X, LABELS[:, :2]), r"y: got shape \(150, 2\), expected \(150, 3\)"),
        (MLPClassifier(**short), Y, (X, Y.astype(str)), "`y` has classes not in"),
        (MLPRegressor(**short), NUMBERS, (X[:, :2], NUMBERS), "X has 2 features"),
        (MLPRegressor(**short), NUMBERS, (X, NUMBERS, np.full(150, -1.0)), "sample_weight: got -1.0 in row 0"),
    ]
    for e, y, held, message in cases:
        with pytest.raises(ValueError, match=f"validation_data: {message}"):
            e.fit(X, y, validation_data=held)


def test_numbers_that_float32_does_not_hold_are_refused_where_they_come_in():
    x, y, large = X.astype("float32"), NUMBERS.astype("float32"), np.full(150, 1e39)
    e = MLPRegressor(max_iter=2).fit(x, y)
    for arguments, given in [((x, large), {}), ((x, y), {"validation_data": (x, large)})]:
        with pytest.raises(ValueError, match=r"y: got 1e\+39, expected numbers that float32 holds"):
            e.fit(*arguments, **given)
    with np.errstate(over="ignore"):
        for call in (lambda: e.predict(X * 1e39), lambda: e.partial_fit(X * 1e39, NUMBERS)):
            with pytest.raises(ValueError, match="too large for dtype"):
                call()
        with pytest.raises(ValueError, match=r"validation_data: .*too large for dtype"):
            e.fit(x, y, validation_data=(X * 1e39, y))


def test_validation_data_of_a_pipeline_are_transformed():
    x, y = load_diabetes(return_X_y=True)
    x, y = 1e4 * x, (y - y.mean()) / y.std()
    settings = {"random_state": 0, "max_iter": 20}
    scaled = StandardScaler().fit(x[:300])
    expected = MLPRegressor(**settings).fit(
        scaled.transform(x[:300]), y[:300], validation_data=(scaled.transform(x[300:]), y[300:], np.ones(142))
    )
    with sklearn.config_context(enable_metadata_routing=True):
        e = MLPRegressor(**settings).set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        pipeline = make_pipeline(StandardScaler(), e, transform_input=["X_val"])
        pipeline.fit(x[:300], y[:300], X_val=x[300:], y_val=y[300:], sample_weight_val=np.ones(142))
    assert pipeline[-1].validation_loss_curve_ == expected.validation_loss_curve_
    assert pipeline[-1].validation_loss_curve_[-1] < 1.0


def test_validation_data_in_two_forms_or_half_of_one_are_refused():
    cases = [
        ({"validation_data": (X, Y), "X_val": X}, ValueError, "X_val: got one beside validation_data"),
        ({"X_val": X}, ValueError, "y_val: got None beside X_val, expected X_val and y_val"),
        ({"y_val": Y}, ValueError, "X_val: got None beside y_val, expected X_val and y_val"),
        ({"sample_weight_val": Y}, ValueError, "X_val: got None beside sample_weight_val"),
        ({"validation_data": (X, Y, Y, Y)}, TypeError, r"validation_data: got 4 of them, expected \(X, y\)"),
        ({"solver": "lbfgs", "X_val": X, "y_val": Y}, ValueError, "X_val, y_val: got one with solver='lbfgs'"),
    ]
    for given, kind, message in cases:
        with pytest.raises(kind, match=message):
            MLPClassifier(solver=given.pop("solver", "adam")).fit(X, Y, **given)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logarithms_of_probabilities_that_are_next_to_nothing(dtype):
    """From the logits, where the probability itself is 0."""
    x = np.array([[1.0], [-1.0], [0.0]], dtype)
    for y, weights in ((np.array([0, 1, 0]), [[900.0]]), (np.arange(3), [[900.0, 0.0, -900.0]])):
        e = MLPClassifier((), solver=fb.SGD(0.0), max_iter=1).fit(x, y)
        e.coefs_, e.intercepts_ = [np.array(weights)], [np.zeros(len(weights[0]))]
        found = e.predict_log_proba(x)
        assert found.dtype == dtype
        assert found.min() == found[0].min() == (-900.0 if len(weights[0]) == 1 else -1800.0)
        np.testing.assert_allclose(np.exp(found), e.predict_proba(x), rtol=1e-5, atol=1e-30)
    e = MLPClassifier((), solver=fb.SGD(0.0), max_iter=1).fit(x, np.eye(3, dtype=int))
    e.coefs_, e.intercepts_ = [np.array([[900.0, 0.0, -900.0]])], [np.zeros(3)]
    np.testing.assert_allclose(e.predict_log_proba(x)[0], [0.0, -np.log(2), -900.0], rtol=1e-6)
    e = MLPClassifier((), solver=fb.SGD(0.0), max_iter=1).fit(x, np.array([0, 1, 0]))
    e.coefs_, e.intercepts_ = [np.array([[30.0]])], [np.zeros(1)]
    assert e.predict_proba(x)[0, 0] == pytest.approx(np.exp(-30.0))


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


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("warm_start", [False, True])
def test_lbfgs_that_meets_an_infinite_loss_fails_with_the_weights_of_before(warm_start):
    e = MLPRegressor(solver="lbfgs", max_iter=5, random_state=0, warm_start=warm_start).fit(X, Y)
    before = [*map(np.copy, e.coefs_)]
    with pytest.raises(ValueError, match="Solver produced non-finite"):
        e.fit(X, Y * 1e300)
    for now, then in zip(e.coefs_, before, strict=True):
        assert np.array_equal(now, then) == warm_start
        assert np.isfinite(now).all()


def test_the_network_trains_on_without_the_estimator_s_penalty():
    """`network_` is a fastbp.Sequential like any other."""
    settings = {"hidden_layer_sizes": (5,), "alpha": 10.0, "max_iter": 1, "random_state": 0}
    without = MLPRegressor(solver=fb.SGD(0.0), **settings).fit(X, Y)
    penalised = MLPRegressor(solver="sgd", momentum=0.0, learning_rate_init=1e-300, **settings).fit(X, Y)
    for net in (without.network_, penalised.network_):
        net.fit(X, Y, loss="mean_squared_error", optimizer=fb.SGD(0.1), batch_size=150, shuffle=False)
    np.testing.assert_array_equal(without.network_.parameters, penalised.network_.parameters)
