"""Sequential: what chains, how parameters lie, prediction, passes by hand, model files."""

import copy
import pickle

import numpy as np
import pytest
from numba import njit
from reference import numbers

import fastbp as fb

X = 4 * numbers((23, 5), np.dtype(np.float32), seed=5)
Y = np.arange(23) % 3


def network(dtype="float32", seed=3, dropout=0.25):
    return fb.Sequential(
        fb.Dense(5, 7, "tanh"), fb.Dropout(dropout), fb.Dense(7, 3, bias=False), dtype=dtype, seed=seed
    )


@njit
def squared(z):
    return z * z


@njit
def squared_derivative(z):
    return 2.0 * z


@njit
def halved(x, parameters, out):
    out[:] = x / 2


@njit
def halved_delta(delta, x, out, parameters, gradients, delta_x):
    delta_x[:] = delta / 2


@njit
def square_row(output, y):
    return ((output - y) ** 2).sum()


@njit
def square_row_delta(output, y, delta):
    delta[:] = 2.0 * (output - y)


# ---------------------------------------------------------------------------------------------------------- what chains


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"layers: got Dense\(6, 3, .*\) after 7 outputs, expected as many inputs"):
        fb.Sequential(fb.Dense(5, 7), fb.Dropout(0.1), fb.Dense(6, 3))
    with pytest.raises(ValueError, match=r"layers: got none, expected at least one"):
        fb.Sequential()


@pytest.mark.parametrize("layer", ["relu", None, fb.Dense, [fb.Dense(7, 3)]])
def test_what_is_no_layer_is_refused(layer):
    with pytest.raises(TypeError, match=r"layers: got .* at place 1, expected a layer"):
        fb.Sequential(fb.Dense(5, 7), layer)


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64", "f", "nonsense", object, 5])
def test_dtypes_are_float32_and_float64(dtype):
    if dtype == "f":
        assert fb.Sequential(fb.Dense(1, 1), dtype="f").dtype == np.float32
    else:
        with pytest.raises(ValueError, match=r"dtype: got .*, expected one of float32, float64"):
            fb.Sequential(fb.Dense(1, 1), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", np.float64, np.dtype("float32")])
def test_everything_has_the_dtype_of_the_network(dtype):
    net = network(dtype)
    net.fit(X, Y)
    assert net.dtype == net.parameters.dtype == net.gradients.dtype == net.predict(X).dtype == net.forward(X).dtype
    assert net.dtype == np.dtype(dtype)


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (0.5, TypeError), ("a", TypeError), (2**63, ValueError)])
def test_seeds_are_integers_from_0(seed, error):
    with pytest.raises(error, match=r"seed: got"):
        fb.Sequential(fb.Dense(1, 1), seed=seed)


def test_a_seed_makes_the_network_and_its_training():
    nets = [network(seed=seed) for seed in (3, 3, 4)]
    for net in nets:
        net.fit(X, Y, batch_size=8)
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes() != nets[2].parameters.tobytes()


@pytest.mark.parametrize("seed", [2**31, 2**62])
def test_large_seeds_work(seed):
    net = network(seed=seed)
    assert np.isfinite(net.fit(X, Y).cost[0])


# ------------------------------------------------------------------------------------------------- parameters, its form


def test_the_flat_vector_holds_weights_then_biases_layer_by_layer_the_first_transposed():
    w, b = numbers((7, 5), np.dtype(np.float32)), numbers((7,), np.dtype(np.float32), seed=2)
    v = numbers((3, 7), np.dtype(np.float32), seed=3)
    net = fb.Sequential(fb.Dense(5, 7, weight_init=w, bias_init=b), fb.Dense(7, 3, bias=False, weight_init=v))
    np.testing.assert_array_equal(net.parameters, np.concatenate([w.T.ravel(), b, v.ravel()]))
    assert net.parameters.size == net.gradients.size == 5 * 7 + 7 + 7 * 3
    assert (net.inputs, net.outputs) == (5, 3)


