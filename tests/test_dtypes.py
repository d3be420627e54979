"""Numbers that float64 holds and float32 does not are named where they come in."""

import numpy as np
import pytest
from numba import njit
from reference import numbers

import fastbp as fb
from fastbp import engine
from fastbp.data import Standardizer

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
X = numbers((24, 4), F64)
LABELS = np.arange(24) % 3
T = numbers((24, 3), F64, seed=2)
HUGE = X.copy()
HUGE[9, 2] = 1e39
FAR = T.copy()
FAR[9, 2] = -1e39
MSE = "mean_squared_error"


def network(dtype="float32", activation="relu"):
    return fb.Sequential(fb.Dense(4, 5, activation), fb.Dense(5, 3), dtype=dtype, seed=1)


@njit
def one_epoch(training, x, y):
    return engine.train_epoch(training, x, y)


def training_of(net, loss=MSE, batch_size=24):
    return net.training(loss, fb.SGD(0.1), batch_size)


CALLS = {
    "fit": lambda net, x, y: net.fit(x, y, MSE),
    "minibatches": lambda net, x, y: net.fit([(x, y)], None, MSE),
    "validation data": lambda net, x, y: net.fit(X, T, MSE, validation_data=(x, y)),
    "evaluate": lambda net, x, y: net.evaluate(x, y, MSE),
    "fit_many": lambda net, x, y: fb.fit_many([net], x, y, loss=MSE),
    "validation data of fit_many": lambda net, x, y: fb.fit_many([net], X, T, loss=MSE, validation_data=(x, y)),
    "train_step": lambda net, x, y: engine.train_step(training_of(net), x, y),
    "train_epoch in njit": lambda net, x, y: one_epoch(training_of(net), x, y),
    "engine.evaluate": lambda net, x, y: engine.evaluate(training_of(net), x, y),
}
OF_X = {
    **CALLS,
    "predict": lambda net, x, y: net.predict(x),
    "predict again": lambda net, x, y: [net.predict(X), net.predict(x)],
    "predict of a row": lambda net, x, y: [net.predict(X[:1]), net.predict(x[:1]), net.predict(x[9:10])],
    "forward": lambda net, x, y: net.forward(x),
    "engine.forward": lambda net, x, y: engine.forward(training_of(net), x),
    "engine.predict": lambda net, x, y: engine.predict(training_of(net), x),
}


@pytest.mark.parametrize("call", OF_X)
def test_an_x_that_the_network_cannot_hold_is_named(call):
    net = network()
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match=r"x: got 1e\+39 in row (9|0).*, expected numbers that float32 holds"):
        OF_X[call](net, HUGE, T)
    assert net.parameters.tobytes() == before
    OF_X[call](network("float64"), HUGE, T)


@pytest.mark.parametrize("call", CALLS)
def test_a_y_that_the_network_cannot_hold_is_named(call):
    net = network()
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match=r"y: got -1e\+39 in row 9.*, expected numbers that float32 holds"):
        CALLS[call](net, X, FAR)
    assert net.parameters.tobytes() == before
    CALLS[call](network("float64"), X, FAR)


def test_by_hand():
    net = network()
    output = net.forward(X)
    with pytest.raises(ValueError, match=r"y: got -1e\+39 in row 9, column 2, expected numbers that float32 holds"):
        fb.losses.mean_squared_error(output, FAR)
    with pytest.raises(ValueError, match=r"delta: got -1e\+39 in row 9, column 2, expected numbers that float32 holds"):
        net.backward(FAR)
    with pytest.raises(ValueError, match=r"x: got 1e\+39"):
        net.forward(HUGE)
    with pytest.raises(ValueError, match="got no forward pass before it"):
        net.backward(T)


def test_nan_and_infinity_in_x_still_pass_through_predictions():
    net = network()
    for bad in (np.nan, np.inf):
        x = X.copy()
        x[3] = bad
        for _ in range(2):
            assert np.isnan(net.predict(x)[3]).all()
            np.testing.assert_array_equal(net.predict(x)[4:], net.predict(X)[4:])
        assert np.isnan(engine.predict(training_of(net), x)[3]).all()


def test_a_longdouble_that_float64_cannot_hold_is_named():
    x = X.astype(np.longdouble)
    if x.dtype.itemsize == 8:
        pytest.skip("longdouble is float64 here")
    x[9, 2] = np.longdouble("1e400")
    for call in (network("float64").predict, lambda x: network("float64").fit(x, LABELS)):
        with pytest.raises(
            ValueError, match=r"x: got .*e\+400.* in row 9, column 2, expected numbers that float64 holds"
        ):
            call(x)


# -------------------------------------------------------------------------------------------------------- sample weights

WEIGHTED = {
    "fit": lambda net, w: net.fit(X, LABELS, sample_weight=w, batch_size=8),
    "evaluate": lambda net, w: net.evaluate(X, LABELS, sample_weight=w),
    "validation data": lambda net, w: net.fit(X, LABELS, validation_data=(X, LABELS, w)),
    "fit_many": lambda net, w: fb.fit_many([net], X, LABELS, sample_weight=w),
    "rows of fit_many": lambda net, w: fb.fit_many([net], X, LABELS, sample_weight=w, rows=[np.arange(24)]),
    "minibatches": lambda net, w: net.fit([(X, LABELS, w)]),
    "by hand": lambda net, w: fb.losses.softmax_cross_entropy(net.forward(X), LABELS, w),
    "train_step": lambda net, w: engine.train_step(training_of(net, "softmax_cross_entropy"), X, LABELS, w),
}


