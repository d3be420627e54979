"""fit_many: the bits of training each network alone, its endings, and what it refuses."""

import _thread
import os
import signal
import sys
import threading
from pathlib import Path

import numba
import numpy as np
import pytest
from reference import numbers

import fastbp as fb
from fastbp import schedules
from fastbp.training import jobs, many

K = 61
X = 4 * numbers((K, 5), np.dtype(np.float32), seed=5)
Y = np.arange(K) * 7 % 5 % 3
T = numbers((K, 3), np.dtype(np.float32), seed=9)
WEIGHTS = np.linspace(0, 2, K)
ODD = np.arange(K) % 2 == 1
SUBSETS = [np.arange(0, K, 2), ODD, None, np.array([3, 3, 7, 60, 0, 7], np.uint8), np.arange(40)[::-1]]
HELD_OUT = [ODD, np.arange(0, K, 2), np.array([5]), np.arange(K), np.arange(40, K)]


def networks(dtypes=("float32", "float64")):
    """Five that differ in depth, width, activation, dropout, dtype and seed."""
    dtypes = [dtypes[i % len(dtypes)] for i in range(5)]
    return [
        fb.Sequential(fb.Dense(5, 7, "tanh"), fb.Dropout(0.25), fb.Dense(7, 3), dtype=dtypes[0], seed=1),
        fb.Sequential(fb.Dense(5, 9, "relu"), fb.Dense(9, 33, "gelu"), fb.Dense(33, 3), dtype=dtypes[1], seed=2**40),
        fb.Sequential(fb.Dense(5, 3), dtype=dtypes[2], seed=0),
        fb.Sequential(fb.Dense(5, 40, "relu", bias=False), fb.Dense(40, 3), dtype=dtypes[3], seed=3),
        fb.Sequential(fb.Dense(5, 7, "tanh"), fb.Dense(7, 3), dtype=dtypes[4], seed=7),
    ]


def one(seed=3, outputs=3, dtype="float32"):
    return fb.Sequential(fb.Dense(5, 7, "tanh"), fb.Dense(7, outputs), dtype=dtype, seed=seed)


def state(net):
    """All that a second fit depends on, and what the history says; not the seconds."""
    h = net.history
    numbers_of = (h.cost, h.validation_cost, h.learning_rate, h.steps) if h else ()
    arrays = (net.parameters.tobytes(), net.state.moments.tobytes(), net.state.counters.tolist())
    return *arrays, net.epochs_shuffled, net.state.rule, *numbers_of


def entry(value, i):
    return value[i] if isinstance(value, list | tuple) else value


def fit_alone(nets, x, y, rows=None, validation_rows=None, sample_weight=None, early_stopping=None, **options):
    """What fit_many is to be the same as."""
    for i, net in enumerate(nets):
        chosen = slice(None) if rows is None or rows[i] is None else rows[i]
        own = {name: value if name == "validation_data" else entry(value, i) for name, value in options.items()}
        if validation_rows is not None and validation_rows[i] is not None:
            own["validation_data"] = (x[validation_rows[i]], y[validation_rows[i]])
        weights = None if sample_weight is None else sample_weight[chosen]
        net.fit(x[chosen], y[chosen], sample_weight=weights, callbacks=early_stopping or (), **own)