def test_repr_is_python_and_str_a_table():
    net = network()
    assert repr(net) == (
        "Sequential(Dense(5, 7, activation='tanh'), Dropout(0.25), Dense(7, 3, activation='identity', bias=False), "
        "dtype='float32', seed=3)"
    )
    names = {"Sequential": fb.Sequential, "Dense": fb.Dense, "Dropout": fb.Dropout}
    assert eval(repr(net), names).parameters.tobytes() == net.parameters.tobytes()
    lines = str(net).splitlines()
    assert len(lines) == 4
    assert "Dense(5, 7, activation='tanh')" in lines[0]
    assert lines[0].endswith("42 parameters")
    assert lines[3].split() == ["float32", "63", "parameters"]


# ------------------------------------------------------------------------------------------------- predict and evaluate


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict_gives_the_network_s_output_for_any_number_of_rows(rows, dtype):
    net, x = network(dtype), numbers((rows, 5), np.dtype(dtype))
    w, b, v = net.layers[0].weight, net.layers[0].bias, net.layers[2].weight
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(net.predict(x), np.tanh(x @ w.T + b) @ v.T, rtol=tolerance, atol=tolerance)


def test_a_row_s_output_does_not_depend_on_the_other_rows():
    net, x = network(), numbers((600, 5), np.dtype(np.float32))
    whole = net.predict(x)
    assert net.predict(x[300:303]).tobytes() == whole[300:303].tobytes()


@pytest.mark.parametrize("weights", [None, np.linspace(0, 3, 23)])
def test_evaluate_is_the_weighted_mean_over_all_rows(weights):
    net = network("float64")
    x, y = np.tile(X, (20, 1)), np.tile(Y, 20)  # more rows than a minibatch of evaluate
    w = None if weights is None else np.tile(weights, 20)
    expected = fb.losses.softmax_cross_entropy(net.predict(x), y, w)[0]
    assert net.evaluate(x, y, sample_weight=w) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("x", [X[:, :4], X[0], X[:0], X.astype(complex), X.astype(str), None, "x"])
def test_what_predict_refuses(x):
    with pytest.raises((TypeError, ValueError), match=r"x: got"):
        network().predict(x)


def test_evaluate_names_what_is_not_finite_and_what_does_not_fit():
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"x: got nan in row 3, column 1, expected finite numbers"):
        network().evaluate(bad, Y)
    with pytest.raises(ValueError, match=r"y: got 22 rows, expected 23"):
        network().evaluate(X, Y[:-1])
    with pytest.raises(ValueError, match=r"loss: got 'mse', expected one of"):
        network().evaluate(X, Y, "mse")


def test_only_networks_whose_work_is_worth_it_enter_the_parallel_region():
    large = fb.Sequential(fb.Dense(300, 256), fb.Dense(256, 10))
    assert large.sharing.region_for(128) != 0
    assert large.sharing.region_for(1) == network().sharing.region_for(32) == 0


# -------------------------------------------------------------------------------------------------------------- by hand


def test_backward_needs_a_forward_pass_and_a_delta_that_fits():
    net = network()
    with pytest.raises(ValueError, match=r"backward: got no forward pass before it"):
        net.backward(np.ones((23, 3)))
    net.forward(X)
    with pytest.raises(ValueError, match=r"delta: got 22 rows, expected 23, as in the last forward pass"):
        net.backward(np.ones((22, 3)))
    with pytest.raises(ValueError, match=r"delta: got shape \(23, 2\), expected 3 columns"):
        net.backward(np.ones((23, 2)))
    with pytest.raises(TypeError, match=r"delta: got"):
        net.backward(np.ones((23, 3), complex))


def gradients_after(between):
    """The gradients of a minibatch when `between(net)` comes between its forward and its backward pass."""
    net = network(dropout=0.0)
    output = net.forward(X)
    _, delta = fb.losses.softmax_cross_entropy(output, Y)
    between(net)
    net.backward(delta)
    return net.gradients.copy()


@pytest.mark.parametrize(
    "between",
    [lambda net: net.predict(-X), lambda net: net.predict(X[:5]), lambda net: net.evaluate(-X, Y)],
    ids=["predict as many rows", "predict fewer rows", "evaluate"],
)
def test_inference_between_the_passes_does_not_change_the_gradients(between):
    np.testing.assert_array_equal(gradients_after(between), gradients_after(lambda net: None))


