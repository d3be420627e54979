"""What y a cost can mean: refused in every entry point before anything changes, and what can be meant is not."""

import numpy as np
import pytest
from numba import njit
from reference import numbers

import fastbp as fb
from fastbp import engine, losses
from fastbp.data import targets

F64 = np.dtype(np.float64)
X = numbers((12, 4), F64)
LABELS = np.arange(12) % 3
ONE_HOT = np.eye(3)[LABELS]
OUTPUT = numbers((12, 3), F64, seed=2)


def changed(y, value, place=(7, 0)):
    y = np.array(y, np.float64)
    y[place] = value
    return y


def network(outputs=3, dtype="float32", activation="identity"):
    return fb.Sequential(fb.Dense(4, 5, "tanh"), fb.Dense(5, outputs, activation), dtype=dtype, seed=1)


def by_hand(net, y, loss):
    losses.as_loss(loss)(net.forward(X), y)


def by_verb(net, y, loss):
    engine.train_step(net.training(loss, fb.SGD(0.1), 12), X, y)


@njit
def one_epoch(training, x, y):
    return engine.train_epoch(training, x, y)


ENTRY_POINTS = {
    "fit": lambda net, y, loss: net.fit(X, y, loss),
    "minibatches": lambda net, y, loss: net.fit([(X, y)], None, loss),
    "validation data": lambda net, y, loss: net.fit(X, np.resize(good(loss), y.shape), loss, validation_data=(X, y)),
    "evaluate": lambda net, y, loss: net.evaluate(X, y, loss),
    "fit_many": lambda net, y, loss: fb.fit_many([net], X, y, loss=loss),
    "validation data of fit_many": lambda net, y, loss: fb.fit_many(
        [net], X, np.resize(good(loss), y.shape), loss=loss, validation_data=(X, y)
    ),
    "by hand": by_hand,
    "train_step": by_verb,
    "train_epoch in njit": lambda net, y, loss: one_epoch(net.training(loss, fb.SGD(0.1), 5), X, y),
    "engine.evaluate": lambda net, y, loss: engine.evaluate(net.training(loss, fb.SGD(0.1), 5), X, y),
}


def good(loss):
    return ONE_HOT if loss in ("softmax_cross_entropy", "negative_log_likelihood") else np.ones((12, 3))


MEANINGLESS = {
    "a sum of 2": ("softmax_cross_entropy", changed(ONE_HOT, 1.0), "y: got a sum of 2 in row 7, expected labels, or rows of"),
    "a sum of 0": ("softmax_cross_entropy", changed(ONE_HOT, 0.0, (7, 1)), "y: got a sum of 0 in row 7, expected labels, or"),
    "numbers": ("softmax_cross_entropy", 3 * OUTPUT, "y: got .* in row 0.*, expected labels, or rows of probabilities"),
    "a negative probability": ("softmax_cross_entropy", changed(ONE_HOT, -0.5), r"y: got -0\.5 in row 7"),
    "NaN for a probability": ("softmax_cross_entropy", changed(ONE_HOT, np.nan), "y: got nan in row 7"),
    "counts of labels": ("negative_log_likelihood", changed(ONE_HOT, 3.0), r"y: got 3\.0 in row 7"),
    "a chance of 2": ("binary_cross_entropy", changed(ONE_HOT, 2.0), r"y: got 2\.0 in row 7.*, expected numbers from 0 to 1"),
    "a chance of -1": ("binary_cross_entropy", changed(ONE_HOT, -1.0), r"y: got -1\.0 in row 7"),
    "a negative count": ("poisson", changed(ONE_HOT, -1.0), r"y: got -1\.0 in row 7.*, expected numbers of at least 0"),
}  # fmt: skip


@pytest.mark.parametrize("entry", ENTRY_POINTS)
@pytest.mark.parametrize("case", MEANINGLESS)
def test_a_y_that_the_cost_cannot_mean_is_refused_before_anything_changes(case, entry):
    loss, y, message = MEANINGLESS[case]
    net = network(activation="sigmoid" if loss == "negative_log_likelihood" else "identity")
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match=message):
        ENTRY_POINTS[entry](net, y, loss)
    assert net.parameters.tobytes() == before
    assert net.history is None


@pytest.mark.parametrize("entry", ENTRY_POINTS)
@pytest.mark.parametrize("y", [np.zeros(12, np.int64), np.zeros((12, 1)), np.linspace(0, 1, 12)])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "negative_log_likelihood"])
def test_one_output_is_no_class(entry, y, loss):
    net = network(1)
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match=rf"loss: got {loss} with one output, .*expected binary_cross_entropy"):
        ENTRY_POINTS[entry](net, y, loss)
    assert net.parameters.tobytes() == before


