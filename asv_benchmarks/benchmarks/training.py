"""Whole steps, whole fits, many networks at once, predictions, and steps from compiled code."""

import functools

import numpy as np
from numba import njit

import fastbp as fb
from benchmarks.cases import FAST, SMALLEST_WORKLOAD, THREADS, WORKLOADS, Timed, Workload, draw, skip, use_threads
from benchmarks.clock import steady
from fastbp import engine

STEPS = 64


def setup_cache() -> None:
    steady()
    for kind in {w.split(" ", 2)[2] for w in WORKLOADS}:
        make_steps(f"4-3-2 b2 {kind}")[1]()
    make_compiled_steps(SMALLEST_WORKLOAD)[1]()
    fit_many(2)


@functools.cache
def steps(workload: str, threads: str):
    use_threads(threads)
    return make_steps(workload)


def make_steps(workload: str):
    """A network and a function that trains it for STEPS steps."""
    w = Workload.named(workload)
    net, (x, y), optimizer = w.network(), w.data(STEPS), w.rule()
    return net, functools.partial(net.fit, x, y, optimizer=optimizer, batch_size=w.batch_size, shuffle=False)


class TrainStep(Timed):
    """STEPS steps by one call of `fit`."""

    params = (WORKLOADS, THREADS)
    param_names = ("network", "threads")

    def time_train_step_64_times(self, workload, threads):
        steps(workload, threads)[1]()

    def check(self, workload, threads):
        """The same parameters as by hand, to the bit."""
        net, train = steps.__wrapped__(workload, threads)
        w = Workload.named(workload)
        by_hand, (x, y) = w.network(), w.data(STEPS)
        for start in range(0, len(x), w.batch_size):
            rows = slice(start, start + w.batch_size)
            _, delta = fb.losses.softmax_cross_entropy(by_hand.forward(x[rows]), y[rows])
            by_hand.backward(delta)
            by_hand.step(w.rule())
        train()
        np.testing.assert_array_equal(net.parameters, by_hand.parameters)


@njit
def train_steps(training, x, y, batch_size):
    for k in range(0, len(x), batch_size):
        engine.train_step(training, x[k : k + batch_size], y[k : k + batch_size])


@functools.cache
def compiled_steps(workload: str):
    use_threads("all")
    return make_compiled_steps(workload)


def make_compiled_steps(workload: str):
    w = Workload.named(workload)
    net, (x, y) = w.network(), w.data(STEPS)
    training = net.training("softmax_cross_entropy", w.rule(), w.batch_size)
    return net, functools.partial(train_steps, training, x, y, w.batch_size)


class TrainStepFromNjit(Timed):
    """STEPS steps by a compiled loop of the user's."""

    params = (WORKLOADS[:1] if FAST else WORKLOADS,)
    param_names = ("network",)

    def time_train_step_from_njit_64_times(self, workload):
        compiled_steps(workload)[1]()

    def check(self, workload):
        net, train = compiled_steps.__wrapped__(workload)
        other, fit = steps.__wrapped__(workload, "all")
        train()
        fit()
        np.testing.assert_array_equal(net.parameters, other.parameters)


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's handwritten digits, 1797 of 8 x 8."""
    try:
        from fastbp import datasets

        data = datasets.load_digits()
    except (ImportError, AttributeError) as error:
        skip(f"no digits: {error}")
    return data.x, np.unique(data.y, return_inverse=True)[1]


def fit_digits(threads: str) -> fb.Sequential:
    use_threads(threads)
    x, y = digits()
    net = fb.Sequential(fb.Dense(64, 128, "relu"), fb.Dense(128, 10), seed=0)
    net.fit(x, y, optimizer=fb.Adam(1e-3), batch_size=32, epochs=10, metrics=("accuracy",))
    return net


class Fit(Timed):
    """Ten shuffled epochs of a new network on real data."""

    params = (THREADS[1:] if FAST else THREADS,)
    param_names = ("threads",)

    def time_fit_digits(self, threads):
        fit_digits(threads)

    def check(self, threads):
        assert fit_digits(threads).history.metrics["accuracy"][-1] > 0.97


def fit_many(networks: int) -> list[fb.History]:
    use_threads("all")
    x = draw(2000, 20)
    y = (x[:, 0] > 0) + (x[:, 1] > 0).astype(int)
    nets = [fb.Sequential(fb.Dense(20, 32, "relu"), fb.Dense(32, 3), seed=i) for i in range(networks)]
    return fb.fit_many(nets, x, y, optimizer=fb.Adam(3e-3), epochs=5)


class FitMany(Timed):
    params = ((16,),)
    param_names = ("networks",)

    def time_fit_many(self, networks):
        fit_many(networks)

    def check(self, networks):
        assert all(history.cost[-1] < history.cost[0] for history in fit_many(networks))


@functools.cache
def prediction(layers: str, rows: int):
    use_threads("all")
    return make_prediction(layers, rows)


def make_prediction(layers: str, rows: int):
    net, x = Workload.named(f"{layers} b1 relu sgd float32").network(), draw(rows, int(layers.split("-")[0]))
    net.predict(x)
    return net, x


class Predict(Timed):
    params = (("4-32-2", "784-128-10"), (1,) if FAST else (1, 32, 10_000))
    param_names = ("layers", "rows")

    def time_predict(self, layers, rows):
        net, x = prediction(layers, rows)
        net.predict(x)

    def check(self, layers, rows):
        net, x = prediction(layers, rows)
        hidden = np.maximum(x @ net.layers[0].weight.T, 0)
        np.testing.assert_allclose(net.predict(x), hidden @ net.layers[1].weight.T, rtol=0, atol=1e-4)
