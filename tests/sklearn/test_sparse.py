"""Sparse matrices give the bits of dense ones: read as they are, made dense whole, or a piece at a time."""

import itertools

import numpy as np
import pytest
import scipy.sparse

import fastbp as fb
from fastbp.sklearn import MLPClassifier, MLPRegressor, sparse

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
rng = np.random.default_rng(0)
X = scipy.sparse.random_array((90, 20), density=0.2, format="csr", rng=0)
Y = rng.integers(0, 3, 90)


@pytest.fixture
def large(monkeypatch):
    """Every sparse matrix counts as one that is too large to be dense."""
    monkeypatch.setattr(sparse, "DENSE_BYTES", 0)
    monkeypatch.setattr(sparse, "BYTES_AT_ONCE", 35 * 20 * 8)


CASES = [
    (MLPClassifier, {}, {}),
    (MLPClassifier, {"early_stopping": True, "solver": "sgd"}, {}),
    (MLPClassifier, {"restore_best_weights": True, "dropout": 0.2, "learning_rate_init": 0.1}, {}),
    (
        MLPRegressor,
        {"solver": fb.SGD(fb.schedules.Cosine(0.1, 6), momentum=0.9)},
        {"sample_weight": rng.uniform(1, 2, 90)},
    ),
    (MLPRegressor, {"shuffle": False}, {"validation_data": (X[:40], Y[:40], rng.uniform(1, 2, 40))}),
    (MLPRegressor, {}, {"validation_data": (X, Y, np.repeat([1.0, 0.0], [35, 55]))}),  # pieces without weight
]


@pytest.mark.parametrize(("kind", "settings", "given"), CASES)
def test_a_piece_at_a_time(large, kind, settings, given):
    e = kind(hidden_layer_sizes=(8,), batch_size=16, max_iter=6, random_state=0, **settings)
    fits = []
    for x in (X.toarray(), X.tocsc()):
        e.fit(x, Y, **given)
        fits.append((*e.coefs_, *e.intercepts_, e.loss_curve_, e.validation_loss_curve_, e.predict(x)))
        e = kind(**e.get_params())
    *dense, dense_losses, dense_held, dense_predictions = fits[0]
    *sparse_weights, losses, held, predictions = fits[1]
    for one, other in zip([*dense, dense_predictions], [*sparse_weights, predictions], strict=True):
        np.testing.assert_array_equal(one, other)
    assert losses == dense_losses  # the cost is added up from piece to piece
    assert held == (dense_held and pytest.approx(dense_held, rel=1e-12))


def test_small_ones_are_made_dense():
    assert isinstance(sparse.dense_if_small(X), np.ndarray)
    dense, csr = (MLPRegressor(hidden_layer_sizes=(8,), max_iter=3, random_state=0).fit(x, Y) for x in (X.toarray(), X))
    np.testing.assert_array_equal(dense.coefs_[0], csr.coefs_[0])


def test_divergence_is_noticed(large):
    with pytest.raises(ValueError, match="non-finite"):
        MLPRegressor(solver="sgd", learning_rate_init=1e200, random_state=0).fit(X, Y)


def test_the_dense_form_of_a_large_one_never_exists(large, monkeypatch):
    made = []
    toarray = scipy.sparse.csr_array.toarray
    monkeypatch.setattr(scipy.sparse.csr_array, "toarray", lambda self: made.append(self.shape[0]) or toarray(self))
    for solver in ("adam", "lbfgs"):
        MLPRegressor(hidden_layer_sizes=(8,), solver=solver, batch_size=16, max_iter=2).fit(X, Y).predict(X)
    assert max(made) <= 35


# -------------------------------------------------------------------------------------------------------- predictions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("x_dtype", ["float32", "float64", "int8"])
@pytest.mark.parametrize("units", [(7, 1), (40, 33, 5), (300, 130, 64, 2), (3000, 17, 3)])
def test_a_prediction_has_the_bits_of_dense_rows(dtype, x_dtype, units):
    """For every width of the strips that the compiled code works in, with empty rows among them."""
    for activation in ("relu", "tanh", "mish"):
        layers = [fb.Dense(n, m, activation) for n, m in itertools.pairwise(units)]
        net = fb.Sequential(*layers[:1], *([fb.Dropout(0.5)] if layers[1:] else []), *layers[1:], dtype=dtype, seed=3)
        for rows in (1, 2, 300):
            x = scipy.sparse.random_array((rows, units[0]), density=0.1, format="csr", rng=0)
            x.data = (x.data * 200 - 100).astype(x_dtype)
            np.testing.assert_array_equal(sparse.output_of(net, x), net.predict(x.toarray()))


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok"])
def test_a_prediction_reads_every_form_and_never_makes_it_dense(form, monkeypatch):
    e = MLPClassifier(hidden_layer_sizes=(8,), max_iter=3, random_state=0).fit(X.toarray(), Y)
    expected = e.predict_proba(X.toarray())
    x = X.asformat(form)
    monkeypatch.setattr(sparse, "ROWS_A_CALL", 32)
    for kind in (scipy.sparse.csr_array, scipy.sparse.csc_array):
        monkeypatch.setattr(kind, "toarray", lambda self: pytest.fail("was made dense"))
    np.testing.assert_array_equal(e.predict_proba(x), expected)


def test_entries_out_of_order_and_twice_are_added_up_and_left_as_they_are():
    e = MLPRegressor(hidden_layer_sizes=(8,), max_iter=3, random_state=0).fit(X.toarray(), Y)
    columns, values = np.array([7, 2, 7, 0]), np.array([1.0, 2.0, 0.5, 0.0])
    x = scipy.sparse.csr_array((values, columns, [0, 3, 3, 4]), shape=(3, 20))
    np.testing.assert_array_equal(e.predict(x), e.predict(x.toarray()))
    assert x.indices.tolist() == [7, 2, 7, 0]


def test_entries_that_point_elsewhere_are_refused():
    e = MLPRegressor(hidden_layer_sizes=(8,), max_iter=3, random_state=0).fit(X.toarray(), Y)
    for damaged, values in [("indices", [0, 20]), ("indices", [0, -1]), ("indptr", [0, 2, 1]), ("indptr", [0, 9, 2])]:
        x = scipy.sparse.csr_array(([1.0, 1.0], [0, 1], [0, 1, 2]), shape=(2, 20))
        setattr(x, damaged, np.array(values, np.int32))
        with pytest.raises(ValueError, match=r"ind"):
            e.predict(x)
