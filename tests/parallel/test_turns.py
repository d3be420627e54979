"""One thread at a time trains a network: others are refused at once, and what only reads may run beside it."""

import contextlib
import copy
import os
import threading

import numpy as np
import pytest

import fastbp as fb
from fastbp import engine
from fastbp.compiler import live
from fastbp.engine.table import NETWORK
from fastbp.parallel.turns import ProcessLock, Turn

X = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def network():
    return fb.Sequential(fb.Dense(4, 8, "relu"), fb.Dense(8, 2))


def fitted(net, **settings):
    net.fit(X, Y, optimizer="adam", epochs=3, **settings)
    return net


class Calling(fb.Callback):
    """Calls a function after the first epoch."""

    def __init__(self, function):
        self.function = function

    def on_epoch_end(self, net, history):
        if len(history.cost) == 1:
            self.function(net)


def beside(train, do):
    """What `do` returns while a thread is in the midst of `train(callback)`."""
    begun, done = threading.Event(), threading.Event()
    callback = Calling(lambda net: (begun.set(), done.wait(30)))
    thread = threading.Thread(target=train, args=(callback,))
    thread.start()
    try:
        assert begun.wait(60)
        return do()
    finally:
        done.set()
        thread.join()


def state_of(net):
    return (
        [a.tobytes() for a in (net.parameters, net.state.moments, net.state.counters)],
        net.state.rule,
        net.epochs_shuffled,
        net.history,
    )


TRAINING = {
    "fit": lambda net: net.fit(X, Y, optimizer="sgd"),
    "fit on minibatches": lambda net: net.fit([(X, Y)], optimizer="sgd"),
    "fit_many": lambda net: fb.fit_many([network(), net], X, Y, optimizer="sgd"),
    "forward": lambda net: net.forward(X),
    "backward": lambda net: net.backward(np.zeros((64, 2))),
    "step": lambda net: net.step("sgd"),
    "training": lambda net: net.training("softmax_cross_entropy", "sgd"),
    "check_gradients": lambda net: fb.check_gradients(net, X, Y, "softmax_cross_entropy"),
}
READING = {
    "predict": lambda net: net.predict(X),
    "predict of one row": lambda net: [net.predict(X[:1]) for _ in range(2)],
    "evaluate": lambda net: net.evaluate(X, Y),
    "copy": copy.deepcopy,
    "a copy's fit": lambda net: fitted(copy.deepcopy(net)),
    "explain": lambda net: net.explain(4),
}


@pytest.mark.parametrize("name", TRAINING)
def test_what_trains_is_refused_while_another_thread_does_and_changes_nothing(name):
    net = network()
    net.forward(X)

    def refused():
        before = state_of(net)
        with pytest.raises(
            RuntimeError, match=f"network: got a call of {name.split()[0]} while another thread is in fit"
        ):
            TRAINING[name](net)
        assert state_of(net) == before

    beside(lambda callback: fitted(net, callbacks=[callback]), refused)
    assert net.parameters.tobytes() == fitted(network()).parameters.tobytes()
    TRAINING[name](net)


@pytest.mark.parametrize("name", READING)
def test_what_reads_may_run_beside_a_fit_and_within_one(name):
    net, within = network(), network()
    beside(lambda callback: fitted(net, callbacks=[callback]), lambda: READING[name](net))
    fitted(within, callbacks=[Calling(READING[name])])
    expected = fitted(network()).parameters.tobytes()
    assert net.parameters.tobytes() == within.parameters.tobytes() == expected


@pytest.mark.parametrize("name", ["fit", "fit on minibatches", "fit_many"])
def test_a_callback_that_fits_the_same_network_is_refused(name):
    with pytest.raises(
        RuntimeError, match=f"network: got a call of {name.split()[0]} within fit, expected one at a time"
    ):
        fitted(network(), callbacks=[Calling(TRAINING[name])])


def test_an_iterator_of_minibatches_that_fits_the_same_network_is_refused():
    net = network()
    with pytest.raises(RuntimeError, match="got a call of fit within fit"):
        net.fit(fitted(net) and (X, Y) for _ in range(2))
    fitted(net)