CASES = {
    "plain": {},
    "settings apart": {
        "optimizer": ["adam", fb.SGD(0.3), fb.SGD(0.1, momentum=0.9, clip_norm=0.5), fb.AdamW(0.01), "rmsprop"],
        "batch_size": [1, 8, 1000, 7, 61],
        "epochs": [1, 2, 9, 4, 3],
    },
    "rows": {"rows": SUBSETS, "epochs": 3},
    "rows in order": {"rows": SUBSETS, "epochs": 2, "shuffle": False, "batch_size": 8},
    "all rows in order": {"epochs": 2, "shuffle": False, "batch_size": 8},
    "validation rows": {"rows": SUBSETS, "validation_rows": HELD_OUT, "epochs": 3},
    "no validation for some": {"validation_rows": [None, *HELD_OUT[1:]], "epochs": 2},
    "validation data": {"validation_data": (X[:9], Y[:9]), "epochs": 3},
    "weights": {"sample_weight": WEIGHTS, "rows": SUBSETS, "validation_rows": HELD_OUT, "epochs": 2, "batch_size": 8},
    "schedules": {
        "optimizer": [
            fb.Adam(schedules.Cosine(0.01, 3)), fb.SGD(schedules.WarmUp(1.5, schedules.Exponential(0.2, 0.7))),
            fb.SGD(0.1), fb.SGD(schedules.Step(0.3, 1)), fb.RMSprop(schedules.Constant(0.01)),
        ],
        "epochs": 4, "batch_size": [3, 8, 8, 61, 16],
    },
    "early stopping": {
        "early_stopping": fb.EarlyStopping(2), "epochs": [1, 40, 40, 40, 40], "optimizer": fb.Adam(0.2),
        "validation_data": (X, (Y + 1) % 3),
    },
    "early stopping by rows": {
        "early_stopping": fb.EarlyStopping(3, min_delta=0.01), "epochs": 50, "optimizer": fb.Adam(0.1),
        "rows": SUBSETS, "validation_rows": HELD_OUT,
    },
    "early stopping on the cost, nothing restored": {
        "early_stopping": fb.EarlyStopping(1, restore_best=False), "epochs": 60, "optimizer": fb.SGD(0.8),
    },
}  # fmt: skip


@pytest.fixture(params=["one call", "a chunk a call"])
def calls(request, monkeypatch):
    """In "a chunk a call" time is up at once: a job goes on, step by step, wherever the next call brings it."""
    if request.param == "a chunk a call":
        monkeypatch.setattr(jobs, "SLICE_SECONDS", 0.0)
        monkeypatch.setattr(jobs, "CHUNK_SECONDS", 1e-9)
        monkeypatch.setattr(jobs, "RATES_AT_ONCE", 3)
        monkeypatch.setattr(jobs, "EPOCHS_AT_ONCE", 2)


@pytest.mark.parametrize("case", CASES)
def test_the_bits_are_those_of_training_each_alone(case, calls):
    nets, twins = networks(), networks()
    histories = fb.fit_many(nets, X, Y, **CASES[case])
    fit_alone(twins, X, Y, **CASES[case])
    assert [state(net) for net in nets] == [state(twin) for twin in twins]
    assert all(history is net.history for history, net in zip(histories, nets, strict=True))
    assert all(len(h.seconds) == len(h.cost) and min(h.seconds) > 0 for h in histories)


def test_the_early_stopping_cases_stop_early():
    """Or the cases above would not test it."""
    for case in (case for case in CASES if case.startswith("early")):
        histories = fb.fit_many(networks(), X, Y, **CASES[case])
        assert len({len(h.cost) for h in histories}) > 1
        assert any(len(h.cost) < entry(CASES[case]["epochs"], i) for i, h in enumerate(histories))


def test_the_early_stopping_object_is_left_alone():
    stopping = fb.EarlyStopping(1)
    fb.fit_many(networks(), X, Y, epochs=5, early_stopping=stopping)
    assert (stopping.best_epoch, stopping.best_cost) == (None, np.inf)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["mean_squared_error", fb.losses.Huber(0.3), "softmax_cross_entropy"])
def test_targets_of_numbers_and_costs_of_all_kinds(loss, dtype):
    nets, twins, y = networks([dtype]), networks([dtype]), np.abs(T) / np.abs(T).sum(axis=1, keepdims=True)
    fb.fit_many(nets, X.astype(np.float64), y, loss=loss, rows=SUBSETS, epochs=2)
    fit_alone(twins, X.astype(np.float64), y, loss=loss, rows=SUBSETS, epochs=2)
    assert [state(net) for net in nets] == [state(twin) for twin in twins]


