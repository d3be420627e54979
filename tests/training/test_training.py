"""fit: what it measures, what it promises to refuse, and the network after each of its endings."""

import copy
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from reference import numbers

import fastbp as fb
from fastbp import engine, schedules
from fastbp.training.run import Run

X = 4 * numbers((23, 5), np.dtype(np.float32), seed=5)
Y = np.arange(23) * 7 % 5 % 3
T = numbers((23, 3), np.dtype(np.float32), seed=9)
SGD = fb.SGD(0.1)


def network(dtype="float32", activation="tanh", outputs=3, dropout=0.25, seed=3):
    middle = [fb.Dropout(dropout)] if dropout else []
    return fb.Sequential(fb.Dense(5, 7, activation), *middle, fb.Dense(7, outputs), dtype=dtype, seed=seed)


def bits(net):
    return net.parameters.tobytes()


def with_entry(x, place, value):
    x = np.array(x, dtype=np.result_type(x, np.float32))
    x[place] = value
    return x


# ----------------------------------------------------------------------------------------------------- what it measures


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "adagrad", fb.SGD(0.3), fb.SGD(0.1, momentum=0.9)])
def test_the_cost_falls(optimizer):
    history = network(dropout=None).fit(X, Y, optimizer=optimizer, batch_size=8, epochs=30)
    assert history.cost[-1] < 0.95 * history.cost[0]


def test_a_network_learns_what_can_be_learned():
    labels = (X[:, 0] * X[:, 1] > 0).astype(int)  # no line divides them
    net = fb.Sequential(fb.Dense(5, 32, "relu"), fb.Dense(32, 2))
    history = net.fit(X, labels, optimizer=fb.Adam(0.02), batch_size=8, epochs=60, metrics="accuracy")
    assert history.metrics["accuracy"][-1] == 1
    assert (net.predict(X).argmax(axis=1) == labels).all()


def test_the_history_has_an_entry_an_epoch():
    net = network()
    history = net.fit(X, Y, batch_size=8, epochs=4, validation_data=(X[:5], Y[:5]), metrics=("accuracy",))
    assert history is net.history
    series = (
        history.cost,
        history.validation_cost,
        history.metrics["accuracy"],
        history.learning_rate,
        history.seconds,
    )
    assert [len(s) for s in series] == [4] * 5
    assert history.learning_rate == [1e-3] * 4
    assert history.steps == 4 * 3
    assert min(history.seconds) > 0
    assert all(isinstance(value, float) for s in series for value in s)
    assert net.fit(X, Y).validation_cost == []
    assert net.history is not history


def by_definition(net, x, y, weights, sizes):
    """sum(w_k c_k) / sum(w_k) with each sample's cost from before the update of its minibatch, as fit goes along."""
    total, start = 0.0, 0
    for size in sizes:
        rows = slice(start, start + size)
        cost, delta = fb.losses.softmax_cross_entropy(net.forward(x[rows]), y[rows], weights[rows])
        total, start = total + cost * weights[rows].sum(), start + size
        net.backward(delta)
        net.step(SGD)
    return total / weights.sum()


@pytest.mark.parametrize("weights", [None, np.linspace(0, 2, 23)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_cost_is_the_mean_over_samples_weighted_if_wanted(weights, dtype):
    net, other = network(dtype), network(dtype)
    history = net.fit(X, Y, optimizer=SGD, batch_size=8, shuffle=False, sample_weight=weights)
    expected = by_definition(other, X, Y, np.ones(23) if weights is None else weights, (8, 8, 7))
    assert history.cost[0] == pytest.approx(expected, rel=1e-6 if dtype == "float32" else 1e-13)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=1e-5)


@pytest.mark.parametrize(("loss", "y"), [("mean_squared_error", T), ("softmax_cross_entropy", np.eye(3)[Y])])
def test_weights_that_are_zero_for_a_whole_minibatch_leave_it_out(loss, y):
    weights = np.repeat([0.0, 1.0], [8, 15])
    net, other = network(dropout=None), network(dropout=None)
    cost = net.fit(X, y, loss, SGD, batch_size=8, shuffle=False, sample_weight=weights).cost
    assert cost == pytest.approx(other.fit(X[8:], y[8:], loss, SGD, batch_size=8, shuffle=False).cost)
    assert bits(net) == bits(other)


def test_a_weight_of_two_is_as_a_sample_twice():
    twice = np.repeat(np.arange(23), np.where(np.arange(23) < 10, 2, 1))
    weights = np.where(np.arange(23) < 10, 2.0, 1.0)
    net, other = network("float64", dropout=None), network("float64", dropout=None)
    cost = net.fit(X, Y, optimizer=SGD, batch_size=99, sample_weight=weights).cost
    assert cost == pytest.approx(other.fit(X[twice], Y[twice], optimizer=SGD, batch_size=99).cost)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=1e-12)


