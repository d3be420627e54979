"""The verbs: what they take, what they refuse (with nothing changed), from Python and from `@njit`."""

import copy
import gc
import multiprocessing
import pickle
import weakref

import numpy as np
import pytest
from numba import njit
from reference import LAYOUTS, numbers

import fastbp as fb
from fastbp import engine

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
X, Y = numbers((10, 5), F32), np.arange(10) % 3
DELTA = numbers((8, 3), F32, seed=2)
SQUARE = numbers((10, 5), F32, seed=3)  # to lie about as input and output
BROADCAST = np.lib.stride_tricks.as_strided(np.zeros(5, F32), (10, 5), (0, 4))


def network(dtype="float32", activation="tanh", outputs=3):
    return fb.Sequential(fb.Dense(5, 7, activation), fb.Dense(7, outputs), dtype=dtype, seed=1)


def training_of(net, batch_size=8, loss="softmax_cross_entropy", optimizer=None):
    return net.training(loss, optimizer or fb.SGD(0.1, momentum=0.5), batch_size)


def state(net, training):
    """All that a refused call must leave alone."""
    arrays = (net.parameters, net.gradients, training.moments, training.counters, training.learning_rate)
    return [a.tobytes() for a in arrays]


# ---------------------------------------------------------------------------------------------------------------- error