@pytest.mark.parametrize("call", WEIGHTED)
@pytest.mark.parametrize(("weight", "got"), [(1e-60, "got"), (1e39, r"got 1e\+39 in row 0")])
def test_sample_weights_that_the_network_cannot_hold_are_named(call, weight, got):
    net = network()
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match=rf"sample_weight: {got}.*, expected"):
        WEIGHTED[call](net, np.full(24, weight))
    assert net.parameters.tobytes() == before
    WEIGHTED[call](network("float64"), np.full(24, weight))


@pytest.mark.parametrize("call", WEIGHTED)
def test_small_weights_vanish_beside_others(call):
    """As importance weights do: float64 would not see them either."""
    weights = np.ones(24)
    weights[:8] = 1e-60
    net = network()
    WEIGHTED[call](net, weights)
    assert np.isfinite(net.parameters).all()


def test_weights_that_no_dtype_holds_are_refused_by_the_verbs():
    for weight in (np.inf, np.nan, -1.0):
        with pytest.raises(ValueError, match=rf"sample_weight: got {weight} in row 0, expected weights of at least 0"):
            WEIGHTED["train_step"](network(), np.full(24, weight))


# ------------------------------------------------------------------------------------------------------ hyper-parameters

NUMBERS = {
    "huber's delta": (fb.losses.Huber(1e-300), fb.SGD(0.1), "delta: got 1e-300, which is 0 in float32"),
    "a large delta": (fb.losses.Huber(1e39), fb.SGD(0.1), r"delta: got 1e\+39, which is inf in float32"),
    "quantile": (fb.losses.Quantile(1e-60), fb.SGD(0.1), "quantile: got 1e-60, which is 0 in float32"),
    "quantile near 1": (fb.losses.Quantile(1 - 1e-12), fb.SGD(0.1), "quantile: got 0.999999999999, which is 1 in"),
    "epsilon": (MSE, fb.Adam(epsilon=1e-46), "epsilon: got 1e-46, which is 0 in float32"),
    "rmsprop's epsilon": (MSE, fb.RMSprop(epsilon=1e-46), "epsilon: got 1e-46"),
    "adagrad's epsilon": (MSE, fb.Adagrad(epsilon=1e-46), "epsilon: got 1e-46"),
    "learning rate": (MSE, fb.SGD(1e-60), "learning_rate: got 1e-60, which is 0 in float32"),
    "a schedule": (MSE, fb.SGD(fb.schedules.Cosine(1e-60, 5)), "learning_rate: got 1e-60"),
    "momentum": (MSE, fb.SGD(0.1, momentum=1 - 1e-12), "momentum: got 0.999999999999, which is 1 in float32"),
    "weight decay": (MSE, fb.AdamW(weight_decay=1e-60), "weight_decay: got 1e-60"),
    "clip_value": (MSE, fb.SGD(0.1, clip_value=1e-60), "clip_value: got 1e-60"),
    "clip_norm": (MSE, fb.SGD(0.1, clip_norm=1e39), r"clip_norm: got 1e\+39, which is inf in float32"),
}  # fmt: skip
TRAINERS = {
    "fit": lambda net, loss, optimizer: net.fit(X, T, loss, optimizer),
    "fit_many": lambda net, loss, optimizer: fb.fit_many([net], X, T, loss=loss, optimizer=optimizer),
    "training": lambda net, loss, optimizer: net.training(loss, optimizer),
    "by hand": lambda net, loss, optimizer: [
        net.backward(fb.losses.as_loss(loss)(net.forward(X), T)[1]), net.step(optimizer),
    ],
}  # fmt: skip


@pytest.mark.parametrize("call", TRAINERS)
@pytest.mark.parametrize("case", NUMBERS)
def test_a_hyper_parameter_that_the_network_cannot_hold_is_named(case, call):
    loss, optimizer, message = NUMBERS[case]
    net = network()
    before, rule = net.parameters.tobytes(), net.state.rule
    with pytest.raises(ValueError, match=message):
        TRAINERS[call](net, loss, optimizer)
    assert (net.parameters.tobytes(), net.state.rule) == (before, rule)
    TRAINERS[call](network("float64"), loss, optimizer)


def test_a_learning_rate_of_zero_and_schedules_that_end_there_are_taken():
    for rate in (0, fb.schedules.Exponential(0.1, 1e-60), fb.schedules.Cosine(0.1, 2)):
        network().fit(X, LABELS, optimizer=fb.SGD(rate), epochs=3)


# ----------------------------------------------------------------------------------------------------------- parameters


def test_initial_values_and_assignments():
    weight = np.ones((5, 4))
    weight[2, 3] = 1e39
    layer = fb.Dense(4, 5, weight_init=weight)
    with pytest.raises(
        ValueError, match=r"weight_init: got 1e\+39 in row 2, column 3, expected numbers that float32 holds"
    ):
        fb.Sequential(layer)
    fb.Sequential(layer, dtype="float64")  # no network has it yet
    with pytest.raises(ValueError, match=r"bias_init: got 1e\+39 in row 1, expected numbers that float32 holds"):
        fb.Sequential(fb.Dense(4, 2, bias_init=np.array([1, 1e39])))
    net = network()
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match=r"weight: got 1e\+39 in row 2, column 3, expected numbers that float32 holds"):
        net.layers[0].weight = weight
    assert net.parameters.tobytes() == before


def test_a_standardizer_names_what_its_result_cannot_hold():
    scaled = Standardizer.fit(X)
    with pytest.raises(
        ValueError, match=r"x: got 1e\+39 in row 9, column 2, expected numbers that float32 holds when scaled"
    ):
        scaled.transform(HUGE)
    assert np.isfinite(scaled.transform(HUGE, np.float64)).all()
    assert np.isnan(scaled.transform(np.full((1, 4), np.nan))).all()
