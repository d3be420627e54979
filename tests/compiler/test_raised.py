"""Exceptions in functions of the user's: they end the call, as they are, with the network as it was before the step."""

import numpy as np
import pytest
from numba import njit, objmode

import fastbp as fb
from fastbp import engine

X = np.random.default_rng(0).standard_normal((48, 4)).astype(np.float32)
Y, TARGETS = np.arange(48) % 3, np.abs(X[:, :3])
FORWARD, BACKWARD, COST, DELTA = (
    1e3,
    2e3,
    3e3,
    4e3,
)  # a number so large, or larger, makes the function of that name raise


def spoiled(x, value):
    """x with one such number in the last minibatch of 16."""
    x = x.copy()
    x[40, 0] = value
    return x


@njit
def passes_on(x, parameters, out):
    if np.abs(x).max() == FORWARD:
        raise IndexError("forward", x.shape[0])
    out[:] = x * parameters[0]


@njit
def passes_back(delta, x, out, parameters, gradients, delta_x):
    if np.abs(x).max() == BACKWARD:
        raise KeyError("backward")
    gradients[0] = (delta * x).sum()
    delta_x[:] = delta * parameters[0]


@njit
def bent(z):
    if 0.7 * FORWARD < z < 1.3 * FORWARD:
        raise IndexError("forward")
    return 0.5 * z


@njit
def bent_derivative(z):
    if z > 0.7 * BACKWARD:
        raise KeyError("backward")
    return 0.5


@njit
def squares(output, y):
    if y[0] == COST:
        raise ArithmeticError("cost")
    return ((output - y) ** 2).sum()


@njit
def squares_delta(output, y, delta):
    if y[0] == DELTA:
        raise LookupError("delta")
    delta[:] = 2 * (output - y)


def with_layer():
    return fb.Sequential(fb.Custom(4, 4, passes_on, passes_back, [1.0]), fb.Dense(4, 3), fb.Dropout(0.5))


def with_activation():
    """Its first layer hands on x, but for what a step changes of it, so that the activation meets much the same numbers."""
    first = fb.Dense(4, 4, fb.activations.custom(bent, bent_derivative), weight_init=np.eye(4))
    return fb.Sequential(first, fb.Dense(4, 3), fb.Dropout(0.5))


def state(net):
    return [a.tobytes() for a in (net.parameters, net.state.moments, net.state.counters)]


NETWORKS = {"layer": with_layer, "activation": with_activation}
of_both = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
WAYS = {FORWARD: (IndexError, "forward"), BACKWARD: (KeyError, "backward")}
both_ways = pytest.mark.parametrize("value", WAYS)


@of_both
@both_ways
@pytest.mark.parametrize("verb", [engine.train_step, engine.serial.train_step], ids=["threads", "serial"])
def test_what_a_layer_or_an_activation_raises_ends_the_step_as_if_it_had_not_begun(make, value, verb, capfd):
    error, message = WAYS[value]

    @njit
    def step(training, x, y):
        return verb(training, x, y)

    net, twin = make(), make()
    training, its = (n.training("softmax_cross_entropy", fb.Adam(0.01), 16) for n in (net, twin))
    x = spoiled(X, value)[32:]
    step(training, X[:16], Y[:16])
    step(its, X[:16], Y[:16])
    before = state(net)
    for train in (verb, step):
        with pytest.raises(error, match=message):
            train(training, x, Y[32:])
        assert state(net) == before
    assert step(training, X[16:32], Y[16:32]) == step(its, X[16:32], Y[16:32])  # the same dropout too
    assert state(net) == state(twin)
    assert "ignored" not in capfd.readouterr().err


@of_both
def test_predictions_and_evaluations_raise_and_go_on_with_good_rows(make):
    net = make()
    bad, output = spoiled(X, FORWARD), net.predict(X)
    training = net.training("softmax_cross_entropy", "adam", 16)
    calls = [
        lambda: net.predict(bad), lambda: net.predict(bad[40:41]), lambda: net.evaluate(bad, Y), lambda: net.forward(bad),
        lambda: engine.predict(training, bad), lambda: engine.evaluate(training, bad, Y),
        lambda: engine.forward(training, bad[32:]),
    ]  # fmt: skip
    before = state(net)
    for call in calls * 2:  # the second time from where few rows take the short way
        with pytest.raises(IndexError, match="forward"):
            call()
        assert state(net) == before
        np.testing.assert_array_equal(net.predict(X), output)
        np.testing.assert_array_equal(net.predict(X[:1]), output[:1])


@of_both
def test_by_hand(make):
    net = make()
    with pytest.raises(IndexError, match="forward"):
        net.forward(spoiled(X, FORWARD))
    with pytest.raises(ValueError, match="got no forward pass before it"):
        net.backward(TARGETS)
    net.forward(spoiled(X, BACKWARD))
    with pytest.raises(KeyError, match="backward"):
        net.backward(TARGETS)
    training = net.training("softmax_cross_entropy", "adam", 48)
    engine.forward(training, spoiled(X, BACKWARD))
    with pytest.raises(KeyError, match="backward"):
        engine.backward(training, TARGETS)
    with pytest.raises(KeyError, match="backward"):
        fb.check_gradients(net, spoiled(X, BACKWARD), Y, "softmax_cross_entropy")