def test_the_cost_does_not_depend_on_how_epochs_are_cut_into_slices(monkeypatch):
    net, other = network("float64"), network("float64")  # sums of float32 costs would be exact
    cost, call = net.fit(X, Y, batch_size=1, epochs=6).cost, Run.call

    def three_steps_at_once(self, block, count):
        call(self, block, count)
        self.steps_at_once = 3

    monkeypatch.setattr(Run, "call", three_steps_at_once)
    assert cost == other.fit(X, Y, batch_size=1, epochs=6).cost


def test_validation_costs_and_metrics_are_those_after_the_epoch():
    net, seen = network(), []
    xv, yv = X[:9], Y[:9]

    def note(net, history):
        seen.append((net.evaluate(xv, yv), np.mean(net.predict(xv).argmax(axis=1) == yv)))

    history = net.fit(X, Y, epochs=3, validation_data=(xv, yv), metrics=["accuracy"], callbacks=note)
    assert list(zip(history.validation_cost, history.metrics["accuracy"], strict=True)) == seen


def test_validation_leaves_training_alone():
    net, other = network(), network()
    net.fit(X, Y, batch_size=8, epochs=3, validation_data=(X[:8], Y[:8]), metrics=["accuracy"])
    other.fit(X, Y, batch_size=8, epochs=3)
    assert bits(net) == bits(other)


def test_metrics_by_name_and_functions_of_y_and_output():
    def worst(y, output):
        return np.abs(output - y).max()

    net = network()
    history = net.fit(X, T, "mean_squared_error", metrics=["mean_absolute_error", worst])
    error = np.abs(net.predict(X) - T)
    assert history.metrics["worst"] == [pytest.approx(error.max())]
    assert history.metrics["mean_absolute_error"] == [pytest.approx(error.mean())]
    assert list(net.fit(X, T, "mean_squared_error", metrics=worst).metrics) == ["worst"]


def test_accuracy_of_labels_of_one_hot_rows_and_of_a_single_output():
    net = network()
    as_labels = network().fit(X, Y, metrics="accuracy").metrics
    assert net.fit(X, np.eye(3)[Y], metrics="accuracy").metrics == as_labels
    single = network(outputs=1)
    metrics = single.fit(X, (Y > 0).astype(float), "binary_cross_entropy", metrics="accuracy").metrics
    assert metrics["accuracy"] == [np.mean((single.predict(X)[:, 0] > 0) == (Y > 0))]


# ----------------------------------------------------------------------------------------------- callbacks and schedule


class Recorder(fb.Callback):
    def __init__(self, name, seen, stop_after=None):
        self.name, self.seen, self.stop_after = name, seen, stop_after

    def on_fit_begin(self, net, history):
        self.seen.append(f"{self.name} begins")

    def on_epoch_end(self, net, history):
        self.seen.append(f"{self.name} {len(history.cost)}")
        return len(history.cost) == self.stop_after

    def on_fit_end(self, net, history):
        self.seen.append(f"{self.name} ends")


def test_callbacks_run_in_order_and_all_of_them_when_one_stops():
    seen = []
    network().fit(X, Y, epochs=5, callbacks=[Recorder("a", seen, stop_after=2), Recorder("b", seen)])
    assert seen == ["a begins", "b begins", "a 1", "b 1", "a 2", "b 2", "a ends", "b ends"]


def test_early_stopping_restores_the_best_parameters():
    net, best = network(dropout=None), {}

    def keep(net, history):
        if history.validation_cost[-1] == min(history.validation_cost):
            best["parameters"] = net.parameters.copy()

    stopping = fb.EarlyStopping(3)
    history = net.fit(
        X, Y, optimizer=fb.Adam(0.5), epochs=200, validation_data=(X, (Y + 1) % 3), callbacks=[keep, stopping]
    )
    assert len(history.cost) == stopping.best_epoch + 3 < 200
    assert history.validation_cost[stopping.best_epoch - 1] == min(history.validation_cost) == stopping.best_cost
    assert bits(net) == best["parameters"].tobytes()
    assert net.evaluate(X, (Y + 1) % 3) == stopping.best_cost


