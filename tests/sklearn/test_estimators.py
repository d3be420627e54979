"""The estimators among scikit-learn's tools: its checks, searches, pipelines, copies, tables, routing, callbacks."""

import copy
import os
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import joblib
import numba
import numpy as np
import pytest
import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastbp as fb
from fastbp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
BOTH = [MLPClassifier, MLPRegressor]


@parametrize_with_checks([MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)], legacy=True)
def test_every_check_of_scikit_learn_s_passes(estimator, check):
    check(estimator)


def test_scikit_learn_s_own_tests_pass():
    plugin = {"PYTHONPATH": f"{Path(__file__).parent}:{Path(fb.__file__).parents[1]}"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "substitute_mlp", "-p", "no:cacheprovider", "--pyargs"]
    done = subprocess.run(
        [*command, "sklearn.neural_network.tests.test_mlp"],
        env={**os.environ, **plugin}, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
    assert "1 deselected" in done.stdout


# ------------------------------------------------------------------------------------------------------------- copies


@pytest.mark.parametrize("kind", BOTH)
def test_copies_of_all_kinds_predict_alike_and_learn_apart(kind, tmp_path):
    e = kind(max_iter=5, random_state=0).fit(X, Y)
    joblib.dump(e, tmp_path / "e.joblib")
    predictions = e.predict(X)
    copies = [pickle.loads(pickle.dumps(e)), copy.deepcopy(e), joblib.load(tmp_path / "e.joblib")]
    for other in copies:
        np.testing.assert_array_equal(other.predict(X), predictions)
        other.partial_fit(X, Y)
    e_next = copy.deepcopy(e).partial_fit(X, Y)
    for other in copies:
        np.testing.assert_array_equal(other.coefs_[0], e_next.coefs_[0])
    np.testing.assert_array_equal(e.predict(X), predictions)
    assert not hasattr(clone(e), "coefs_")
    assert len(pickle.dumps(e)) < 6 * e.network_.parameters.nbytes + 20_000  # parameters, last finite ones, two moments


def test_a_memory_mapped_estimator_predicts(tmp_path):
    e = MLPRegressor(max_iter=5, random_state=0).fit(X, Y)
    joblib.dump(e, tmp_path / "e.joblib")
    mapped = joblib.load(tmp_path / "e.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.predict(X), e.predict(X))


def test_coefs_are_the_network_s_weights_and_may_be_assigned():
    e = MLPRegressor(max_iter=3, random_state=0).fit(X, Y)
    other = copy.copy(e)
    assert np.shares_memory(e.coefs_[0], e.network_.parameters)
    e.coefs_[1][:] = 0.0
    np.testing.assert_array_equal(e.predict(X), np.full(150, e.intercepts_[1][0]))
    other.intercepts_ = [b + 1.0 for b in e.intercepts_]
    np.testing.assert_allclose(other.predict(X), e.predict(X) + 1.0)
    np.testing.assert_array_equal(e.predict(X), np.full(150, e.intercepts_[1][0]))
    assert np.shares_memory(other.coefs_[0], other.network_.parameters)


def test_the_same_random_state_gives_the_same_bits():
    fits = [MLPClassifier(max_iter=5, random_state=s, batch_size=20, dropout=0.2).fit(X, Y) for s in (4, 4, 5)]
    assert np.array_equal(fits[0].coefs_[0], fits[1].coefs_[0])
    assert not np.array_equal(fits[0].coefs_[0], fits[2].coefs_[0])
    shuffled = [
        MLPClassifier(max_iter=5, random_state=4, batch_size=20, shuffle=s).fit(X, Y).loss_ for s in (True, False)
    ]
    assert shuffled[0] != shuffled[1]


@pytest.mark.parametrize("solver", ["sgd", "adam", "rmsprop"])
def test_epochs_of_partial_fit_are_a_fit(solver):
    settings = {"random_state": 0, "solver": solver, "batch_size": 32, "dropout": 0.1}
    whole = MLPClassifier(max_iter=13, **settings).fit(X, Y)
    by_parts = MLPClassifier(**settings)
    for _ in range(13):
        by_parts.partial_fit(X, Y, classes=[0, 1, 2])
    for a, b in zip(whole.coefs_ + whole.intercepts_, by_parts.coefs_ + by_parts.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole.loss_curve_ == by_parts.loss_curve_
    assert (whole.t_, by_parts.n_iter_) == (by_parts.t_, 1)


# ------------------------------------------------------------------------------------------------------------ threads

FITS = {
    "fit": lambda e, **settings: e.fit(X, Y, **settings),
    "partial_fit": lambda e: e.partial_fit(X, Y),
}


def in_the_midst_of_a_fit(e, do):
    """Calls `do` while another thread is in the midst of a fit of `e`."""
    begun, done = threading.Event(), threading.Event()

    def callback(net, history):
        begun.set()
        done.wait(30)

    thread = threading.Thread(target=FITS["fit"], args=(e,), kwargs={"callbacks": callback})
    thread.start()
    try:
        assert begun.wait(60)
        do()
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("name", FITS)
def test_a_second_thread_that_fits_an_estimator_is_refused_and_changes_nothing(kind, name):
    e = kind(max_iter=5, random_state=0).fit(X, Y)
    alone = copy.deepcopy(e).fit(X, Y)

    def refused():
        before = {key: str(value) for key, value in vars(e).items()}
        with pytest.raises(RuntimeError, match=f"estimator: got a call of {name} while another thread is in fit"):
            FITS[name](e)
        assert {key: str(value) for key, value in vars(e).items()} == before

    in_the_midst_of_a_fit(e, refused)
    np.testing.assert_array_equal(e.predict(X), alone.predict(X))
    FITS[name](e)


@pytest.mark.parametrize("kind", BOTH)
def test_predictions_and_copies_beside_a_fit_do_not_disturb_it(kind):
    e, alone = (kind(max_iter=30, random_state=0) for _ in range(2))
    alone.fit(X, Y)
    in_the_midst_of_a_fit(e, lambda: (e.predict(X), e.score(X, Y), copy.deepcopy(e).fit(X, Y), clone(e)))
    np.testing.assert_array_equal(e.predict(X), alone.predict(X))
    fitting, errors = threading.Thread(target=lambda: [e.fit(X, Y) for _ in range(20)]), []

    def predicts():
        while fitting.is_alive():
            try:
                e.predict(X)
            except Exception as error:
                errors.append(error)

    threads = [fitting, *(threading.Thread(target=predicts) for _ in range(2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    np.testing.assert_array_equal(e.predict(X), alone.predict(X))


@pytest.mark.parametrize("kind", BOTH)
def test_a_callback_that_fits_its_estimator_or_its_network_is_refused(kind):
    e = kind(max_iter=5, random_state=0)
    with pytest.raises(RuntimeError, match="estimator: got a call of partial_fit within fit"):
        e.fit(X, Y, callbacks=lambda net, history: e.partial_fit(X, Y))
    with pytest.raises(RuntimeError, match="network: got a call of fit within fit"):
        e.fit(X, Y, callbacks=lambda net, history: net.fit(X, Y))
    e.fit(X, Y)


# --------------------------------------------------------------------------------------------------- searches, tables


def threads_in_fit(_):
    """numba's number of threads within a fit of a worker's."""
    seen = []
    MLPClassifier(max_iter=1).fit(X, Y, callbacks=lambda net, history: seen.append(numba.get_num_threads()))
    return seen[0]


def test_a_fit_in_a_worker_runs_on_one_thread():
    before = numba.get_num_threads()
    assert before > 1, "the tests run with several threads"
    assert threads_in_fit(0) == before
    assert joblib.Parallel(2, backend="threading")(joblib.delayed(threads_in_fit)(i) for i in range(4)) == [1] * 4
    assert numba.get_num_threads() == before


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_searches_with_both_kinds_of_workers(backend):
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=30, learning_rate_init=0.02, random_state=0))
    grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__hidden_layer_sizes": [(5,), (8, 8)]}
    with joblib.parallel_backend(backend):
        parallel = GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(X, Y)
    serial = GridSearchCV(pipeline, grid, cv=3).fit(X, Y)
    np.testing.assert_array_equal(parallel.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"])
    assert (parallel.predict(X) == Y).mean() > 0.6
    assert cross_val_score(parallel.best_estimator_, X, Y, cv=3).shape == (3,)


def test_names_of_columns_are_kept_and_compared():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    e = MLPClassifier(max_iter=3, early_stopping=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        e.fit(frame, pandas.Series(Y)).predict(frame)
        make_pipeline(StandardScaler().set_output(transform="pandas"), e).fit(frame, Y).predict(frame)
    assert e.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        e.predict(frame[list("dcba")])


def test_metadata_reach_the_fit():
    weights = np.where(Y == 2, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        e = MLPClassifier(random_state=0, learning_rate_init=0.01)
        e.set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        search = GridSearchCV(e, {"alpha": [1e-4]}, cv=2).fit(X, Y, sample_weight=weights)
    assert not (search.predict(X) == 2).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_that_of_the_data(dtype):
    x, y = load_digits(n_class=2, return_X_y=True)
    for solver in ("adam", "lbfgs"):
        e = MLPRegressor(max_iter=5, solver=solver).fit(x.astype(dtype), y)
        assert {str(a.dtype) for a in (*e.coefs_, *e.intercepts_, e.predict(x.astype(dtype)))} == {dtype}
        assert str(MLPClassifier(max_iter=2).fit(x.astype(dtype), y).predict_proba(x).dtype) == dtype


@pytest.mark.parametrize("kind", BOTH)
def test_the_picture_of_an_estimator_links_to_the_description_of_its_parameters(kind):
    link = getattr(sklearn.neural_network, kind.__name__)()._get_doc_link()
    assert "neural_network" in link
    assert kind()._get_doc_link() == link
    assert f'href="{link}' in make_pipeline(StandardScaler(), kind())._repr_html_()


def test_scikit_learn_s_callbacks():
    pytest.importorskip("sklearn.callback")

    class Scores:
        def __init__(self):
            self.calls, self.scores = [], []

        def setup(self, estimator, context):
            self.calls.append("setup")

        def teardown(self, estimator, context):
            self.calls.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            self.calls.append(context.task_name)

        def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
            self.scores.append(fitted_estimator.score(X, y))
            return len(self.scores) == 4

    callback = Scores()
    e = MLPRegressor(max_iter=9, random_state=0).set_callbacks(callback).fit(X, Y)
    assert callback.calls == ["setup", "fit", *["epoch"] * 4, "teardown"]
    assert e.n_iter_ == 4
    assert len(set(callback.scores[:4])) == 4
    assert callback.scores[4] == callback.scores[3] == e.score(X, Y)
    e.partial_fit(X, Y)
    assert callback.calls[-4:] == ["setup", "fit", "epoch", "teardown"]


def test_what_is_missing_is_named(run_python):
    """And `import fastbp` wants none of it."""
    run_python(
        """
        import sys
        for name in ("sklearn", "scipy", "joblib"):
            sys.modules[name] = None
        import fastbp
        try:
            import fastbp.sklearn
        except ImportError as error:
            assert "pip install 'fastbp[sklearn]'" in str(error), error
        else:
            raise AssertionError
        """,
        cache=None,
    )


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_memory_mapped_estimator_is_trained_in_memory_of_its_own(kind, mode, tmp_path):
    e = kind(max_iter=5, random_state=0, warm_start=True).fit(X, Y)
    joblib.dump(e, tmp_path / "e.joblib")
    content = (tmp_path / "e.joblib").read_bytes()
    mapped = joblib.load(tmp_path / "e.joblib", mmap_mode=mode)
    for trained in (e, mapped):
        trained.partial_fit(X, Y)
        trained.fit(X, Y)
    np.testing.assert_array_equal(mapped.coefs_[0], e.coefs_[0])
    assert (tmp_path / "e.joblib").read_bytes() == content


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_estimator_whose_parameters_are_read_only_is_left_alone(solver):
    e = MLPRegressor(max_iter=5, random_state=0, warm_start=True, solver=solver).fit(X, Y)
    e.network_.parameters.flags.writeable = False
    before = e.predict(X)
    with pytest.raises(ValueError, match="parameters: got a vector that was made read-only"):
        e.fit(X, Y)
    np.testing.assert_array_equal(e.predict(X), before)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_y_that_the_loss_cannot_mean_is_refused(solver):
    x, y = np.random.default_rng(0).standard_normal((30, 3)), np.arange(30) - 1.0
    e = MLPRegressor(fb.losses.poisson, solver=solver)
    with pytest.raises(ValueError, match=r"y: got -1\.0, expected numbers >= 0 with loss='poisson'"):
        e.fit(x, y)
    assert not hasattr(e, "loss_")


def test_validation_data_are_looked_at_as_training_data_are():
    x, y = np.random.default_rng(0).standard_normal((30, 3)), np.arange(30.0)
    with pytest.raises(ValueError, match=r"validation_data: y: got -3\.0, expected numbers >= 0 with loss='poisson'"):
        MLPRegressor(fb.losses.poisson).fit(x, y, validation_data=(x, np.where(y == 4, -3, y)))


def test_hyper_parameters_that_a_float32_network_cannot_hold_are_named():
    x, y = np.random.default_rng(0).standard_normal((30, 3)).astype(np.float32), np.arange(30) % 2
    with pytest.raises(ValueError, match="epsilon: got 1e-46, which is 0 in float32"):
        MLPClassifier(epsilon=1e-46).fit(x, y)
    MLPClassifier(epsilon=1e-46, max_iter=1).fit(x.astype(np.float64), y)