def test_minibatches_of_changing_size_by_hand():
    net, other = network(dropout=0.0), network(dropout=0.0)
    training = other.training("softmax_cross_entropy", fb.Adam(), 23)
    for rows in (3, 23, 1, 7, 23):
        _, delta = fb.losses.softmax_cross_entropy(net.forward(X[:rows]), Y[:rows])
        net.backward(delta)
        net.step("adam")
        fb.engine.train_step(training, X[:rows], Y[:rows])
    assert net.parameters.tobytes() == other.parameters.tobytes()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"loss": "mse"}, ValueError, "loss: got 'mse'"),
        ({"optimizer": "x"}, ValueError, "optimizer: got 'x'"),
        ({"batch_size": 0}, ValueError, "batch_size: got 0"),
    ],
)
def test_what_training_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        network().training(**{"loss": "huber", "optimizer": "adam", **arguments})


# ---------------------------------------------------------------------------------------------------------- model files


@pytest.fixture
def saved(tmp_path):
    pytest.importorskip("safetensors")
    net = network("float64")
    net.fit(X, Y)
    net.metadata = {"classes": ["a", "b", "c"], "scale": [0.1, 1 / 3]}
    net.save(tmp_path / "net.safetensors")
    return net, tmp_path / "net.safetensors"


def test_a_saved_network_comes_back_with_every_bit(saved):
    net, path = saved
    loaded = fb.Sequential.load(path)
    assert loaded.parameters.tobytes() == net.parameters.tobytes()
    assert repr(loaded) == repr(net)
    assert loaded.metadata == net.metadata
    assert loaded.predict(X).tobytes() == net.predict(X).tobytes()


def test_saving_again_gives_the_same_bytes(saved, tmp_path):
    net, path = saved
    fb.Sequential.load(path).save(tmp_path / "again")
    net.save(tmp_path / "once more")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "once more").read_bytes() == path.read_bytes()


def test_metadata_may_be_given_when_saving(saved, tmp_path):
    net, _ = saved
    net.save(tmp_path / "other", metadata={"task": "regression"})
    assert fb.Sequential.load(tmp_path / "other").metadata == {"task": "regression"}


def test_a_loaded_network_trains_on(saved):
    loaded = fb.Sequential.load(saved[1])
    assert np.isfinite(loaded.fit(X, Y, epochs=2).cost).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(saved, share):
    content = saved[1].read_bytes()
    saved[1].write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"net.safetensors: truncated, or not a safetensors file"):
        fb.Sequential.load(saved[1])


def test_a_damaged_file_is_refused(saved):
    content = bytearray(saved[1].read_bytes())
    content[-5] ^= 1
    saved[1].write_bytes(content)
    with pytest.raises(ValueError, match=r"net.safetensors: damaged"):
        fb.Sequential.load(saved[1])


def test_files_of_others_are_refused(tmp_path):
    numpy_files = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "foreign"
    numpy_files.save_file({"w": np.ones(3)}, path)
    with pytest.raises(ValueError, match=r"foreign: a safetensors file, but not one that fastbp wrote"):
        fb.Sequential.load(path)
    path.write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"foreign: truncated, or not a safetensors file"):
        fb.Sequential.load(path)
    with pytest.raises(FileNotFoundError):
        fb.Sequential.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"layers": [], "dtype": "float32", "seed": 0, "metadata": {}},
        {"layers": [{"kind": "Conv"}], "dtype": "float32", "seed": 0, "metadata": {}},
        {"layers": [{"kind": "Dense"}], "dtype": "float32", "seed": 0, "metadata": {}},
        {"layers": [{"kind": "Dense", "inputs": 2, "outputs": 3}], "dtype": "int8", "seed": 0, "metadata": {}},
        {"layers": [{"kind": "Dense", "inputs": 2, "outputs": 3}], "dtype": "float32", "seed": 0, "metadata": {}},
        {"layers": 5, "dtype": "float32", "seed": 0, "metadata": {}},
    ],
)
def test_a_file_that_describes_no_network_is_refused_by_its_name(tmp_path, content):
    pytest.importorskip("safetensors")
    from fastbp.io import safetensors

    safetensors.write(tmp_path / "odd.safetensors", {"w": np.ones(3)}, content)
    with pytest.raises(ValueError, match=r"odd\.safetensors"):
        fb.Sequential.load(tmp_path / "odd.safetensors")