def test_what_a_callback_evaluates_leaves_training_alone():
    """Also with another loss, on as many rows as a minibatch has."""
    net, other = network(), network()

    def look(net, history):
        net.evaluate(X, T, "mean_absolute_error")
        net.predict(X)

    net.fit(X, T, "mean_squared_error", SGD, batch_size=23, epochs=3, callbacks=look)
    other.fit(X, T, "mean_squared_error", SGD, batch_size=23, epochs=3)
    assert bits(net) == bits(other)


def test_the_rate_of_each_step_is_that_of_the_schedule():
    schedule = schedules.WarmUp(1, schedules.Cosine(0.3, epochs=2, final=0.01))
    net, other = network(), network()
    history = net.fit(X, Y, optimizer=fb.SGD(schedule, momentum=0.5), batch_size=8, epochs=4, shuffle=False)
    training = other.training("softmax_cross_entropy", fb.SGD(1.0, momentum=0.5), 8)
    for step in range(12):
        training.learning_rate[0] = schedule(np.array([step / 3]))[0]
        rows = slice(8 * (step % 3), 8 * (step % 3) + 8)
        engine.train_step(training, X[rows], Y[rows])
    assert bits(net) == bits(other)
    np.testing.assert_allclose(history.learning_rate, schedule(np.arange(2, 12, 3) / 3), rtol=1e-12)


def test_a_schedule_begins_anew_with_each_fit():
    net = network()
    optimizer = fb.SGD(schedules.Exponential(0.1, 0.5))
    first, second = (net.fit(X, Y, optimizer=optimizer, epochs=2).learning_rate for _ in range(2))
    assert first == second == [0.1, 0.05]


def test_a_batch_larger_than_the_data_is_one_minibatch_of_all_rows():
    net, other = network(), network()
    assert net.fit(X, Y, batch_size=1000, shuffle=False).steps == 1
    other.fit(X, Y, batch_size=23, shuffle=False)
    assert bits(net) == bits(other)


# ----------------------------------------------------------------------------------------------- the state between fits


@pytest.mark.parametrize("optimizer", [fb.SGD(0.1), fb.SGD(0.1, momentum=0.9), fb.Adam(0.01)], ids=repr)
def test_a_second_fit_goes_on_as_one_longer_fit_would(optimizer):
    net, other = network(), network()
    for epochs in (2, 1, 2):
        net.fit(X, Y, optimizer=optimizer, batch_size=8, epochs=epochs)
    other.fit(X, Y, optimizer=optimizer, batch_size=8, epochs=5)
    assert bits(net) == bits(other)


def test_another_kind_of_optimizer_begins_with_new_moments():
    net = network(dropout=None)
    net.fit(X, Y, optimizer=fb.Adam(0.01), batch_size=8, shuffle=False)
    net.fit(X, Y, optimizer=SGD, batch_size=8, shuffle=False)
    other = network(dropout=None)
    other.parameters[:] = net.parameters
    for twin in (net, other):
        twin.fit(X, Y, optimizer=fb.Adam(0.01), batch_size=8, shuffle=False)
    assert bits(net) == bits(other)


def test_shuffling_visits_every_row_once_in_another_order_each_epoch():
    rows = np.arange(23)
    net = fb.Sequential(fb.Dense(1, 1, bias=False, weight_init=np.zeros((1, 1))), dtype="float64")
    weights = []

    class Watch(fb.Callback):
        def on_epoch_end(self, net, history):
            weights.append(float(net.parameters[0]))

    # the gradient of each step is -2 x y, whatever w is (0 at the start, too small to matter later)
    net.fit(
        rows[:, None] * 1e-9, np.ones(23), "mean_squared_error", fb.SGD(1.0), batch_size=1, epochs=3, callbacks=Watch()
    )
    np.testing.assert_allclose(np.diff([0, *weights]), 2e-9 * rows.sum(), rtol=1e-6)
    one, same, other_seed, in_order = network(), network(), network(seed=4), network()
    other_seed.parameters[:] = one.parameters
    for net, shuffle in ((one, True), (same, True), (other_seed, True), (in_order, False)):
        net.fit(X, Y, optimizer=SGD, batch_size=4, shuffle=shuffle)
    assert bits(one) == bits(same)
    assert len({bits(net) for net in (one, other_seed, in_order)}) == 3


