"""One training run, however it is driven: the same bits, and the numbers of the textbook."""

import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numba
import numpy as np
import pytest
from numba import njit
from reference import numbers
from reference_network import Reference

import fastbp as fb
from fastbp import engine, kernels
from fastbp.compiler import live
from fastbp.compiler.llvm import places
from fastbp.parallel.sharing_account import ACCOUNT_BYTES, TABLE_BYTES, Account

DTYPES = ("float32", "float64")
OPTIMIZERS = {
    "sgd": fb.SGD(0.2, weight_decay=0.01),
    "momentum": fb.SGD(0.1, momentum=0.8),
    "nesterov": fb.SGD(0.1, momentum=0.8, nesterov=True, weight_decay=0.01),
    "adam": fb.Adam(0.02),
    "adam, weight decay": fb.Adam(0.02, weight_decay=0.01),
    "adamw": fb.AdamW(0.02, weight_decay=0.1),
    "rmsprop": fb.RMSprop(0.01, weight_decay=0.01),
    "adagrad": fb.Adagrad(0.1, weight_decay=0.01),
    "clip_norm": fb.SGD(0.2, clip_norm=0.05),
    "clip_value": fb.Adam(0.02, clip_value=0.001),
}
BATCH, EPOCHS = 8, 2


def data(rows=23, inputs=5, classes=3, dtype="float32"):
    x = 4 * numbers((rows, inputs), np.dtype(dtype), seed=5)
    return x, (np.arange(rows) * 7 % 5 % classes).astype(np.int64)


def network(dtype="float32", sizes=(5, 7, 3), dropout=0.25):
    n, m, classes = sizes
    middle = [fb.Dropout(dropout)] if dropout else []
    return fb.Sequential(fb.Dense(n, m, "tanh"), *middle, fb.Dense(m, classes), dtype=dtype, seed=3)


# ------------------------------------------------------------------------------------- the ways to drive a training run


def by_fit(net, x, y, optimizer, batch=BATCH):
    net.fit(x, y, optimizer=optimizer, batch_size=batch, epochs=EPOCHS, shuffle=False)


def minibatches(x, y, batch):
    for _ in range(EPOCHS):
        for k in range(0, len(x), batch):
            yield x[k : k + batch], y[k : k + batch]


def by_train_step(net, x, y, optimizer, batch=BATCH, step=engine.train_step):
    training = net.training("softmax_cross_entropy", optimizer, batch)
    for xk, yk in minibatches(x, y, batch):
        step(training, xk, yk)


def by_serial_train_step(net, x, y, optimizer, batch=BATCH):
    by_train_step(net, x, y, optimizer, batch, engine.serial.train_step)


def by_train_epoch(net, x, y, optimizer, batch=BATCH):
    training = net.training("softmax_cross_entropy", optimizer, batch)
    for _ in range(EPOCHS):
        engine.train_epoch(training, x, y)


@njit
def compiled_loop(training, x, y, batch, epochs):
    for _ in range(epochs):
        for k in range(0, len(x), batch):
            engine.train_step(training, x[k : k + batch], y[k : k + batch])


def by_train_step_from_njit(net, x, y, optimizer, batch=BATCH):
    compiled_loop(net.training("softmax_cross_entropy", optimizer, batch), x, y, batch, EPOCHS)


def by_hand(net, x, y, optimizer, batch=BATCH):
    for xk, yk in minibatches(x, y, batch):
        _, delta = fb.losses.softmax_cross_entropy(net.forward(xk), yk)
        net.backward(delta)
        net.step(optimizer)


def by_verbs(net, x, y, optimizer, batch=BATCH):
    training = net.training("softmax_cross_entropy", optimizer, batch)
    for xk, yk in minibatches(x, y, batch):
        _, delta = fb.kernels.softmax_cross_entropy(engine.forward(training, xk), yk)
        engine.backward(training, delta)
        engine.step(training)


@njit
def compiled_verbs(training, x, y, batch, epochs):
    for _ in range(epochs):
        for k in range(0, len(x), batch):
            output = engine.forward(training, x[k : k + batch])
            delta = fb.kernels.softmax_cross_entropy(output, y[k : k + batch])[1]
            engine.backward(training, delta)
            engine.step(training)


def by_verbs_from_njit(net, x, y, optimizer, batch=BATCH):
    compiled_verbs(net.training("softmax_cross_entropy", optimizer, batch), x, y, batch, EPOCHS)


WAYS = (
    by_train_step, by_serial_train_step, by_train_epoch, by_train_step_from_njit, by_hand, by_verbs, by_verbs_from_njit,
)  # fmt: skip