def test_a_cost_for_each_network():
    losses = ["softmax_cross_entropy", fb.losses.SoftmaxCrossEntropy(0.1), "negative_log_likelihood"]
    activations = ["identity", "identity", "relu"]
    nets, twins = ([fb.Sequential(fb.Dense(5, 3, a)) for a in activations] for _ in range(2))
    fb.fit_many(nets[:2], X, Y, loss=losses[:2], epochs=2)
    fit_alone(twins[:2], X, Y, loss=losses[:2], epochs=2)
    assert [state(net) for net in nets] == [state(twin) for twin in twins]


@pytest.mark.parametrize("x", [X.astype(np.float16), np.asfortranarray(X), X.astype(">f8"), X.tolist()])
def test_any_form_of_x(x):
    nets, twins = networks(), networks()
    fb.fit_many(nets, x, Y.tolist(), epochs=2)
    fit_alone(twins, np.asarray(x), Y, epochs=2)
    assert [state(net) for net in nets] == [state(twin) for twin in twins]


def test_custom_layers_and_costs():
    @numba.njit
    def forward(x, parameters, out):
        out[:] = x * parameters

    @numba.njit
    def backward(delta, x, out, parameters, gradients, delta_x):
        delta_x[:] = delta * parameters
        for j in range(len(gradients)):
            gradients[j] = (delta[:, j] * x[:, j]).sum()

    @numba.njit
    def cost_row(output, y):
        return ((output - y) ** 4).sum()

    @numba.njit
    def delta_row(output, y, delta):
        delta[:] = 4 * (output - y) ** 3

    def make():
        return [fb.Sequential(fb.Dense(5, 3), fb.Custom(3, 3, forward, backward, np.ones(3)), seed=i) for i in range(3)]

    nets, twins, loss = make(), make(), fb.losses.custom(cost_row, delta_row)
    fb.fit_many(nets, X, T, loss=loss, epochs=2)
    fit_alone(twins, X, T, loss=loss, epochs=2)
    assert [state(net) for net in nets] == [state(twin) for twin in twins]


def test_a_second_fit_goes_on_after_fit_many_and_the_other_way_round():
    nets, twins = networks(), networks()
    for train in (fb.fit_many, fit_alone, fb.fit_many):
        train(nets, X, Y, rows=SUBSETS, epochs=2)
        fit_alone(twins, X, Y, rows=SUBSETS, epochs=2)
    assert [state(net) for net in nets] == [state(twin) for twin in twins]
    fb.fit_many(nets, X, Y, optimizer=fb.SGD(0.1, momentum=0.5))
    fit_alone(twins, X, Y, optimizer=fb.SGD(0.1, momentum=0.5))
    assert [state(net) for net in nets] == [state(twin) for twin in twins]


def test_data_are_not_copied_and_not_written():
    x, y = X.copy(), Y.copy()
    x.flags.writeable = y.flags.writeable = False
    shared = many.Shared(x, y)
    samples = [shared.samples(net, fb.losses.as_loss("softmax_cross_entropy")).only(ODD) for net in networks()]
    assert all(np.shares_memory(s.x, x) and np.shares_memory(s.y, y) for s in samples)
    fb.fit_many(networks(), x, y, epochs=2)


# ------------------------------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_bits_do_not_depend_on_the_number_of_threads(threads, calls):
    if threads > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("numba may not use so many")
    before, nets, twins = numba.get_num_threads(), networks() + networks(), networks() + networks()
    numba.set_num_threads(threads)
    try:
        fb.fit_many(nets, X, Y, rows=2 * SUBSETS, epochs=3)
    finally:
        numba.set_num_threads(before)
    fit_alone(twins, X, Y, rows=2 * SUBSETS, epochs=3)
    assert [state(net) for net in nets] == [state(twin) for twin in twins]