# ------------------------------------------------------------------------------------------------------------ bad input

BAD = {
    "x is a vector": ({"x": X[:, 0]}, ValueError, "x: got shape (23,), expected two dimensions"),
    "x has other columns": ({"x": X[:, :4]}, ValueError, "x: got shape (23, 4), expected 5 columns"),
    "x is empty": ({"x": X[:0], "y": Y[:0]}, ValueError, "x: got shape (0, 5), expected at least one row"),
    "x is complex": ({"x": X.astype(complex)}, TypeError, "x: got ndarray of dtype complex128, expected"),
    "x holds strings": ({"x": X.astype(str)}, TypeError, "x: got ndarray of dtype <U"),
    "x holds objects": ({"x": X.astype(object)}, TypeError, "x: got ndarray of dtype object"),
    "x is None": ({"x": None}, TypeError, "x: got None, expected"),
    "x is ragged": ({"x": [[1.0] * 5, [1.0]]}, ValueError, "x: got what NumPy makes no array of"),
    "y is shorter": ({"y": Y[:-1]}, ValueError, "y: got 22 rows, expected 23, as many as x has"),
    "y is None": ({"y": None}, TypeError, "y: got None, expected"),
    "y is a number": ({"y": 1}, (TypeError, ValueError), "y: got"),
    "a label too large": ({"y": Y + 1}, ValueError, "y: got 3 in row 1, expected integer labels from 0 to 2"),
    "a label below 0": ({"y": Y - 1}, ValueError, "y: got -1 in row 0, expected integer labels from 0 to 2"),
    "a label in between": ({"y": Y + 0.5}, ValueError, "y: got 0.5 in row 0, expected integer labels from 0 to 2"),
    "a label of NaN": ({"y": with_entry(Y, 4, np.nan)}, ValueError, "y: got nan in row 4, expected integer labels"),
    "labels of text": ({"y": Y.astype(str)}, TypeError, "y: got ndarray of dtype <U"),
    "targets of other width": ({"y": T[:, :2]}, ValueError, "y: got shape (23, 2), expected (23, 3)"),
    "NaN in x": ({"x": with_entry(X, (4, 2), np.nan)}, ValueError, "x: got nan in row 4, column 2, expected finite"),
    "infinity in x": ({"x": with_entry(X, (4, 2), np.inf)}, ValueError, "x: got inf in row 4, column 2"),
    "NaN in the last row": ({"x": with_entry(X, (22, 0), np.nan)}, ValueError, "x: got nan in row 22, column 0"),
    "NaN in y": (
        {"y": with_entry(T, (5, 1), np.nan), "loss": "mean_squared_error"}, ValueError, "y: got nan in row 5, column 1",
    ),
    "infinity in y": (
        {"y": with_entry(T, (5, 1), -np.inf), "loss": "mean_squared_error"}, ValueError, "y: got -inf in row 5, col",
    ),
    "NaN in a weight": ({"sample_weight": with_entry(np.ones(23), 3, np.nan)}, ValueError, "sample_weight: got nan in"),
    "a weight below 0": ({"sample_weight": with_entry(np.ones(23), 3, -1)}, ValueError, "sample_weight: got -1.0 in"),
    "weights all 0": ({"sample_weight": np.zeros(23)}, ValueError, "sample_weight: got 0 in every row"),
    "too few weights": ({"sample_weight": np.ones(22)}, ValueError, "sample_weight: got 22 rows, expected 23"),
    "weights as a column": ({"sample_weight": np.ones((23, 1))}, ValueError, "sample_weight: got shape (23, 1)"),
    "an unknown loss": ({"loss": "mse"}, ValueError, "loss: got 'mse', expected one of softmax_cross_entropy, "),
    "an unknown optimizer": ({"optimizer": "adm"}, ValueError, "optimizer: got 'adm', expected one of sgd, adam, "),
    "an optimizer's class": ({"optimizer": fb.Adam}, TypeError, "optimizer: got <class"),
    "an unknown metric": ({"metrics": ["acc"]}, ValueError, "metrics: got 'acc', expected one of accuracy, "),
    "metrics is a number": ({"metrics": 5}, (TypeError, ValueError), "metrics: got 5"),
    "metrics is None": ({"metrics": None}, (TypeError, ValueError), "metrics: got None"),
    "a batch size of 0": ({"batch_size": 0}, ValueError, "batch_size: got 0, expected an integer >= 1"),
    "half a batch": ({"batch_size": 0.5}, TypeError, "batch_size: got 0.5, expected an integer >= 1"),
    "no epochs": ({"epochs": 0}, ValueError, "epochs: got 0, expected an integer >= 1"),
    "epochs of text": ({"epochs": "3"}, TypeError, "epochs: got '3', expected an integer >= 1"),
    "a callback's class": ({"callbacks": [fb.EarlyStopping]}, TypeError, "callbacks: got the class EarlyStopping"),
    "callbacks is a number": ({"callbacks": 5}, TypeError, "callbacks: got 5"),
    "validation data is x alone": ({"validation_data": X}, TypeError, "validation_data: got ndarray, expected a pair"),
    "validation x has other columns": ({"validation_data": (X[:, :4], Y)}, ValueError, "validation_x: got shape (23"),
    "a validation label too large": ({"validation_data": (X, Y + 1)}, ValueError, "validation_y: got 3 in row 1"),
    "validation y is shorter": ({"validation_data": (X, Y[:-1])}, ValueError, "validation_y: got 22 rows, expected 23"),
    "NaN in validation x": (
        {"validation_data": (with_entry(X, (4, 2), np.nan), Y)}, ValueError, "validation_x: got nan in row 4, column 2",
    ),
}  # fmt: skip
GOOD = {"x": X, "y": Y, "optimizer": fb.Adam(0.01), "batch_size": 8, "epochs": 2}