def trained(way, optimizer, dtype="float32", *, batch=BATCH, rows=23, sizes=(5, 7, 3), dropout=0.25):
    """The parameters after a run, as bytes."""
    net = network(dtype, sizes, dropout)
    before = net.parameters.copy()
    way(net, *data(rows, sizes[0], sizes[-1], dtype), optimizer, batch)
    assert (net.parameters != before).any()
    return net.parameters.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_all_ways_to_train_give_the_same_bits(name, dtype):
    expected = trained(by_fit, OPTIMIZERS[name], dtype)
    for way in WAYS:
        assert trained(way, OPTIMIZERS[name], dtype) == expected, way.__name__


@pytest.mark.parametrize(
    ("sizes", "rows", "batch"),
    [((1, 1, 2), 5, 2), ((17, 33, 9), 41, 16), ((3, 65, 31), 7, 1), ((5, 7, 3), 23, 23), ((5, 7, 3), 24, 8)],
)
def test_all_ways_agree_for_odd_sizes_and_a_smaller_last_minibatch(sizes, rows, batch):
    settings = {"sizes": sizes, "rows": rows, "batch": batch}
    expected = trained(by_fit, OPTIMIZERS["sgd"], **settings)
    for way in (by_train_step, by_train_epoch, by_hand, by_verbs):
        assert trained(way, OPTIMIZERS["sgd"], **settings) == expected, way.__name__


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_numbers_agree_with_the_textbook(name, dtype):
    x, y = data(dtype=dtype)
    net, optimizer = network(dtype, dropout=None), OPTIMIZERS[name]
    reference = Reference((5, 7, 3), ("tanh", "identity"), net.parameters.astype(np.float64))
    own = {f.name: getattr(optimizer, f.name) for f in fields(optimizer) if f.name != "learning_rate"}
    by_fit(net, x, y, optimizer)
    for xk, yk in minibatches(x.astype(np.float64), y, BATCH):
        reference.step(xk, yk, "softmax_cross_entropy", type(optimizer).__name__, optimizer.learning_rate, **own)
    tolerance = 1e-11 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(net.parameters, reference.parameters, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_order_gathers_rows(dtype):
    """train_epoch with an order = train_epoch on the rows so ordered; a row may come twice or not at all."""
    x, y = data(dtype=dtype)
    order = np.array([3, 22, 0, 3, 7, 11, 1, 20, 5, 6, 9])
    one, other = network(dtype), network(dtype)
    sgd = fb.SGD(0.1)
    cost = engine.train_epoch(one.training("softmax_cross_entropy", sgd, 4), x, y, order)
    expected = engine.train_epoch(other.training("softmax_cross_entropy", sgd, 4), x[order], y[order])
    assert cost == expected
    assert one.parameters.tobytes() == other.parameters.tobytes()


def test_sample_weights_reach_the_step():
    x, y = data()
    w = np.linspace(0, 2, 23)
    net, sgd = network("float64", dropout=None), fb.SGD(0.3)
    reference = Reference((5, 7, 3), ("tanh", "identity"), net.parameters)
    cost = engine.train_step(net.training("softmax_cross_entropy", sgd, 23), x, y, w)
    costs = reference.step(x.astype(np.float64), y, "softmax_cross_entropy", "SGD", 0.3, weights=w)
    assert cost == pytest.approx(np.sum(w * costs) / np.sum(w), rel=1e-12)
    np.testing.assert_allclose(net.parameters, reference.parameters, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("train", [engine.train_step, engine.train_epoch])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_of_a_cost_that_is_not_finite_is_not_taken(train, dtype):
    x, y = data(dtype=dtype)
    x[4, 2] = np.nan
    net = network(dtype, dropout=None)
    training = net.training("softmax_cross_entropy", fb.Adam(), 23)
    engine.train_step(training, x[:4], y[:4])
    before = [a.copy() for a in (net.parameters, training.moments)]
    assert np.isnan(train(training, x, y))
    assert net.parameters.tobytes() == before[0].tobytes()
    assert training.moments.tobytes() == before[1].tobytes()
    assert np.isfinite(train(training, x[:4], y[:4]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_delta_of_the_input(dtype):
    x, _ = data(dtype=dtype)
    net = network(dtype, dropout=None)
    reference = Reference((5, 7, 3), ("tanh", "identity"), net.parameters.astype(np.float64))
    output = reference.forward(x.astype(np.float64))
    delta = numbers((23, 3), np.dtype(dtype))
    gradients, expected = reference.backward(delta.astype(np.float64))
    training = net.training("softmax_cross_entropy", fb.SGD(0.1), 23)
    given = np.full((23, 5), np.nan, dtype)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(engine.forward(training, x), output, **tolerance)
    engine.backward(training, delta, given)
    np.testing.assert_allclose(given, expected, **tolerance)
    np.testing.assert_allclose(training.gradients, gradients, **tolerance)
    net.forward(x)
    assert net.backward(delta, input_delta=True).tobytes() == given.tobytes()


# -------------------------------------------------------------------------------------------------------- the same bits


def large_network(seed=0):
    """Large enough that its products are shared among threads."""
    return fb.Sequential(fb.Dense(300, 256, "relu"), fb.Dropout(0.1), fb.Dense(256, 128), seed=seed)


def large_data(seed=0):
    return numbers((300, 300), np.dtype(np.float32), seed=seed + 1), np.arange(300) * 11 % 128


@pytest.fixture
def threads():
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)


def test_the_same_bits_for_any_number_of_threads(threads):
    def run(way, count):
        threads(count)
        net = large_network()
        assert net.sharing.region_for(128) != 0
        way(net, *large_data(), fb.Adam(), 128)
        return net.parameters.tobytes()

    expected = run(by_fit, 1)
    for way in (by_fit, by_train_step, by_hand, by_serial_train_step):
        for count in (1, 2, 4):
            assert run(way, count) == expected, (way.__name__, count)


@pytest.fixture
def accounts():
    """Work is shared as it is outside of the tests: as long as that brings something. Here each call may decide otherwise."""
    room = np.zeros(TABLE_BYTES // 8, np.int64)
    before = live.tell(live.ACCOUNTS, room.ctypes.data)
    yield room
    live.tell(live.ACCOUNTS, before)


def turned(room):
    """Each kind of work that was on one thread is shared from now on, and the other way round."""
    accounts = room.reshape(-1, ACCOUNT_BYTES // 8)[1:]
    known, shares, trial = (accounts[:, places(Account)[name] // 8] for name in ("kind", "shares", "trial"))
    shares[known != 0] ^= 1
    trial[:] = 0
    return set(shares[known != 0].tolist())


def test_the_same_bits_while_sharing_begins_and_ends(threads, accounts):
    x, y = large_data()
    order = np.random.default_rng(0).permutation(300)

    def run(turn, verbs):
        net = large_network()
        training = net.training("softmax_cross_entropy", fb.Adam(), 64)
        results = []
        for _ in range(6):
            results += [verbs.train_epoch(training, x, y, order), verbs.evaluate(training, x, y)]
            delta = verbs.forward(training, x[:64]) - 0.1
            verbs.backward(training, delta.astype(np.float32))
            verbs.step(training)
            results += [verbs.predict(training, x).tobytes(), kernels.weight_gradient(delta, x[:64]).tobytes()]
            turn()
        return net.parameters.tobytes(), results

    ways = set()
    threads(4)
    assert run(lambda: ways.update(turned(accounts)), engine) == run(lambda: None, engine.serial)
    assert ways == {0, 1}


def test_each_step_of_a_shared_epoch_has_its_own_learning_rate(threads):
    def run(count):
        threads(count)
        net, optimizer = large_network(), fb.SGD(fb.schedules.Exponential(0.1, 0.5))
        net.fit(*large_data(), optimizer=optimizer, batch_size=50, epochs=2)
        return net.parameters.tobytes(), net.history.cost

    assert run(2) == run(1)


def test_a_shared_epoch_ends_at_the_step_whose_cost_is_not_finite(threads):
    def run(count):
        threads(count)
        x, y = large_data()
        x[260] = np.inf
        net = large_network()
        assert np.isnan(engine.train_epoch(net.training("softmax_cross_entropy", fb.SGD(0.1), 50), x, y))
        return net.parameters.tobytes()

    assert run(2) == run(1)


def test_four_python_threads_train_as_each_would_alone():
    def run(seed):
        net = large_network(seed)
        net.fit(*large_data(seed), optimizer=fb.SGD(0.05), batch_size=64, epochs=3)
        return net.parameters.tobytes()

    alone = [run(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == alone


ALLOCATIONS = """
    import numpy as np, fastbp as fb
    from numba import njit
    from numba.core.runtime import rtsys
    from fastbp import engine
    from fastbp.engine.train import train_slice
    from fastbp.network.blocks import SliceBlock

    @njit
    def loop(training, x, y, steps):
        for k in range(steps):
            first = k % 3 * {batch}
            engine.train_step(training, x[first : first + {batch}], y[first : first + {batch}])

    def allocated(function, *arguments):
        before = rtsys.get_allocation_stats()
        function(*arguments)
        after = rtsys.get_allocation_stats()
        assert after.alloc >= before.alloc
        return after.alloc - before.alloc

    def network():
        return fb.Sequential(
            fb.Dense({n}, {m}, "relu"), fb.Dropout(0.1), fb.Dense({m}, 10, "gelu"), fb.Dense(10, 3), dtype="{dtype}"
        )

    some = njit(lambda n: np.empty(n).sum())
    some(5)  # numba's runtime, and so its counter, begins with the first function
    assert allocated(some, 5) > 0, "the counter counts"
    rows = 3 * {batch} + 1  # the last minibatch of an epoch is a single row
    x, y = np.random.default_rng(0).standard_normal((rows, {n})).astype("{dtype}"), np.arange(rows) % 3
    for optimizer in (fb.SGD(1e-3), fb.AdamW(1e-3, clip_value=1.0), fb.Adam(1e-3, weight_decay=0.1, clip_norm=1.0)):
        net = network()
        training = net.training("softmax_cross_entropy", optimizer, {batch})
        loop(training, x, y, 1)
        few = allocated(loop, training, x, y, 10)  # for the arrays of the call itself
        assert allocated(loop, training, x, y, {steps}) == few

        slices, run = [], SliceBlock.run
        def counted(block, code, workers):
            if code is train_slice:
                slices.append(allocated(run, block, code, workers))
            else:
                run(block, code, workers)
        SliceBlock.run = counted
        net.fit(x, y, optimizer=optimizer, batch_size={batch}, epochs=5)
        SliceBlock.run = run
        assert len(slices) >= 5 and not any(slices[1:]), slices
"""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n", "m", "batch", "steps"), [(5, 7, 8, 100_000), (300, 256, 128, 300)], ids=["small", "shared"]
)
def test_a_step_allocates_nothing(n, m, batch, steps, dtype, run_python):
    code = ALLOCATIONS.format(n=n, m=m, batch=batch, steps=steps, dtype=dtype)
    run_python(code, cache=None, NUMBA_NRT_STATS="1")


USER_MODULE = """
    from numba import njit
    from fastbp import engine

    @njit(cache=True)
    def loop(training, x, y):
        cost = 0.0
        for k in range(0, len(x), 8):
            cost += engine.train_step(training, x[k : k + 8], y[k : k + 8])
        return cost
"""

USE_IT = """
    import numpy as np, fastbp as fb, user
    net = fb.Sequential(fb.Dense(5, 7, "tanh"), fb.Dense(7, 3))
    x, y = np.arange(100.0, dtype=np.float32).reshape(20, 5) / 50, np.arange(20) % 3
    cost = user.loop(net.training("softmax_cross_entropy", fb.SGD(0.1), 8), x, y)
    print(float(cost).hex(), float(net.parameters.sum()).hex(), sum(user.loop.stats.cache_hits.values()))
"""


def test_a_users_cached_function_is_reloaded_in_a_new_process(run_python, tmp_path):
    (tmp_path / "user.py").write_text(textwrap.dedent(USER_MODULE))
    first, second = (run_python(USE_IT, path=[tmp_path], cache=None).stdout.split() for _ in range(2))
    assert first[:2] == second[:2]
    assert (first[2], second[2]) == ("0", "1")


@pytest.mark.parametrize("kind", ["bool", "uint8", "int8", "int16", "uint64", "float32", "float64"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 15, 16, 17, 37])
def test_rows_of_every_kind_are_gathered_as_numbers_of_the_network(columns, dtype, kind):
    """Shuffled or not, through predict and fit, by vectors or one by one, from any strides: as a copy in the dtype gives."""
    numbers_ = np.arange(24 * columns).reshape(24, columns) * 37 % 101
    x = (numbers_ % 2 if kind == "bool" else numbers_ if "int" in kind else numbers_ / 7).astype(kind)
    y = np.arange(24) % 3
    wide = np.zeros((48, 2 * columns), kind)
    wide[::2, ::2] = x
    results = []
    for given in (x.astype(dtype), x, wide[::2, ::2], np.asfortranarray(x)):
        net = fb.Sequential(fb.Dense(columns, 4, "tanh"), fb.Dense(4, 3), dtype=dtype, seed=3)
        net.fit(given, y, optimizer=fb.SGD(0.01), batch_size=7, epochs=2)
        net.fit(given, y, optimizer=fb.SGD(0.01), batch_size=7, shuffle=False)
        results.append((net.parameters.tobytes(), net.predict(given).tobytes()))
    assert all(result == results[0] for result in results)