def test_no_more_networks_than_threads_are_in_the_midst_of_a_long_epoch(monkeypatch):
    for name, value in {"SLICE_SECONDS": 0.0, "CHUNK_SECONDS": 1e-9, "LONG_EPOCH": 0}.items():
        monkeypatch.setattr(jobs, name, value)
    advance, seen = jobs.advance, []

    def watched(running):
        advance(running)
        seen.append(sum(job.read("step") % job.rows.steps_per_epoch > 0 for job in running))

    monkeypatch.setattr(jobs, "advance", watched)
    nets, twins = networks() + networks(), networks() + networks()
    fb.fit_many(nets, X, Y, batch_size=8, epochs=2)
    fit_alone(twins, X, Y, batch_size=8, epochs=2)
    assert [state(net) for net in nets] == [state(twin) for twin in twins]
    assert 0 < max(seen) <= numba.get_num_threads()


ELSEWHERE = """
    import os, sys, threading
    from test_many import SUBSETS, X, Y, fb, fit_alone, networks, state

    def same():
        nets, twins = networks(), networks()
        fb.fit_many(nets, X, Y, rows=SUBSETS, epochs=3)
        fit_alone(twins, X, Y, rows=SUBSETS, epochs=3)
        return [state(net) for net in nets] == [state(twin) for twin in twins]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_in_a_forked_child(run_python):
    code = """
    assert same()
    child = os.fork()
    if child == 0:
        os._exit(0 if same() else 1)
    print(os.waitpid(child, 0)[1])
    """
    assert run_python(ELSEWHERE + code, [Path(__file__).parent], cache=None).stdout == "0\n"


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_on_several_threads_of_python(run_python, layer):
    code = """
    results = []
    threads = [threading.Thread(target=lambda: results.append(same())) for _ in range(3)]
    for thread in threads:
        thread.start()
    results.append(same())
    for thread in threads:
        thread.join()
    print(results)
    """
    done = run_python(ELSEWHERE + code, [Path(__file__).parent], cache=None, NUMBA_THREADING_LAYER=layer)
    assert done.stdout == f"{[True] * 4}\n"


# ------------------------------------------------------------------------------------------------------------- endings

WILD = fb.SGD(1e30)


def test_a_cost_that_is_not_finite_leaves_the_others_alone(calls):
    nets, twins = networks(["float32"]), networks(["float32"])
    optimizers = ["adam", WILD, "adam", WILD, "adam"]
    nets[1].fit(X, Y)
    twins[1].fit(X, Y)
    with pytest.raises(FloatingPointError, match=r"^networks: .* at places 1 \(epoch 1\), 3 \(epoch 1\);"):
        fb.fit_many(nets, X, Y, optimizer=optimizers, epochs=3)
    for i, twin in enumerate(twins):
        if optimizers[i] == WILD:
            with pytest.raises(FloatingPointError):
                twin.fit(X, Y, optimizer=WILD, epochs=3)
        else:
            twin.fit(X, Y, epochs=3)
    assert [state(net) for net in nets] == [state(twin) for twin in twins]


@pytest.mark.parametrize("stopping", [None, fb.EarlyStopping(9)])
def test_a_late_cost_that_is_not_finite_leaves_the_last_finite_or_the_best_epoch(stopping):
    explodes = fb.SGD(schedules.Exponential(0.1, 1e9))
    net, twin = one(), one()
    with pytest.raises(FloatingPointError, match=r"places 0 \(epoch"):
        fb.fit_many([net], X, Y, optimizer=explodes, epochs=9, early_stopping=stopping)
    with pytest.raises(FloatingPointError):
        twin.fit(X, Y, optimizer=explodes, epochs=9, callbacks=stopping or ())
    assert 0 < len(net.history.cost) < 9
    assert state(net)[:-1] == state(twin)[:-1]
    for again in (net, twin):
        again.fit(X, Y)
    assert state(net) == state(twin)


@pytest.fixture
def heeds_ctrl_c():
    """A process in the background of a shell ignores it otherwise."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_usable_networks_and_histories(heeds_ctrl_c):
    """An epoch is one step here, so that whatever is finished is a number of epochs."""
    nets, twins = networks(), networks()
    fb.fit_many(networks(), X, Y, batch_size=K)  # nothing is left to compile
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fb.fit_many(nets, X, Y, batch_size=K, epochs=10**7)
    for net, twin in zip(nets, twins, strict=True):
        assert net.history.steps == len(net.history.cost)
        if net.history.cost:
            twin.fit(X, Y, batch_size=K, epochs=len(net.history.cost))
            assert state(net) == state(twin)
    assert sum(net.history.steps for net in nets) > 0
    fb.fit_many(nets, X, Y)