def after_refusal(error, message, arguments, first=GOOD):
    """A network that refused a bad fit, and its twin that was not asked; both trained by `first` before."""
    net, twin = network(), network()
    for one in (net, twin):
        one.fit(**first)
    history = net.history
    with pytest.raises(error) as caught:
        net.fit(**{**GOOD, **arguments})
    assert str(caught.value).startswith(message)
    assert bits(net) == bits(twin)
    return net, twin, history


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_and_the_network_is_as_before(name):
    """Parameters, moments, counts of steps, masks and shuffles: the next good fit gives the bits that it would give."""
    arguments, error, message = BAD[name]
    net, twin, _ = after_refusal(error, message, arguments)
    for one in (net, twin):
        one.fit(**GOOD)
    assert bits(net) == bits(twin)


@pytest.mark.parametrize("name", ["NaN in x", "infinity in x", "a label too large", "NaN in validation x"])
def test_a_refused_fit_by_another_optimizer_keeps_the_moments(name):
    arguments, error, message = BAD[name]
    net, twin, _ = after_refusal(error, message, {**arguments, "optimizer": fb.SGD(0.1, momentum=0.9)})
    for one in (net, twin):
        one.fit(**GOOD)
    assert bits(net) == bits(twin)


@pytest.mark.parametrize("activation", fb.activations.names)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_activation_hides_data_that_are_not_finite(activation, value):
    """In a fit of a single step there is no next cost to tell; the parameters must not become NaN in silence."""
    net = network(activation=activation, dropout=None)
    before = bits(net)
    x = with_entry(X, (4, 2), value)
    with pytest.raises(ValueError, match=r"x: got -?(nan|inf) in row 4, column 2, expected finite numbers"):
        net.fit(x, Y, optimizer=SGD, batch_size=23)
    assert bits(net) == before


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_parameters_that_are_not_finite_are_refused(activation):
    net = network(activation=activation)
    net.parameters[3] = np.nan
    with pytest.raises(ValueError, match="parameters: got NaN or infinity"):
        net.fit(**GOOD)


def test_a_last_layer_with_sigmoid_and_a_cost_on_logits_is_refused_with_advice():
    net = fb.Sequential(fb.Dense(5, 3, "sigmoid"))
    for call in (net.fit, net.evaluate):
        with pytest.raises(ValueError, match=r"loss: got softmax_cross_entropy after .* sigmoid.*identity"):
            call(X, Y)
    with pytest.raises(ValueError, match="expected logits"):
        net.training("binary_cross_entropy", SGD)