def test_a_callback_may_look_at_gradients_and_step_by_the_same_kind_of_optimizer():
    def look(net):
        net.backward(net.forward(X))
        fb.check_gradients(net, X, Y, "softmax_cross_entropy", samples=3)
        net.step(fb.Adam(1e-4))
        net.training("softmax_cross_entropy", "adam")

    assert fitted(network(), callbacks=[Calling(look)]).history.steps == 6


@pytest.mark.parametrize("name", ["step", "training"])
def test_a_callback_that_would_replace_the_moments_of_the_fit_is_refused(name):
    with pytest.raises(RuntimeError, match="optimizer: got sgd within a fit by adam, whose moments it would replace"):
        fitted(network(), callbacks=[Calling(TRAINING[name])])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_a_fit_that_failed_the_network_may_be_trained(error):
    def fail(net):
        raise error

    net = network()
    with pytest.raises(error):
        fitted(net, callbacks=[Calling(fail)])
    fitted(net)
    with pytest.raises(ValueError, match="rows"):
        net.forward(X), net.backward(np.zeros((3, 2)))
    fitted(net)


def test_fit_many_that_is_refused_leaves_the_other_networks_free():
    net, other = network(), network()

    def refused():
        with pytest.raises(RuntimeError, match="while another thread is in fit"):
            fb.fit_many([other, net], X, Y)
        fitted(other)

    beside(lambda callback: fitted(net, callbacks=[callback]), refused)
    fb.fit_many([other, net], X, Y)


def test_copies_and_pickles_are_free():
    net, copies = network(), []
    fitted(net, callbacks=[Calling(lambda net: copies.append(copy.deepcopy(net)))])
    fitted(copies[0])


def test_threads_that_predict_and_evaluate_beside_many_fits_do_not_disturb_them():
    """A fit gives the network new moments and workspaces, under the hands of those who predict."""
    net, alone, errors = network(), network(), []

    def watched(work):
        def run():
            try:
                work()
            except Exception as error:
                errors.append(error)

        return threading.Thread(target=run)

    def fits(net):
        for i in range(40):
            net.fit(X, Y, optimizer=("adam", "sgd", "rmsprop")[i % 3], batch_size=1 + i % 9)

    fitting = watched(lambda: fits(net))

    def reads():
        while fitting.is_alive():
            net.predict(X), net.predict(X[:1]), net.evaluate(X, Y), net.predict(X.astype(np.float64))

    readers = [watched(reads) for _ in range(3)]
    for thread in (fitting, *readers):
        thread.start()
    for thread in (fitting, *readers):
        thread.join()
    fits(alone)
    assert not errors
    assert net.parameters.tobytes() == alone.parameters.tobytes()


# ------------------------------------------------------------------------------------------------------------ the engine

VERBS = {
    "forward": lambda module, t: module.forward(t, X[:8]),
    "predict": lambda module, t: module.predict(t, X[:8]),
    "backward": lambda module, t: module.backward(t, np.zeros((8, 2), np.float32)),
    "step": lambda module, t: module.step(t),
    "train_step": lambda module, t: module.train_step(t, X[:8], Y[:8]),
    "train_epoch": lambda module, t: module.train_epoch(t, X, Y),
    "evaluate": lambda module, t: module.evaluate(t, X, Y),
}


