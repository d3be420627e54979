"""Prediction of a few rows: in one plain call from Python, with the bits and the refusals of any other prediction."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from reference import LAYOUTS, numbers

import fastbp as fb
from fastbp.network.sharing import PREDICT_ROWS

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
X = numbers((300, 5), F32, seed=5)
Y = np.arange(300) % 3


def network(dtype="float32", seed=3):
    return fb.Sequential(fb.Dense(5, 7, "gelu"), fb.Dropout(0.25), fb.Dense(7, 3), dtype=dtype, seed=seed)


def ready(dtype="float32", seed=3):
    """A network that has predicted, so that a few rows of either dtype take the short way from now on."""
    net = network(dtype, seed)
    for x_dtype in (F32, F64):
        net.predict(np.ones((1, 5), x_dtype))
    assert set(net._small) == {F32, F64}
    return net


def goes_the_short_way(net, monkeypatch):
    monkeypatch.setattr(net, "_predict", lambda x: pytest.fail("predict went the long way"))
    return net


# ------------------------------------------------------------------------------------------------------- the same output


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [1, 2, PREDICT_ROWS])
@pytest.mark.parametrize("x_dtype", [F32, F64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_rows_have_the_bits_of_many(dtype, x_dtype, rows, layout, monkeypatch):
    net, x = ready(dtype), numbers((rows, 5), x_dtype)
    expected = net._predict(x)
    out = goes_the_short_way(net, monkeypatch).predict(LAYOUTS[layout](x))
    assert out.tobytes() == expected.tobytes()
    assert (out.dtype, out.shape, out.flags.c_contiguous, out.flags.writeable) == (net.dtype, (rows, 3), True, True)


def test_an_unaligned_row_is_read_where_it_lies():
    net, x = ready(), np.zeros(21, np.uint8)[1:].view(F32).reshape(1, 5)
    x[:] = X[:1]
    assert not x.flags.aligned
    assert net.predict(x).tobytes() == net._predict(X[:1]).tobytes()


@pytest.mark.parametrize(
    "x",
    [X, X[:1].astype(">f4"), X[:1].astype(np.float16), (9 * X[:2]).astype(np.uint8), X[:1].tolist(), X[:1] > 0],
    ids=["many rows", "foreign byte order", "float16", "uint8", "a list", "bool"],
)
def test_everything_else_goes_the_long_way(x):
    net = ready()
    assert net.predict(x).tobytes() == net._predict(x).tobytes() == network().predict(x).tobytes()


def test_each_output_is_an_array_of_its_own():
    net = ready()
    first = net.predict(X[:1])
    kept = first.copy()
    second = net.predict(X[1:2])
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)


def test_nothing_but_the_output_is_kept_of_a_prediction(monkeypatch):
    net = goes_the_short_way(ready(), monkeypatch)
    output = net.forward(X)
    net.predict(-X[:1])
    net.backward(output)
    other = network()
    other.backward(other.forward(X))
    assert net.gradients.tobytes() == other.gradients.tobytes()


def test_a_network_that_uses_all_threads_for_one_row_has_no_short_way():
    net = fb.Sequential(fb.Dense(2000, 1000))
    net.predict(np.ones((1, 2000), F32))
    assert net._small == {}


@pytest.mark.parametrize("sizes", [(300, 256, 10), (20, 30, 10)], ids=str)
def test_threads_that_predict_and_evaluate_with_one_network_do_not_disturb_each_other(sizes):
    n, m, classes = sizes
    net = fb.Sequential(fb.Dense(n, m, "relu"), fb.Dense(m, classes))
    x, y = numbers((700, n), np.dtype(F32)), np.arange(700) % classes
    wanted, cost = net.predict(x), net.evaluate(x, y)

    def agree(_):
        return all(np.array_equal(net.predict(x), wanted) and net.evaluate(x, y) == cost for _ in range(40))

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(agree, range(3)))


# -------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "x", [X[:1, :4], X[0], X[:0], X[:1].astype(complex), np.ma.masked_array(X[:1], X[:1] > -9), X[None, :1], None]
)
def test_what_is_refused_is_refused_in_the_same_words(x):
    with pytest.raises((TypeError, ValueError), match=r"x: got") as expected:
        network().predict(x)
    with pytest.raises(expected.type) as refused:
        ready().predict(x)
    assert str(refused.value) == str(expected.value)


# ------------------------------------------------------------------------------------- after something became of the net


def set_parameters(net):
    net.parameters[:] = np.arange(net.parameters.size) % 7 - 3


def fit(net):
    net.fit(X, Y, optimizer="sgd")
    net.fit(X, Y, optimizer="adam")


def step(net):
    net.backward(net.forward(X))
    net.step("rmsprop")


def assign(net):
    net.layers[0].weight = np.ones((7, 5))


def fill_workspaces(net):
    for rows in range(1, 20):
        net._predict(X[:rows])


@pytest.mark.parametrize("change", [set_parameters, fit, step, assign, fill_workspaces])
def test_it_is_the_network_of_now(change):
    net, other = ready(), network()
    for each in (net, other):
        change(each)
    for _ in range(2):
        assert net.predict(X[:1]).tobytes() == other._predict(X[:1]).tobytes()


def test_restored_parameters_count():
    net = ready()
    stop = fb.EarlyStopping(patience=1, restore_best=True)
    net.fit(X, Y, optimizer=fb.SGD(5.0), epochs=5, validation_data=(X, Y), callbacks=[stop])
    assert net.predict(X[:1]).tobytes() == net._predict(X[:1]).tobytes()


def test_two_networks_do_not_mix():
    a, b = ready(seed=1), ready(seed=2)
    expected = [network(seed=seed).predict(X[:1]).tobytes() for seed in (1, 2)]
    for _ in range(3):
        assert [net.predict(X[:1]).tobytes() for net in (a, b)] == expected
    assert expected[0] != expected[1]


def test_a_layer_alone_predicts_by_its_network():
    layer = fb.Dense(5, 3, "tanh")
    expected = layer.forward(X[:1])
    for _ in range(2):
        assert layer.owner().predict(X[:1]).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"]
)
def test_a_copy_computes_with_its_own_parameters(duplicate):
    net = ready()
    net.fit(X, Y)
    output = net.forward(X)
    other = duplicate(net)
    expected = other.predict(X[:1])
    assert expected.tobytes() == net.predict(X[:1]).tobytes()
    net.parameters[:] = 0
    assert other.predict(X[:1]).tobytes() == other._predict(X[:1]).tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match=r"backward: got no forward pass before it"):
        other.backward(output)
    assert other.fit(X, Y).cost == network_after_two_fits().history.cost


def network_after_two_fits():
    net = ready()
    net.fit(X, Y)
    net.forward(X)
    net.fit(X, Y)
    return net


def test_threads_predict_at_once():
    net, wrong = ready(), []
    expected = [net.predict(X[i : i + 1]).tobytes() for i in range(4)]

    def work(i):
        for _ in range(2000):
            if net.predict(X[i : i + 1]).tobytes() != expected[i]:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