def test_what_a_callback_raises_passes_through_and_training_so_far_stays():
    net, twin = network(), network()

    def fail(net, history):
        raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        net.fit(**GOOD, callbacks=fail)
    twin.fit(**{**GOOD, "epochs": 1})
    assert bits(net) == bits(twin)
    for one in (net, twin):
        one.fit(**GOOD)
    assert bits(net) == bits(twin)


# ---------------------------------------------------------------------------------------------- a cost that is not fini


def test_a_cost_that_is_not_finite_names_epoch_and_step_and_the_last_finite_epoch_stays():
    net, twin = network(dropout=None), network(dropout=None)
    schedule = schedules.Step(0.1, every=2, factor=1e200)  # from the third epoch on
    with pytest.raises(FloatingPointError, match=r"cost: got NaN or infinity in epoch 3, step 2, from finite data"):
        net.fit(X, Y, optimizer=fb.SGD(schedule), batch_size=8, epochs=5)
    twin.fit(X, Y, optimizer=fb.SGD(0.1), batch_size=8, epochs=2)
    assert bits(net) == bits(twin)
    assert len(net.history.cost) == 2
    assert np.isfinite(net.fit(X, Y, optimizer=SGD).cost[0])


@pytest.mark.parametrize("epochs", [1, 3])
def test_parameters_that_overflow_in_the_last_step_of_an_epoch_do_not_count_as_finite(epochs):
    net = network(dropout=None)
    with pytest.raises(FloatingPointError):
        net.fit(X, Y, optimizer=fb.SGD(1e300), batch_size=23, epochs=epochs)
    assert np.isfinite(net.parameters).all()


# --------------------------------------------------------------------------------------------------------- Ctrl-C, fork


def test_ctrl_c_between_epochs_leaves_a_usable_network_and_its_history():
    net, twin = network(), network()

    def interrupt(net, history):
        if len(history.cost) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(**{**GOOD, "epochs": 9}, callbacks=interrupt)
    assert len(net.history.cost) == 3
    for epochs in (2, 1):
        twin.fit(**{**GOOD, "epochs": epochs})
    assert bits(net) == bits(twin)
    for one in (net, twin):
        one.fit(**GOOD)
    assert bits(net) == bits(twin)


INTERRUPTED = """
    import os, signal, threading, time
    import numpy as np, fastbp as fb
    from fastbp.callbacks import Callback

    class Interrupt(Callback):
        def on_epoch_end(self, net, history):
            if len(history.cost) == 2:  # amid the third epoch, which takes seconds
                threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()

    rng = np.random.default_rng(0)
    x, y = rng.random((60000, 300), np.float32), rng.integers(0, 10, 60000)
    net = fb.Sequential(fb.Dense(300, 600, "relu"), fb.Dense(600, 10))
    net.fit(x[:64], y[:64])
    try:
        net.fit(x, y, epochs=1000, callbacks=Interrupt())
    except KeyboardInterrupt:
        print("interrupted", len(net.history.cost) >= 2, np.isfinite(net.parameters).all(), net.history.steps > 2)
    print(np.isfinite(net.fit(x[:64], y[:64]).cost[0]), net.predict(x[:3]).shape)
"""


def test_a_real_ctrl_c_stops_fit_and_leaves_a_usable_network(run_python):
    assert run_python(INTERRUPTED, cache=None).stdout == "interrupted True True True\nTrue (3, 10)\n"


FORKED = """
    import os, sys
    import numpy as np, fastbp as fb

    def train(net):
        x = (np.arange(256 * 300) % 9973 / 9973).astype(np.float32).reshape(256, 300)
        net.fit(x, np.arange(256) % 10, batch_size=128, epochs=2)
        return net.parameters.tobytes()

    def network():
        return fb.Sequential(fb.Dense(300, 256, "relu"), fb.Dense(256, 10))

    parent = network()
    train(parent)
    child = os.fork()
    if child == 0:
        expected = train(network())
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if train(network()) == expected and train(parent) else 3)
        ok = os.waitpid(grandchild, 0)[1] == 0 and train(network()) == expected
        os._exit(0 if ok else 4)
    again = train(network())
    print(os.waitpid(child, 0)[1], again == train(network()))
"""