@pytest.mark.parametrize("entry", ENTRY_POINTS)
@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("softmax_cross_entropy", ONE_HOT.astype(bool)), ("softmax_cross_entropy", ONE_HOT.astype(np.uint8)),
        ("softmax_cross_entropy", 0.9 * ONE_HOT + 0.1 / 3), ("softmax_cross_entropy", np.full((12, 3), 1 / 3, np.float32)),
        ("negative_log_likelihood", np.full((12, 3), [0.7, 0.2, 0.1])), ("softmax_cross_entropy", LABELS),
        ("binary_cross_entropy", np.ones((12, 3), bool)), ("binary_cross_entropy", np.full((12, 3), 0.3)),
        ("binary_cross_entropy", np.full((12, 3), np.float32(1) + np.finfo(np.float32).eps)),
        ("poisson", np.full((12, 3), 7, np.uint16)), ("mean_squared_error", -100 * OUTPUT), ("quantile", -OUTPUT),
    ],
)  # fmt: skip
def test_a_y_that_can_be_meant_is_taken(entry, loss, y):
    ENTRY_POINTS[entry](network(activation="sigmoid" if loss == "negative_log_likelihood" else "identity"), y, loss)


def test_probabilities_rounded_to_float16_are_taken():
    p = np.exp(numbers((500, 40), F64))
    rounded = (p / p.sum(axis=1, keepdims=True)).astype(np.float16)
    assert targets.CLASSES.fault("y", rounded) is None
    assert targets.CLASSES.fault("y", np.round(rounded, 1)) is not None


@pytest.mark.parametrize("entry", ["fit", "minibatches", "evaluate", "by hand", "train_step"])
def test_rows_without_weight_may_hold_anything(entry):
    """As those that fill a minibatch up."""
    y, weights = ONE_HOT.copy(), np.ones(12)
    y[7:], weights[7:] = 0, 0
    net = network()
    training = net.training("softmax_cross_entropy", fb.SGD(0.1), 12)
    calls = {
        "fit": lambda: net.fit(X, y, sample_weight=weights),
        "minibatches": lambda: net.fit([(X, y, weights)]),
        "evaluate": lambda: net.evaluate(X, y, sample_weight=weights),
        "by hand": lambda: losses.softmax_cross_entropy(net.forward(X), y, weights),
        "train_step": lambda: engine.train_step(training, X, y, weights),
    }
    calls[entry]()
    weights[7] = 1e-3
    with pytest.raises(ValueError, match="y: got a sum of 0 in row 7"):
        calls[entry]()


def test_rows_that_no_network_uses_may_hold_anything():
    y = changed(np.ones((12, 3)), -1.0)
    fb.fit_many([network()], X, y, loss="poisson", rows=[np.arange(7)])
    with pytest.raises(ValueError, match=r"y: got -1\.0 in row 7"):
        fb.fit_many([network(), network()], X, y, loss="poisson", rows=[np.arange(7), None])


def test_each_network_of_many_has_a_cost_and_a_dtype_of_its_own():
    y = changed(np.ones((12, 3)), -1.0)
    for losses_ in (["poisson", "mean_squared_error"], ["mean_squared_error", "poisson"]):
        with pytest.raises(ValueError, match=r"y: got -1\.0 in row 7"):
            fb.fit_many([network(), network()], X, y, loss=losses_)
    huge = changed(X, 1e39)
    for dtypes in (("float32", "float64"), ("float64", "float32")):
        with pytest.raises(ValueError, match=r"x: got 1e\+39 in row 7, column 0, expected numbers that float32 holds"):
            fb.fit_many([network(dtype=dtype) for dtype in dtypes], huge, LABELS)


def test_the_row_is_named_beyond_the_first_part_of_a_large_y():
    y = np.ones((9000, 1))
    y[8500] = -1
    with pytest.raises(ValueError, match=r"y: got -1\.0 in row 8500, column 0"):
        network(1).evaluate(np.zeros((9000, 4)), y, "poisson")


def test_a_cost_of_the_users_is_free():
    @njit
    def cost(output, y):
        return ((output - y) ** 2).sum()

    @njit
    def derivative(output, y, delta):
        delta[:] = 2 * (output - y)

    network(1).fit(X, np.full(12, -7.0), fb.losses.custom(cost, derivative))


def test_labels_as_a_column_get_advice():
    column = LABELS[:, None]
    for call in (network().fit, network().evaluate):
        with pytest.raises(
            ValueError, match=r"y: got shape \(12, 1\), expected \(12, 3\); labels have one dimension: y.ravel"
        ):
            call(X, column)
    with pytest.raises(
        ValueError, match=r"validation_y: got shape .*; labels have one dimension: validation_y.ravel\(\)"
    ):
        network().fit(X, LABELS, validation_data=(X, column))
    with pytest.raises(
        ValueError, match=r"y: .* with 1 column, expected 3, as in the network, or labels .*: y.ravel\(\)"
    ):
        by_verb(network(), column, "softmax_cross_entropy")
    with pytest.raises(
        ValueError, match=r"y: .* with 1 column, expected 3, as in z, or labels in one dimension: y.ravel\(\)"
    ):
        fb.kernels.softmax_cross_entropy(OUTPUT, column)