FIRST_FORMAT = (
    r'{"__metadata__":{"fastbp":"{\"format\":1,\"metadata\":{\"dtype\":\"float64\",\"layers\":[{\"activation\":\"gelu\",'
    r"\"bias\":true,\"inputs\":3,\"kind\":\"Dense\",\"outputs\":2},{\"kind\":\"Dropout\",\"rate\":0.25},"
    r"{\"activation\":\"identity\",\"bias\":false,\"inputs\":2,\"kind\":\"Dense\",\"outputs\":1}],"
    r"\"metadata\":{\"classes\":[\"a\",\"b\"]},\"seed\":7},"
    r'\"sha256\":\"80b45b6b096ba69e3371b1d3f993e9471ffbf9e69e94cc9ed1d964e29946fa9a\"}"},'
    r'"layers.0.bias":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},'
    r'"layers.0.weight":{"dtype":"F64","shape":[2,3],"data_offsets":[16,64]},'
    r'"layers.2.weight":{"dtype":"F64","shape":[1,2],"data_offsets":[64,80]}}'
)


def test_a_file_of_version_0_1_0_loads(tmp_path):
    pytest.importorskip("safetensors")
    w = np.arange(6).reshape(2, 3) / 7
    numbers_of_it = np.concatenate([[0.1, -0.2], w.ravel(), w[0, :2] + 1])
    header = FIRST_FORMAT.encode()
    header += b" " * (-len(header) % 8)
    content = len(header).to_bytes(8, "little") + header + numbers_of_it.astype("<f8").tobytes()
    (tmp_path / "old.safetensors").write_bytes(content)
    net = fb.Sequential.load(tmp_path / "old.safetensors")
    assert repr(net) == (
        "Sequential(Dense(3, 2, activation='gelu'), Dropout(0.25), Dense(2, 1, activation='identity', bias=False), "
        "dtype='float64', seed=7)"
    )
    assert net.metadata == {"classes": ["a", "b"]}
    np.testing.assert_array_equal(net.layers[0].weight, w)
    np.testing.assert_array_equal(net.layers[0].bias, [0.1, -0.2])
    np.testing.assert_array_equal(net.layers[2].weight, w[:1, :2] + 1)


def test_a_network_that_is_not_finite_comes_back_too(tmp_path):
    pytest.importorskip("safetensors")
    net = network()
    net.parameters[[0, -1]] = np.nan, np.inf
    net.save(tmp_path / "net.safetensors")
    assert fb.Sequential.load(tmp_path / "net.safetensors").parameters.tobytes() == net.parameters.tobytes()


@pytest.mark.parametrize("weight", [np.ones((1, 3), np.float32), np.ones((2, 3))], ids=["shape", "dtype"])
def test_parameters_that_do_not_fit_their_layer_are_refused(tmp_path, weight):
    pytest.importorskip("safetensors")
    from fastbp.io import safetensors

    layers = [{"kind": "Dense", "inputs": 3, "outputs": 2, "activation": "identity", "bias": False}]
    content = {"layers": layers, "dtype": "float32", "seed": 0, "metadata": {}}
    safetensors.write(tmp_path / "odd.safetensors", {"layers.0.weight": weight}, content)
    with pytest.raises(
        ValueError, match=r"odd.safetensors: .*got float.* of shape .*, expected float32 of shape \(2, 3\)"
    ):
        fb.Sequential.load(tmp_path / "odd.safetensors")


def test_a_custom_activation_cannot_be_saved(tmp_path):
    from test_activations import bent, bent_derivative

    net = fb.Sequential(fb.Dense(2, 2, fb.activations.custom(bent, bent_derivative)))
    with pytest.raises(ValueError, match=r"save: got Dense.*expected activations that a file can name"):
        net.save(tmp_path / "net")
    assert not (tmp_path / "net").exists()


# --------------------------------------------------------------------------------------------------- memory of its own

VECTORS = ("parameters", "gradients", "moments")


def vector_of(net, name):
    return net.training("softmax_cross_entropy", "adam").moments if name == "moments" else getattr(net, name)


TRAINERS = {
    "fit": lambda net: net.fit(X, Y, optimizer="adam"),
    "fit on minibatches": lambda net: net.fit([(X, Y)], optimizer="adam"),
    "fit_many": lambda net: fb.fit_many([network(), net], X, Y, optimizer="adam"),
    "step": lambda net: net.step("adam"),
    "training": lambda net: net.training("softmax_cross_entropy", "adam"),
    "check_gradients": lambda net: fb.check_gradients(net, X, Y, "softmax_cross_entropy"),
}