@pytest.mark.skipif("not hasattr(__import__('os'), 'fork')")
def test_a_parent_that_trained_forks_a_child_that_trains_and_both_finish(run_python):
    assert run_python(FORKED, cache=None).stdout == "0 True\n"


def test_fit_is_silent_without_progress(capfd):
    network().fit(**GOOD)
    assert capfd.readouterr() == ("", "")


def test_progress_shows_the_epochs_on_a_terminal_only(capfd):
    network().fit(**GOOD, progress=True)
    assert capfd.readouterr() == ("", "")


# ------------------------------------------------------------------------------------------ the same bits as by hand

OPTIMIZERS = st.sampled_from(
    [
        lambda w: fb.SGD(0.1, weight_decay=w),
        lambda w: fb.SGD(0.1, weight_decay=w, momentum=0.9),
        lambda w: fb.SGD(0.1, weight_decay=w, momentum=0.8, nesterov=True, clip_value=0.01),
        lambda w: fb.SGD(0.1, weight_decay=w, clip_norm=0.1),
        lambda w: fb.Adam(0.01, weight_decay=w),
        lambda w: fb.Adam(0.01, weight_decay=w, clip_value=0.02),
        lambda w: fb.AdamW(0.01, weight_decay=w),
        lambda w: fb.RMSprop(0.01, weight_decay=w),
        lambda w: fb.Adagrad(0.05, weight_decay=w),
    ]
)


@st.composite
def layers_to_train(draw):
    """One to three dense layers of any width, with or without biases, dropout and operations of the user's between them."""
    sizes = draw(st.lists(st.integers(1, 70), min_size=2, max_size=4))
    made = []
    for n, m in itertools.pairwise(sizes):
        if made and draw(st.booleans()):
            made.append((draw(st.sampled_from(["dropout", "scale", "double"])), n))
        activation = draw(st.sampled_from(["identity", "relu", "tanh", "gelu", "leaky_relu"]))
        made.append(("dense", n, m, activation, draw(st.booleans())))
    return made


def built(described, dtype):
    made = []
    for kind, *rest in described:
        if kind == "dense":
            n, m, activation, bias = rest
            made.append(fb.Dense(n, m, activation, bias=bias))
        else:
            made.append(fb.Dropout(0.3) if kind == "dropout" else CUSTOM[kind](*rest))
    return fb.Sequential(*made, dtype=dtype, seed=5)


@njit
def double(x, parameters, out):
    out[:] = 2 * x


@njit
def double_delta(delta, x, out, parameters, gradients, delta_x):
    delta_x[:] = 2 * delta


@njit
def scale(x, parameters, out):
    out[:] = parameters[0] * x


@njit
def scale_delta(delta, x, out, parameters, gradients, delta_x):
    delta_x[:] = parameters[0] * delta
    gradients[0] = (delta * x).sum()


DOUBLE, SCALE = fb.Custom(1, 1, double, double_delta), fb.Custom(1, 1, scale, scale_delta, [0.5])


def resized(layer, n):
    """The user's operation for n columns, without compiling it again."""
    copied = copy.copy(layer)
    vars(copied).update(inputs=n, outputs=n)
    return copied


CUSTOM = {"double": lambda n: resized(DOUBLE, n), "scale": lambda n: resized(SCALE, n)}