@of_both
@both_ways
def test_a_fit_keeps_the_steps_before_it(make, value):
    error, message = WAYS[value]
    bad = spoiled(X, value)
    twin = make()
    twin.fit(X[:32], Y[:32], batch_size=16, shuffle=False)
    minibatches = [(bad[i : i + 16], Y[i : i + 16]) for i in range(0, 48, 16)]
    for fit in (
        lambda net: net.fit(bad, Y, batch_size=16, shuffle=False),
        lambda net: net.fit(minibatches),
        lambda net: fb.fit_many([net, make()], bad, Y, batch_size=16, shuffle=False),
    ):
        net = make()
        with pytest.raises(error, match=message):
            fit(net)
        assert state(net) == state(twin)
        net.fit(X, Y)  # and goes on


@of_both
def test_validation_raises_too(make):
    bad = (spoiled(X, FORWARD), Y)
    with pytest.raises(IndexError, match="forward"):
        make().fit(X, Y, validation_data=bad)
    with pytest.raises(IndexError, match="forward"):
        fb.fit_many([make()], X, Y, validation_data=bad)


@pytest.mark.parametrize(("value", "error"), [(COST, ArithmeticError), (DELTA, LookupError)])
def test_what_a_cost_raises(value, error):
    loss, bad = fb.losses.custom(squares, squares_delta), spoiled(TARGETS, value)

    @njit
    def step(training, x, y):
        return engine.train_step(training, x, y)

    net = fb.Sequential(fb.Dense(4, 8, "relu"), fb.Dense(8, 3), seed=1)
    training = net.training(loss, fb.SGD(0.01), 16)
    before = state(net)
    for train in (engine.train_step, step):
        with pytest.raises(error):
            train(training, X[32:], bad[32:])
        assert state(net) == before
    with pytest.raises(error):
        loss(TARGETS, bad)
    with pytest.raises(error):
        net.fit(X, bad, loss=loss, batch_size=16)
    with pytest.raises(error):
        fb.fit_many([net], X, bad, loss=loss, batch_size=16)
    if value == COST:
        with pytest.raises(error):
            net.evaluate(X, bad, loss=loss)
        with pytest.raises(error):
            engine.evaluate(training, X, bad)
    assert np.isfinite(net.evaluate(X, TARGETS, loss=loss))


def test_the_estimators_raise():
    sklearn = pytest.importorskip("fastbp.sklearn")
    activation = fb.activations.custom(bent, never_derived)
    for settings in ({}, {"solver": "lbfgs"}, {"solver": "sgd", "early_stopping": True}):
        with pytest.raises(OverflowError, match="derivative"):
            sklearn.MLPRegressor(hidden_layer_sizes=8, activation=activation, max_iter=3, **settings).fit(X, X[:, 0])


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_predictions_of_sparse_rows_raise():
    sklearn, sparse = pytest.importorskip("fastbp.sklearn"), pytest.importorskip("scipy.sparse")
    x = np.ones((8, 4), np.float32)
    model = sklearn.MLPRegressor(
        hidden_layer_sizes=4, activation=fb.activations.custom(bent, bent_derivative), max_iter=2
    )
    model.fit(x, x[:, 0])
    model.network_.layers[0].weight[:], model.network_.layers[0].bias[:] = 0.0, FORWARD
    with pytest.raises(IndexError, match="forward"):
        model.predict(sparse.csr_matrix(x))


@njit
def never_derived(z):
    if np.float32(z) == z and z != 0:  # never so of the points where a derivative is compared
        raise OverflowError("derivative")
    return 0.5


def test_threads_that_raise_at_the_same_time_end_the_call_once():
    net = fb.Sequential(
        fb.Dense(256, 512, fb.activations.custom(bent, bent_derivative)), fb.Dense(512, 512), fb.Dense(512, 3), seed=0
    )
    net.layers[0].weight[:] = 0.0
    net.layers[0].bias[:] = FORWARD
    x = np.ones((256, 256), np.float32)
    for _ in range(20):
        with pytest.raises(IndexError, match="forward"):
            net.predict(x)
        with pytest.raises(IndexError, match="forward"):
            net.fit(x, np.zeros(256, int), batch_size=128)


def refuse_large(x):
    if x == FORWARD:
        raise RuntimeError("in Python", x)
    return x


@njit
def through_python(x, parameters, out):
    with objmode(largest="float64"):
        largest = refuse_large(float(x.max()))
    out[:] = np.minimum(x, largest)


def test_an_exception_of_object_mode():
    net = fb.Sequential(fb.Custom(4, 4, through_python, passes_back, [1.0]), fb.Dense(4, 3))
    training = net.training("softmax_cross_entropy", "adam", 48)
    for call in (
        lambda x: net.predict(x), lambda x: net.fit(x, Y), lambda x: engine.train_step(training, x, Y),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="in Python"):
            call(spoiled(X, FORWARD))
        call(X)


def test_a_user_may_catch_it_in_compiled_code():
    net = with_layer()
    training = net.training("softmax_cross_entropy", "adam", 16)

    @njit
    def failures(training, x, y):
        count = 0
        for i in range(0, len(x), 16):
            try:
                engine.train_step(training, x[i : i + 16], y[i : i + 16])
            except Exception:
                count += 1
        return count

    assert failures(training, spoiled(X, FORWARD), Y) == 1
    assert net.state.counters.tolist() == [2, 2]