@pytest.mark.parametrize("vector", VECTORS)
@pytest.mark.parametrize("way", TRAINERS)
def test_a_vector_that_was_made_read_only_is_not_written(way, vector):
    net = network()
    net.fit(X, Y, optimizer="adam")
    vector_of(net, vector).flags.writeable = False
    before, history = net.parameters.tobytes(), net.history
    with pytest.raises(ValueError, match=rf"{vector}: got a vector that was made read-only"):
        TRAINERS[way](net)
    assert net.parameters.tobytes() == before
    assert net.history is history
    assert np.isfinite(net.predict(X)).all()


def test_backward_does_not_write_read_only_gradients():
    net = network()
    delta = np.ones_like(net.forward(X))
    net.gradients.flags.writeable = False
    with pytest.raises(ValueError, match="gradients: got a vector that was made read-only"):
        net.backward(delta)
    assert not net.gradients.any()


def unpickled_from_a_file(net, tmp_path, mode):
    joblib = pytest.importorskip("joblib")
    joblib.dump(net, tmp_path / "net.joblib")
    return joblib.load(tmp_path / "net.joblib", mmap_mode=mode)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_network_loaded_as_a_memory_map_trains_in_memory_of_its_own(tmp_path, mode):
    net = network()
    net.fit(X, Y)
    net.forward(X)
    loaded = unpickled_from_a_file(net, tmp_path, mode)
    content = (tmp_path / "net.joblib").read_bytes()
    for trained in (net, loaded):
        trained.fit(X, Y, epochs=3)
        trained.backward(np.ones_like(trained.forward(X)))
        trained.step("adam")
    assert loaded.parameters.tobytes() == net.parameters.tobytes()
    assert loaded.gradients.tobytes() == net.gradients.tobytes()
    assert (tmp_path / "net.joblib").read_bytes() == content


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copy_is_whole(duplicate):
    net = network()
    other = duplicate(net)
    other.layers[0].weight *= 2
    np.testing.assert_array_equal(other.layers[0].weight, 2 * net.layers[0].weight)
    assert other.layers[0].network is other
    other.fit(X, Y)
    assert net.history is None


# ---------------------------------------------------------------------------------------------------------- assignment


def test_parameters_that_are_assigned_are_copied_into_the_vector_that_trains(tmp_path):
    net, other = network(dropout=0), network(dropout=0, seed=5)
    vector = net.parameters
    training = net.training("softmax_cross_entropy", fb.SGD(0.1), 12)
    best = other.parameters.copy()
    net.parameters = best
    assert net.parameters is vector
    assert net.predict(X).tobytes() == other.predict(X).tobytes()
    fb.engine.train_step(training, X[:12], Y[:12])
    other.fit(X[:12], Y[:12], optimizer=fb.SGD(0.1), shuffle=False)
    assert net.parameters.tobytes() == other.parameters.tobytes() != best.tobytes()
    net.parameters = best.tolist()
    assert net.parameters.tobytes() == best.tobytes()


ASSIGNED = {
    "parameters": lambda net: (net, "parameters"),
    "gradients": lambda net: (net, "gradients"),
    "weight": lambda net: (net.layers[0], "weight"),
    "bias": lambda net: (net.layers[0], "bias"),
    "weight_gradient": lambda net: (net.layers[0], "weight_gradient"),
    "bias_gradient": lambda net: (net.layers[0], "bias_gradient"),
}


@pytest.mark.parametrize("name", ASSIGNED)
def test_arrays_are_assigned_by_value_and_checked(name):
    owner, attribute = ASSIGNED[name](network())
    was, values = (
        getattr(owner, attribute),
        np.arange(getattr(owner, attribute).size).reshape(getattr(owner, attribute).shape),
    )
    setattr(owner, attribute, values)
    np.testing.assert_array_equal(was, values)
    values[...] = 0
    assert was.any()
    with pytest.raises(ValueError, match=rf"{name}: got shape .*, expected \({was.shape[0]}"):
        setattr(owner, attribute, values[1:])
    with pytest.raises(ValueError, match=rf"{name}: got NaN or infinity"):
        setattr(owner, attribute, np.full(was.shape, np.nan))
    with pytest.raises(TypeError, match=rf"{name}: got dtype"):
        setattr(owner, attribute, "zeros")
    assert was.any()