@settings(max_examples=60)
@given(
    described=layers_to_train(), batch=st.integers(1, 40), rows=st.integers(1, 90), optimizer=OPTIMIZERS,
    weight_decay=st.sampled_from([0.0, 0.01, 0.1]), dtype=st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_fit_gives_the_bits_of_forward_backward_and_step(described, batch, rows, optimizer, weight_decay, dtype):
    """Where each parameter is updated as soon as its gradient is there, and where gradients are stored first."""
    fitted, twin = built(described, dtype), built(described, dtype)
    x, y = (
        numbers((rows, fitted.inputs), np.dtype(dtype), seed=6),
        numbers((rows, fitted.outputs), np.dtype(dtype), seed=7),
    )
    optimizer = optimizer(weight_decay)
    fitted.fit(x, y, "mean_squared_error", optimizer, batch_size=batch, epochs=2, shuffle=False)
    for _ in range(2):
        for k in range(0, rows, min(batch, rows)):
            output = twin.forward(x[k : k + batch])
            twin.backward(fb.losses.mean_squared_error(output, y[k : k + batch])[1])
            twin.step(optimizer)
    assert bits(fitted) == bits(twin)
    assert fitted.state.moments.tobytes() == twin.state.moments.tobytes()
    assert fitted.state.counters.tolist() == twin.state.counters.tolist()


# ------------------------------------------------------------------------------------- what a refused second fit leaves


def state_of(net):
    return (
        bits(net),
        net.state.moments.tobytes(),
        net.state.counters.tobytes(),
        net.state.rule,
        net.epochs_shuffled,
        net.history,
    )


def after_a_fit(rows):
    """A network after a fit; data of so many rows, few (the moments are larger) or many."""
    x, y = np.tile(X, (rows // 23 + 1, 1))[:rows], np.tile(Y, rows // 23 + 1)[:rows]
    net = network(dropout=None)
    net.fit(x, y, optimizer=fb.Adam(0.01), batch_size=8)
    return net, x, y


@pytest.mark.parametrize("rows", [23, 1000])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", [(0, 0), (20, 4)])
@pytest.mark.parametrize("optimizer", [fb.Adam(0.01), fb.SGD(0.1), fb.SGD(0.1, momentum=0.9)], ids=repr)
def test_a_refused_second_fit_leaves_parameters_and_moments(rows, value, place, optimizer):
    net, x, y = after_a_fit(rows)
    assert (net.state.moments.nbytes <= x.nbytes) == (rows == 1000), "both ways are meant to be tested"
    before = state_of(net)
    with pytest.raises(ValueError, match=rf"x: got {value} in row {place[0]}, column {place[1]}"):
        net.fit(with_entry(x, place, value), y, optimizer=optimizer, batch_size=2, epochs=2, shuffle=False)
    assert state_of(net) == before


@pytest.mark.parametrize("rows", [23, 1000])
def test_divergence_in_the_first_epoch_of_a_second_fit_keeps_the_parameters(rows):
    """The moments as well where they were copied; where they were not, the optimizer begins anew."""
    net, x, y = after_a_fit(rows)
    before = state_of(net)
    with pytest.raises(FloatingPointError, match="in epoch 1"):
        net.fit(x, y, optimizer=fb.Adam(1e300), batch_size=2, epochs=3)
    if rows == 1000:
        assert state_of(net) == before
    else:
        assert bits(net) == before[0]
        assert not net.state.moments.any()
        assert net.state.counters[0] == 0
    assert np.isfinite(net.fit(x, y, optimizer=fb.Adam(0.01), batch_size=8).cost).all()


@pytest.mark.parametrize("rows", [23, 1000])
def test_a_training_still_shares_its_arrays_with_the_network_after_a_refused_fit(rows):
    net, x, y = after_a_fit(rows)
    shared = net.training("softmax_cross_entropy", fb.Adam(0.01), 8)
    before = shared.moments.copy()
    with pytest.raises(ValueError, match="x: got nan"):
        net.fit(with_entry(x, (20, 1), np.nan), y, optimizer=fb.Adam(0.01), batch_size=2, shuffle=False)
    assert shared.moments.tobytes() == before.tobytes()
    engine.train_step(shared, x[:8], y[:8])
    assert np.shares_memory(shared.moments, net.state.moments)


AFTER_A_REFUSAL = """
    import numpy as np, fastbp as fb
    x, y = np.ones((800, 5), np.float32), np.arange(800) % 3
    net = fb.Sequential(fb.Dense(5, 7, "tanh"), fb.Dense(7, 3))
    net.training("softmax_cross_entropy", fb.Adam(0.01), 8)  # moments for Adam, and no step yet
    bad = x.copy()
    bad[700, 2] = np.nan
    try:
        net.fit(bad, y, optimizer=fb.SGD(0.01), batch_size=2)
    except ValueError as error:
        print(error)
    net.fit(x, y, optimizer=fb.Adam(0.01))
    print(net.state.moments.shape)
"""


def test_a_fit_refused_before_any_step_leaves_the_moments_of_another_optimizer(run_python):
    """There were none, and the next step wrote to the address 0."""
    assert run_python(AFTER_A_REFUSAL, cache=None).stdout.split("\n")[1] == "(2, 66)"