@pytest.mark.parametrize("module", [engine, engine.serial], ids=["parallel", "serial"])
@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_refused_while_another_is_at_work_with_the_training(name, module):
    net = network()
    training = net.training("softmax_cross_entropy", "sgd", 8)
    module.forward(training, X[:8])
    before = state_of(net)
    training.network[NETWORK["turn"] // 8] = live.forks() + 1
    with pytest.raises(
        RuntimeError, match="training: got one that another thread is at work with, expected one thread"
    ):
        VERBS[name](module, training)
    assert state_of(net) == before
    training.network[NETWORK["turn"] // 8] = live.forks() + 2  # left behind by the parent of a forked process
    VERBS[name](module, training)
    VERBS[name](module, training)


def test_threads_with_one_training_take_turns_or_are_refused():
    net = network()
    training = net.training("softmax_cross_entropy", "sgd", 8)
    x, y = np.tile(X, (50, 1)), np.tile(Y, 50)
    made, refused = [], []

    def train():
        for _ in range(200):
            try:
                made.append(engine.train_epoch(training, x, y))
            except RuntimeError as error:
                refused.append(error)

    threads = [threading.Thread(target=train) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) + len(refused) == 600
    assert net.state.counters[0] == 400 * len(made)
    assert np.isfinite(net.parameters).all()


# ------------------------------------------------------------------------------------------------------ forked processes

IN_A_CHILD = """
    import os, threading, time
    import numpy as np
    import fastbp as fb

    x, y = np.random.default_rng(0).standard_normal((20_000, 4)).astype(np.float32), np.arange(20_000) % 2

    def network():
        return fb.Sequential(fb.Dense(4, 8, "relu"), fb.Dense(8, 2))

    net, shut = network(), threading.Event()

    def forever(work):
        while not shut.is_set():
            work()

    def child_s(status_of):
        child = os.fork()
        if child == 0:
            os._exit(status_of())
        return os.waitpid(child, 0)[1]

    def trains_and_predicts():
        net.predict(x)
        net.evaluate(x, y)
        net.fit(x[:100], y[:100])
        net.backward(net.forward(x[:50]))
        net.step("adam")
        fb.fit_many([net], x[:100], y[:100])
        return 0 if np.isfinite(net.predict(x[:1])).all() else 1

    trains_and_predicts()  # compiles
"""
BESIDE = {
    "predict": "lambda: net.predict(x)",
    "evaluate": "lambda: net.evaluate(x, y)",
    "fit": "lambda: net.fit(x, y)",
    "fit_many": "lambda: fb.fit_many([net], x, y)",
    "by hand": "lambda: net.backward(net.forward(x))",
}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@needs_fork
@pytest.mark.parametrize("name", BESIDE)
def test_a_child_forked_while_a_thread_is_at_work_trains_and_predicts(name, run_python):
    code = f"""
    beside = threading.Thread(target=forever, args=({BESIDE[name]},))
    beside.start()
    statuses = []
    for _ in range(10):
        time.sleep(0.01)
        statuses.append(child_s(trains_and_predicts))
    shut.set()
    beside.join()
    print(statuses)
    """
    assert run_python(IN_A_CHILD + code, cache=None, timeout=60).stdout == f"{[0] * 10}\n"


@needs_fork
def test_a_child_forked_within_a_callback_trains_and_the_fit_goes_on(run_python):
    code = """
    statuses = []

    def fork(net, history):
        statuses.append(child_s(trains_and_predicts))

    net.fit(x, y, epochs=2, callbacks=[fork])
    net.fit(x, y)
    print(statuses)
    """
    assert run_python(IN_A_CHILD + code, cache=None, timeout=60).stdout == "[0, 0]\n"


@needs_fork
def test_a_child_forked_while_a_thread_compiles_compiles_too(run_python):
    code = """
    import numba

    def compiles():
        numba.njit(lambda x: x + 1)(np.ones(3))

    beside = threading.Thread(target=forever, args=(compiles,))
    beside.start()
    statuses = []
    for _ in range(5):
        time.sleep(0.1)
        statuses.append(child_s(lambda: compiles() or trains_and_predicts()))
    shut.set()
    beside.join()
    print(statuses)
    """
    assert run_python(IN_A_CHILD + code, cache=None, timeout=100).stdout == f"{[0] * 5}\n"


# ------------------------------------------------------------------------------------------------------------- in itself


def test_a_turn_ends_however_the_work_ends():
    turn = Turn("thing")
    for _ in range(2):
        with contextlib.suppress(KeyboardInterrupt), turn.taken("work") as nested:
            assert not nested
            with turn.taken("more", within=True) as nested:
                assert nested
            with pytest.raises(RuntimeError, match="thing: got a call of more within work"), turn.taken("more"):
                pass
            raise KeyboardInterrupt


def test_what_is_held_in_the_parent_is_free_in_a_forked_child(monkeypatch):
    turn, lock = Turn("thing"), ProcessLock()
    with turn.taken("work"), lock.here():
        parents = lock.here()
        monkeypatch.setattr("fastbp.parallel.turns.forks", lambda: 1)
        assert lock.here() is not parents
        with turn.taken("work"):
            pass
        monkeypatch.undo()
        assert lock.here() is parents