@pytest.mark.parametrize("name", ASSIGNED)
def test_arrays_change_in_place_as_numpy_s_do(name):
    """`net.gradients *= 0.5` assigns what it changed, whatever is in it."""
    owner, attribute = ASSIGNED[name](network())
    getattr(owner, attribute)[...] = 2.0
    exec(f"owner.{attribute} *= 0.5")
    assert (getattr(owner, attribute) == 1.0).all()
    getattr(owner, attribute)[...] = np.inf
    exec(f"owner.{attribute} *= 0.5")
    assert np.isinf(getattr(owner, attribute)).all()


# ---------------------------------------------------------------------------------------------------------------- seeds


def test_without_a_seed_networks_differ_and_tell_which_they_drew():
    nets = [fb.Sequential(fb.Dense(4, 3), seed=None) for _ in range(3)]
    assert len({net.seed for net in nets}) == len({net.parameters.tobytes() for net in nets}) == 3
    again = fb.Sequential(fb.Dense(4, 3), seed=nets[0].seed)
    assert again.parameters.tobytes() == nets[0].parameters.tobytes()
    assert f"seed={again.seed}" in repr(again)


def test_layers_alone_without_a_seed_differ():
    layers = [fb.Dense(4, 3, seed=None) for _ in range(2)]
    assert not np.array_equal(layers[0].weight, layers[1].weight)
    seed = layers[0].network.seed
    np.testing.assert_array_equal(fb.Dense(4, 3, seed=seed).weight, layers[0].weight)


# ------------------------------------------------------------------------------------------------------ pieces of users


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_networks_with_pieces_of_the_user_s_are_copied_after_they_were_used(duplicate):
    square = fb.activations.custom(squared, squared_derivative)
    net = fb.Sequential(fb.Dense(5, 4, square), fb.Custom(4, 4, halved, halved_delta), fb.Dense(4, 3))
    loss = fb.losses.custom(square_row, square_row_delta)
    net.fit(X, np.eye(3)[Y], loss=loss)
    other = duplicate(net)
    for trained in (net, other):
        trained.fit(X, np.eye(3)[Y], loss=duplicate(loss))
    assert other.predict(X).tobytes() == net.predict(X).tobytes()


IN_ANOTHER_PROCESS = """
    import pickle
    import numpy as np

    with open({path!r}, "rb") as file:
        net, loss, x, y, expected = pickle.load(file)
    net.fit(x, y, loss=loss)
    assert net.predict(x).tobytes() == expected
"""


def test_networks_with_pieces_of_the_user_s_train_in_another_process(tmp_path, run_python):
    square = fb.activations.custom(squared, squared_derivative)
    net = fb.Sequential(fb.Dense(5, 4, square), fb.Custom(4, 4, halved, halved_delta), fb.Dense(4, 3))
    loss, y = fb.losses.custom(square_row, square_row_delta), np.eye(3)[Y]
    net.fit(X, y, loss=loss)
    sent = copy.deepcopy(net)
    net.fit(X, y, loss=loss)
    with open(tmp_path / "net.pickle", "wb") as file:
        pickle.dump((sent, loss, X, y, net.predict(X).tobytes()), file)
    run_python(IN_ANOTHER_PROCESS.format(path=str(tmp_path / "net.pickle")), cache=None)


def test_a_network_is_written_without_a_circle_and_a_layer_with_its_network():
    """What walks through states by itself, as skops does, comes to an end; layers of a copy belong to the copy."""
    net = fb.Sequential(fb.Dense(3, 4, "relu"), fb.Dropout(0.25), fb.Dense(4, 2), seed=1)
    assert all(layer.network is None for layer in net.__getstate__()["layers"])
    for both in (copy.deepcopy((net, net.layers[0])), pickle.loads(pickle.dumps((net, net.layers[0])))):
        other, first = both
        assert first is other.layers[0]
        assert all(layer.network is other for layer in other.layers)
        assert other.layers[1].rate == 0.25
        assert np.shares_memory(first.weight, other.parameters)
    last = pickle.loads(pickle.dumps(net.layers[2]))
    np.testing.assert_array_equal(last.weight, net.layers[2].weight)
    assert last.network.layers[2] is last