BAD = {
    "x of other columns": ("train_step", (X[:8, :4], Y[:8]), ValueError, "x: got 4 columns, expected 5, as in the network"),
    "too many rows": ("train_step", (X[:9], Y[:9]), ValueError, "x: got 9 rows, expected 1 to 8, the batch size"),
    "no rows": ("train_step", (X[:0], Y[:0]), ValueError, "x: got 0 rows, expected 1 to 8, the batch size"),
    "one dimension": ("train_step", (X[0], Y[:8]), ValueError, "x: got 1 dimensions, expected 2"),
    "complex x": ("train_step", (X[:8].astype(complex), Y[:8]), TypeError, "x: got dtype complex128, expected"),
    "x no array": ("train_step", (5.0, Y[:8]), TypeError, "x: got no NumPy array, expected one of float32 or float64"),
    "label too large": ("train_step", (X[:8], Y[:8] + 1), ValueError, "y: got label 3 in row 2, expected 0 to 2"),
    "label below 0": ("train_step", (X[:8], Y[:8] - 1), ValueError, "y: got label -1 in row 0, expected 0 to 2"),
    "float labels": ("train_step", (X[:8], X[:8, 0]), TypeError, "y: got dtype float32, expected int"),
    "labels of other length": ("train_step", (X[:8], Y[:7]), ValueError, "y: got 7 rows, expected 8, as in x"),
    "targets of other width": ("train_step", (X[:8], X[:8, :2]), ValueError, "y: got 2 columns, expected 3, as in"),
    "weights of other length": ("train_step", (X[:8], Y[:8], np.ones(7)), ValueError, "sample_weight: got 7 rows"),
    "order out of range": (
        "train_epoch", (X, Y, np.array([0, 10])), ValueError, "order: got row 10 at place 1, expected 0 to 9",
    ),
    "order below 0": ("train_epoch", (X, Y, np.array([-1])), ValueError, "order: got row -1 at place 0, expected 0"),
    "order of int32": ("train_epoch", (X, Y, np.array([0], np.int32)), TypeError, "order: got dtype int32, expected"),
    "float order": ("train_epoch", (X, Y, np.array([0.0])), TypeError, "order: got dtype float64, expected int64"),
    "evaluate, labels": ("evaluate", (X, Y + 1), ValueError, "y: got label 3 in row 2, expected 0 to 2"),
    "evaluate, columns": ("evaluate", (X[:, :4], Y), ValueError, "x: got 4 columns, expected 5"),
    "forward, columns": ("forward", (X[:8, :4],), ValueError, "x: got 4 columns, expected 5"),
    "out of other width": ("forward", (X[:8], np.ones((8, 4), F32)), ValueError, "out: got 4 columns, expected 3"),
    "out of other length": ("predict", (X, np.ones((8, 3), F32)), ValueError, "out: got 8 rows, expected 10, as in x"),
    "out of other dtype": ("predict", (X, np.ones((10, 3))), TypeError, "out: got dtype float64, expected float32"),
    "read-only out": ("predict", (X, LAYOUTS["read-only"](np.ones((10, 3), F32))), ValueError, "out: got a read-only"),
    "broadcast out": ("predict", (X, BROADCAST[:10, :3]), ValueError, "out: got elements that share memory with each"),
    "out that is x": ("predict", (SQUARE, SQUARE[:, :3]), ValueError, "out: shares memory with x, expected memory of"),
    "out in x of forward": ("forward", (SQUARE[:8], SQUARE[2:10, 1:4]), ValueError, "out: shares memory with x, expected"),
    "out in x of bytes": (
        "predict", (SQUARE.view(np.uint8)[:, :5], SQUARE[:, :3]), ValueError, "out: shares memory with x, expected",
    ),
    "no rows to evaluate": ("evaluate", (X[:0], Y[:0]), ValueError, "x: got 0 rows, expected at least one"),
    "no rows of an epoch": ("train_epoch", (X[:0], Y[:0]), ValueError, "x: got 0 rows, expected at least one"),
    "an empty order": (
        "train_epoch", (X, Y, np.zeros(0, np.int64)), ValueError, "order: got 0 rows, expected at least one",
    ),
    "order no array": ("train_epoch", (X, Y, (0, 1)), TypeError, "order: got no NumPy array, expected one of int64"),
    "delta of other length": ("backward", (DELTA[:5],), ValueError, "delta: got 5 rows, expected 8, as in x"),
    "delta of other width": ("backward", (DELTA[:, :2],), ValueError, "delta: got 2 columns, expected 3"),
    "delta of other dtype": ("backward", (DELTA.astype(F64),), TypeError, "delta: got dtype float64, expected float32"),
    "input_delta": ("backward", (DELTA, np.ones((8, 4), F32)), ValueError, "input_delta: got 4 columns, expected 5"),
    "broadcast input_delta": (
        "backward", (DELTA, BROADCAST[:8]), ValueError, "input_delta: got elements that share memory with each other",
    ),
    "input_delta in delta": (
        "backward", (SQUARE[:8, :3], SQUARE[1:9]), ValueError, "input_delta: shares memory with delta, expected memory",
    ),
    "read-only input_delta": (
        "backward", (DELTA, LAYOUTS["read-only"](np.ones((8, 5), F32))), ValueError, "input_delta: got a read-only",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_argument_is_named_and_nothing_changes(name):
    verb, arguments, error, message = BAD[name]
    net = network()
    training = training_of(net)
    engine.train_step(training, X[:8], Y[:8])
    engine.forward(training, X[:8])
    before = state(net, training)
    with pytest.raises(error) as caught:
        getattr(engine, verb)(training, *arguments)
    assert str(caught.value).startswith(message)
    assert state(net, training) == before


def test_what_compiled_code_cannot_be_given_is_named_in_a_sentence():
    training = training_of(network())
    arrays = {"x": X[:8], "y": Y[:8], "sample_weight": np.ones(8, F32)}
    for name in arrays:
        for bad, got in (
            (arrays[name].tolist(), "list"), ({}, "dict"), (object(), "object"),
            (np.ones(8, np.longdouble), f"dtype {np.dtype(np.longdouble)}"), (np.ones(8, object), "dtype object"),
        ):  # fmt: skip
            for verb in (engine.train_step, engine.serial.train_step):
                with pytest.raises(TypeError, match=rf"^{name}: got {got}, expected [^\n]*$"):
                    verb(training, *{**arrays, name: bad}.values())
    for bad in (network(), None, X, 3, (1, 2)):
        with pytest.raises(TypeError, match=rf"^training: got {type(bad).__name__}, expected what net.training"):
            engine.train_step(bad, X[:8], Y[:8])
    with pytest.raises(TypeError, match="not enough arguments"):
        engine.train_step(training)


def test_the_serial_twins_refuse_alike():
    training = training_of(network())
    with pytest.raises(ValueError, match="x: got 9 rows, expected 1 to 8, the batch size"):
        engine.serial.train_step(training, X[:9], Y[:9])


@njit
def step_from_njit(training, x, y):
    return engine.train_step(training, x, y)


def test_njit_code_gets_the_same_errors():
    net = network()
    training = training_of(net)
    before = state(net, training)
    with pytest.raises(ValueError, match="y: got label 3 in row 2, expected 0 to 2"):
        step_from_njit(training, X[:8], Y[:8] + 1)
    assert state(net, training) == before


def test_an_order_may_be_a_view_with_steps():
    """It is as good as its copy, whose dtype it has."""
    net, other = network(), network()
    order = np.arange(10)[::2]
    engine.train_epoch(training_of(net), X, Y, order)
    engine.train_epoch(training_of(other), X, Y, order.copy())
    assert net.parameters.tobytes() == other.parameters.tobytes()


# ------------------------------------------------------------------------------------------------------- what they take


def stepped(x, y, dtype="float32", loss="softmax_cross_entropy", outputs=3):
    net = network(dtype, outputs=outputs)
    cost = engine.train_step(training_of(net, 10, loss), x, y)
    return cost, net.parameters.tobytes()


@pytest.mark.parametrize("dtype", ["bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))])
def test_labels_of_every_integer_dtype(dtype):
    labels = Y % 2 if dtype == "bool" else Y
    assert stepped(X, labels.astype(dtype)) == stepped(X, labels)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
def test_x_of_other_dtypes_is_as_its_float32(dtype):
    x = (100 * np.abs(X)).astype(dtype)
    assert stepped(x, Y) == stepped(x.astype(np.float32), Y)


@pytest.mark.parametrize("layout", ["Fortran", "step", "read-only"])
def test_x_of_any_strides(layout):
    assert stepped(LAYOUTS[layout](X), Y) == stepped(X, Y)


def test_targets_one_hot_and_as_labels():
    one_hot = np.eye(3, dtype=np.float32)[Y]
    assert stepped(X, one_hot)[0] == pytest.approx(stepped(X, Y)[0], rel=1e-6)
    assert stepped(X, one_hot) == stepped(X, one_hot.astype(np.float64))


def test_a_target_for_each_row_of_a_single_output():
    y = np.linspace(-1, 1, 10).astype(np.float32)
    one_column = stepped(X, y[:, None], loss="mean_squared_error", outputs=1)
    assert stepped(X, y, loss="mean_squared_error", outputs=1) == one_column


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_verbs_and_methods_give_the_same(dtype):
    net = network(dtype)
    training = training_of(net, 4)
    assert engine.predict(training, X).tobytes() == net.predict(X).tobytes()
    assert engine.evaluate(training, X, Y) == pytest.approx(net.evaluate(X, Y), rel=1e-6)
    out = np.full((10, 3), np.nan, dtype)
    assert engine.predict(training, X, out) is out
    assert out.tobytes() == net.predict(X).tobytes()
    assert engine.forward(training, X[:4]).tobytes() == net.predict(X[:4]).tobytes()


def test_outputs_go_into_any_strides_and_nowhere_else(framed):
    net = network()
    training = training_of(net)
    wanted = net.predict(X)
    for out in (framed((10, 3), F32), framed((3, 10), F32).T, framed((20, 6), F32)[::2, ::2]):
        np.testing.assert_array_equal(engine.predict(training, X, out), wanted)
        engine.forward(training, X[:8], out[:8])
        np.testing.assert_array_equal(out, wanted)


def test_the_serial_twins_give_the_same_bits():
    one, other = network(), network()
    for net, verbs in ((one, engine), (other, engine.serial)):
        training = training_of(net)
        verbs.train_step(training, X[:8], Y[:8])
        verbs.train_epoch(training, X, Y)
        output = verbs.forward(training, X[:8])
        verbs.backward(training, output)
        verbs.step(training)
    assert one.parameters.tobytes() == other.parameters.tobytes()
    assert engine.predict(training_of(one), X).tobytes() == engine.serial.predict(training_of(other), X).tobytes()
    assert engine.evaluate(training_of(one), X, Y) == engine.serial.evaluate(training_of(other), X, Y)


def test_the_learning_rate_is_an_element_that_one_may_set():
    net, other = network(), network()
    training = training_of(net, optimizer=fb.SGD(0.1))
    assert training.learning_rate[0] == 0.1
    training.learning_rate[0] = 0.3
    engine.train_step(training, X[:8], Y[:8])
    engine.train_step(training_of(other, optimizer=fb.SGD(0.3)), X[:8], Y[:8])
    assert net.parameters.tobytes() == other.parameters.tobytes()


def test_a_training_shares_memory_with_its_network():
    net = network()
    training = training_of(net)
    assert np.shares_memory(training.parameters, net.parameters)
    assert np.shares_memory(training.gradients, net.gradients)
    net.layers[0].weight = np.zeros((7, 5))
    net.layers[1].weight = np.zeros((3, 7))
    assert not engine.predict(training, X).any()


def test_the_backward_pass_does_not_need_the_callers_x_to_live_on():
    """The minibatch of `forward` may be a temporary array."""
    net = network()
    training = training_of(net)
    engine.forward(training, X[:8].copy())
    room = [np.full((8, 5), 7, np.float32) for _ in range(20)]  # takes the memory that the temporary array had
    engine.backward(training, DELTA)
    gradients = training.gradients.copy()
    engine.forward(training, X[:8])
    engine.backward(training, DELTA)
    assert len(room) == 20
    np.testing.assert_array_equal(gradients, training.gradients)


def test_the_type_of_a_training_carries_the_version_of_its_layout():
    from fastbp.engine.table import VERSION

    assert type(training_of(network())).__name__ == f"Training{VERSION}"


@pytest.mark.parametrize("verbs", [engine, engine.serial])
def test_forward_takes_any_number_of_rows_but_backward_needs_those_of_one_minibatch(verbs):
    training = training_of(network())
    assert verbs.forward(training, X).tobytes() == verbs.predict(training, X).tobytes()
    assert verbs.forward(training, X[:0]).shape[0] == 0
    with pytest.raises(ValueError, match="delta: got 10 rows, expected 0, as in x"):
        verbs.backward(training, np.zeros((10, 3), training.parameters.dtype))


# ----------------------------------------------------------------------------------------- addresses and their owner

WAYS_TO_COPY = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of what holds it": lambda training: copy.deepcopy({"agent": [training]}),
    "pickle": pickle.dumps,
    "old pickle": lambda training: pickle.dumps(training, 0),
    "a spawned process": lambda training: multiprocessing.get_context("spawn").Process(args=(training,)).start(),
}


@pytest.mark.parametrize("way", WAYS_TO_COPY)
def test_a_training_is_not_copied_nor_sent(way):
    with pytest.raises(
        TypeError, match=r"training: got .* expected none: send the network, and call net.training there"
    ):
        WAYS_TO_COPY[way](training_of(network()))


def test_other_arrays_do_not_take_the_place_of_a_training_s():
    training = training_of(network())
    with pytest.raises(
        TypeError, match="training: got other arrays for learning_rate, expected none: write into those"
    ):
        training._replace(learning_rate=np.ones(1))


VERBS = {
    "forward": (X[:8],),
    "predict": (X[:8],),
    "backward": (DELTA,),
    "step": (),
    "train_step": (X[:8], Y[:8]),
    "train_epoch": (X, Y),
    "evaluate": (X, Y),
}
COPIED = "training: got a copy, whose addresses are another's"


@pytest.mark.parametrize("verbs", [engine, engine.serial])
@pytest.mark.parametrize("verb", VERBS)
def test_arrays_that_were_copied_nevertheless_are_refused(verb, verbs):
    net = network()
    training = training_of(net)
    engine.forward(training, X[:8])
    before = state(net, training)
    twin = type(training)(*(array.copy() for array in training))
    with pytest.raises(TypeError, match=COPIED):
        getattr(verbs, verb)(twin, *VERBS[verb])
    assert state(net, training) == before


IN_A_GLOBAL = """
    import numpy as np, fastbp as fb
    from numba import njit
    from fastbp import engine

    x, y = np.ones((8, 5), np.float32), np.arange(8) % 3
    net = fb.Sequential(fb.Dense(5, 3))
    training = net.training("softmax_cross_entropy", "sgd", 8)
    before = net.parameters.tobytes()

    @njit
    def train():
        return engine.train_step(training, x, y)

    @njit
    def predict():
        return engine.predict(training, x)

    for function in (train, predict):
        try:
            function()
        except TypeError as refused:
            print(refused)
    assert net.parameters.tobytes() == before
"""


def test_a_training_in_a_global_variable_of_compiled_code_is_refused(run_python):
    """numba makes constants of the arrays in global variables: copies, which the process may not write."""
    sentences = run_python(IN_A_GLOBAL, cache=None).stdout.splitlines()
    assert [sentence.startswith(COPIED) for sentence in sentences] == [True, True]


@pytest.mark.parametrize("vector", ["parameters", "gradients", "moments"])
@pytest.mark.parametrize("verb", ["backward", "step", "train_step", "train_epoch"])
def test_verbs_do_not_write_what_was_made_read_only(verb, vector):
    net = network()
    training = training_of(net)
    engine.forward(training, X[:8])
    before = state(net, training)
    getattr(training, vector).flags.writeable = False
    with pytest.raises(ValueError, match=rf"{vector}: got a read-only array, expected one that can be written"):
        getattr(engine, verb)(training, *VERBS[verb])
    assert state(net, training) == before
    assert np.isfinite(engine.predict(training, X)).all()


@njit
def handed_back(training):
    return training


@pytest.mark.parametrize("through", [lambda training: training, handed_back, lambda training: training.network])
def test_a_training_keeps_its_network_and_its_cost_alive(through):
    net = network()
    loss = fb.losses.Huber(0.5)
    kept = through(training_of(net, loss=loss))
    owner, cost = weakref.ref(net), weakref.ref(loss)
    del net, loss
    gc.collect()
    assert owner() is not None
    assert cost() is not None
    del kept
    gc.collect()
    assert owner() is None