def test_ctrl_c_in_the_midst_of_an_epoch_restores_the_best_and_goes_on(monkeypatch):
    monkeypatch.setattr(jobs, "CHUNK_SECONDS", 1e-9)
    monkeypatch.setattr(jobs, "SLICE_SECONDS", 0.0)
    net, calls, advance = one(), [], jobs.advance

    def interrupted(running):
        advance(running)
        calls.append(net.parameters.tobytes())
        if len(calls) == 3 * 8 + 2:  # a step a call
            raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fb.fit_many([net], X, Y, batch_size=8, epochs=99, early_stopping=fb.EarlyStopping(50))
    assert (len(net.history.cost), net.history.steps, net.epochs_shuffled) == (3, 26, 4)
    assert net.parameters.tobytes() == calls[8 * (1 + int(np.argmin(net.history.cost))) - 1]


def test_a_bar_that_cannot_be_shown_is_refused_before_anything_changes(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    net = fb.Sequential(fb.Dense(X.shape[1], 3))
    with pytest.raises(ImportError, match=r"pip install 'fastbp\[progress\]'"):
        fb.fit_many([net], X, Y, progress=True)
    assert net.state.rule is None
    with pytest.raises(ImportError, match=r"pip install 'fastbp\[progress\]'"):
        net.fit(X, Y, progress=True)
    assert net.state.rule is None


def test_progress_counts_the_epochs_of_all(monkeypatch):
    seen = []

    class Bar(fb.callbacks.Progress):
        def __init__(self, epochs):
            super().__init__(epochs)
            seen.append(epochs)

        def on_epoch_end(self, net, history):
            seen.append(net)

        def on_fit_end(self, net, history):
            seen.append("end")

    monkeypatch.setattr(many, "Progress", Bar)
    nets = networks()
    fb.fit_many(nets, X, Y, epochs=[1, 2, 3, 4, 5], progress=True)
    assert (seen[0], seen[-1], len(seen)) == (15, "end", 17)
    assert [seen.count(net) for net in nets] == [1, 2, 3, 4, 5]


# ------------------------------------------------------------------------------------------------------------ refusals


def with_nan(row):
    x = X.copy()
    x[row, 2] = np.nan
    return x


TWO = [np.arange(9), np.arange(9)]
REFUSED = {
    "networks: got Sequential, expected a list": {"networks": one()},
    "networks: got none": {"networks": []},
    "networks: got str at place 1": {"networks": [one(), "net"]},
    "optimizer: got 3 entries, expected one value or 2": {"optimizer": ["adam"] * 3},
    "optimizer: got 'adm', expected one of": {"optimizer": ["adam", "adm"]},
    "loss: got 'mse', expected one of": {"loss": "mse"},
    "batch_size: got 0, expected": {"batch_size": [8, 0]},
    "epochs: got 1.5, expected": {"epochs": 1.5},
    "epochs: got 1 entries": {"epochs": [3]},
    "rows: got int, expected a list": {"rows": 3},
    "rows: got 3 entries, expected 2": {"rows": [*TWO, None]},
    r"rows\[1\]: got 61 at place 2, expected row numbers from 0 to 60": {"rows": [None, [0, 1, 61]]},
    r"rows\[0\]: got -1 at place 0": {"rows": [[-1], None]},
    r"rows\[0\]: got dtype float64": {"rows": [np.arange(3.0), None]},
    r"rows\[1\]: got no rows": {"rows": [None, []]},
    r"rows\[1\]: got no rows, expected at least": {"rows": [None, np.zeros(K, bool)]},
    r"rows\[0\]: got shape \(60,\) of bool": {"rows": [np.ones(60, bool), None]},
    r"rows\[0\]: got shape \(2, 2\)": {"rows": [np.ones((2, 2), int), None]},
    r"validation_rows\[1\]: got 99 at place 0": {"validation_rows": [None, [99]]},
    "validation_rows, validation_data: got both": {"validation_rows": TWO, "validation_data": (X, Y)},
    "validation_data: got ndarray": {"validation_data": X},
    "validation_x: got nan in row 4": {"validation_data": (with_nan(4), Y)},
    r"networks\[0\]: validation_y: got 61 rows": {"validation_data": (X[:3], Y)},
    "early_stopping: got 3": {"early_stopping": 3},
    "x: got shape": {"x": X[0]},
    r"networks\[0\]: x: got shape \(61, 4\), expected 5 columns": {"x": X[:, :4]},
    r"networks\[0\]: y: got 60 rows": {"y": Y[:-1]},
    r"networks\[0\]: y: got 3 in row 0": {"y": Y + 3},
    r"networks\[1\]: y: got shape \(61, 3\), expected \(61, 2\)": {
        "networks": [one(), one(outputs=2)], "y": T, "loss": "mean_squared_error",
    },
    r"networks\[0\]: sample_weight: got 60 rows": {"sample_weight": WEIGHTS[1:]},
    r"networks\[1\]: sample_weight: got 0 in all of rows\[1\]": {"sample_weight": WEIGHTS, "rows": [None, [0]]},
    "x: got nan in row 7, column 2": {"x": with_nan(7)},
    "x: got nan in row 8, column 2": {"x": with_nan(8), "rows": TWO},
    r"networks\[1\]: loss: got softmax_cross_entropy after a last layer with sigmoid": {
        "networks": [one(), fb.Sequential(fb.Dense(5, 3, "sigmoid"))],
    },
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_it_refuses_before_anything_changes(message):
    arguments = {"networks": [one(1), one(2)], "x": X, "y": Y, "optimizer": "rmsprop", **REFUSED[message]}
    given = arguments["networks"]
    nets = [net for net in (given if isinstance(given, list) else [given]) if isinstance(net, fb.Sequential)]
    before = [state(net) for net in nets]
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        fb.fit_many(**arguments)
    assert [state(net) for net in nets] == before
    assert all(net.history is None for net in nets)


def test_the_same_network_twice_and_parameters_that_are_not_finite():
    net, broken = one(), one()
    with pytest.raises(ValueError, match="networks: got the same network at places 0 and 2"):
        fb.fit_many([net, one(), net], X, Y)
    broken.parameters[3] = np.inf
    with pytest.raises(ValueError, match="networks: got NaN or infinity in the parameters at place 1"):
        fb.fit_many([net, broken], X, Y)


def test_nan_in_rows_that_nobody_uses_is_nobodys_concern():
    nets, twins = networks(), networks()
    fb.fit_many(nets, with_nan(9), Y, rows=[np.arange(9)] * 5, validation_rows=[np.arange(10, 20)] * 5)
    fit_alone(twins, X, Y, rows=[np.arange(9)] * 5, validation_rows=[np.arange(10, 20)] * 5)
    assert [state(net) for net in nets] == [state(twin) for twin in twins]
