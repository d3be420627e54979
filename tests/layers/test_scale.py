"""Scale: the trial of the layer contract, in everything that takes a network."""

import copy
import hashlib
import pickle

import numba
import numpy as np
import pytest
from numba import njit
from reference import numbers

import fastbp as fb
from fastbp import engine

DTYPES = ("float32", "float64")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((70, 5))
Y = (X.sum(1) > 0).astype(int)
FITS = {"optimizer": "adam", "batch_size": 16, "epochs": 3}


def network(dtype="float64", seed=0):
    layers = fb.Dense(5, 37, "tanh"), fb.Scale(), fb.Dropout(0.2), fb.Dense(37, 2), fb.Scale()
    return fb.Sequential(*layers, dtype=dtype, seed=seed)


def bits(net):
    return net.parameters.tobytes(), net.state.moments.tobytes(), net.state.counters.tolist()


# ---------------------------------------------------------------------------------------------------------- arithmetic


def reference_gradient(delta, x, fma):
    """One chain of fused multiply-adds a column, in ascending row."""
    total = np.zeros(x.shape[1], x.dtype)
    for k in range(len(x)):
        total = fma(delta[k], x[k], total)
    return total


def exact_fma(a, b, c):
    """Rounded once: exact in float64 for float32 operands, but for ties of the last bit, which these data do not have."""
    return (a.astype(np.float64) * b + c).astype(a.dtype)


@pytest.mark.parametrize("columns", [1, 3, 8, 16, 17, 37, 64, 100])
@pytest.mark.parametrize("rows", [1, 2, 33])
def test_forward_and_backward_against_the_definition(rows, columns):
    net = fb.Sequential(fb.Dense(4, columns), fb.Scale())
    dense, scale = net.layers
    scale.scale = numbers((columns,), "float32")
    x, delta = numbers((rows, 4), "float32"), numbers((rows, columns), "float32")
    output = net.forward(x)
    inner = fb.Sequential(fb.Dense(4, columns, weight_init=dense.weight.copy())).forward(x)
    np.testing.assert_array_equal(output, inner * scale.scale)
    net.backward(delta)
    np.testing.assert_array_equal(scale.scale_gradient, reference_gradient(delta, inner, exact_fma))
    np.testing.assert_array_equal(dense.bias_gradient, np.add.accumulate(delta * scale.scale)[-1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_agree_with_central_differences(dtype):
    net = fb.Sequential(fb.Dense(5, 9, "gelu"), fb.Scale(), fb.Dense(9, 2), fb.Scale(), dtype=dtype)
    error = fb.check_gradients(net, X, Y, "softmax_cross_entropy")
    assert error < (1e-7 if dtype == "float64" else 2e-2)


@pytest.mark.parametrize(
    "optimizer", ["sgd", "adam", fb.SGD(0.1, momentum=0.9, weight_decay=0.1), fb.SGD(0.1, clip_norm=0.1)]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fit_by_hand_and_compiled_code_give_the_same_bits(dtype, optimizer):
    fitted, by_hand, compiled = network(dtype), network(dtype), network(dtype)
    fitted.fit(X, Y, optimizer=optimizer, batch_size=16, epochs=2, shuffle=False)
    loss = fb.losses.softmax_cross_entropy
    for _ in range(2):
        for k in range(0, len(X), 16):
            _, delta = loss(by_hand.forward(X[k : k + 16]), Y[k : k + 16])
            by_hand.backward(delta)
            by_hand.step(optimizer)
    training = compiled.training("softmax_cross_entropy", optimizer, batch_size=16)
    train(training, X, Y, 2)
    assert bits(fitted) == bits(by_hand) == bits(compiled)


@njit
def train(training, x, y, epochs):
    for _ in range(epochs):
        for k in range(0, len(x), 16):
            engine.train_step(training, x[k : k + 16], y[k : k + 16])


def test_weight_decay_leaves_factors_alone():
    decayed, plain = network(), network()
    for net, decay in ((decayed, 0.5), (plain, 0.0)):
        net.forward(X)
        net.backward(np.zeros((len(X), 2)))
        net.step(fb.SGD(0.1, weight_decay=decay))
    assert decayed.layers[1].scale.tolist() == plain.layers[1].scale.tolist() == [1.0] * 37
    assert np.abs(decayed.layers[0].weight).sum() < np.abs(plain.layers[0].weight).sum()


def test_threads_do_not_change_bits():
    x, y, found = numbers((256, 64), "float32"), np.arange(256) % 8, set()
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        net = fb.Sequential(fb.Dense(64, 512, "relu"), fb.Scale(), fb.Dense(512, 8), seed=1)
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            net.fit(x, y, batch_size=128, epochs=2)
        finally:
            numba.set_num_threads(before)
        found.add(net.parameters.tobytes())
    assert len(found) == 1


def test_golden_hashes():
    found = {}
    for dtype in DTYPES:
        net = network(dtype)
        net.fit(X, Y, **FITS)
        found[dtype] = hashlib.sha256(net.parameters.tobytes()).hexdigest()[:16]
    assert found == GOLDEN


GOLDEN = {"float32": "10f6f9efe07215b5", "float64": "34a0e7a1e4120374"}


# ----------------------------------------------------------------------------------------------------- everything else


def test_many_networks_train_as_one_does():
    many, alone = [network(seed=s) for s in range(3)], [network(seed=s) for s in range(3)]
    fb.fit_many(many, X, Y, **FITS)
    for net in alone:
        net.fit(X, Y, **FITS)
    assert [bits(net) for net in many] == [bits(net) for net in alone]


def test_files_copies_and_pickles_keep_it(tmp_path):
    net = network()
    net.fit(X, Y, **FITS)
    net.save(tmp_path / "net.safetensors")
    for other in (
        fb.Sequential.load(tmp_path / "net.safetensors"),
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
    ):
        assert repr(other) == repr(net)
        assert other.parameters.tobytes() == net.parameters.tobytes()
        assert other.predict(X).tobytes() == net.predict(X).tobytes()


def test_a_checkpoint_goes_on_with_it(tmp_path):
    whole, killed, resumed = network(), network(), network()
    whole.fit(X, Y, **{**FITS, "epochs": 4})
    killed.fit(X, Y, **{**FITS, "epochs": 2}, callbacks=fb.Checkpoint(tmp_path / "run"))
    resumed.fit(X, Y, **{**FITS, "epochs": 4}, callbacks=fb.Checkpoint(tmp_path / "run"))
    assert bits(whole) == bits(resumed)


def test_it_is_shown():
    net = network()
    assert repr(net.layers[1]) == "Scale()"
    assert "1  Scale()" in str(net)
    assert "37 parameters" in str(net)
    rows = [row for row in net.explain(16).rows if row.operation.startswith("1 Scale 37-37")]
    assert [row.work for row in rows] == ["forward", "backward", "gradient"]


def test_its_factors_are_views_that_copy_in():
    net = network()
    scale = net.layers[1]
    scale.scale = np.arange(37)
    assert scale.scale.base is not None
    assert net.parameters[5 * 37 + 37 : 5 * 37 + 74].tolist() == list(range(37))
    with pytest.raises(ValueError, match=r"scale: got shape \(3,\), expected \(37,\)"):
        scale.scale = [1, 2, 3]
    with pytest.raises(ValueError, match="scale: got NaN or infinity"):
        scale.scale = np.full(37, np.nan)


def test_first_it_is_refused_as_others_are_that_follow():
    with pytest.raises(ValueError, match="layers: got Scale first, expected a layer that knows its inputs"):
        fb.Sequential(fb.Scale(), fb.Dense(3, 2))
    with pytest.raises(AttributeError, match="inputs: got a Scale of no network"):
        fb.Scale().inputs  # noqa: B018


@pytest.mark.parametrize(
    ("method", "library"), [("state_dict", "PyTorch"), ("to_torch", "PyTorch"), ("to_sklearn", "scikit-learn")]
)
def test_doors_to_libraries_without_it_say_so(method, library):
    if method == "to_torch":
        pytest.importorskip("torch")
    expected = rf"{method}: got Scale\(\), expected layers that {library} has: Dense, Dropout"
    with pytest.raises(ValueError, match=expected):
        getattr(network(), method)()


@pytest.mark.parametrize("dtype", DTYPES)
def test_onnx_multiplies(dtype):
    onnxruntime = pytest.importorskip("onnxruntime")
    net = network(dtype)
    net.fit(X, Y, **FITS)
    session = onnxruntime.InferenceSession(net.to_onnx().SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": X.astype(dtype)})
    np.testing.assert_allclose(found, net.predict(X), rtol=1e-4 if dtype == "float32" else 1e-12, atol=1e-6)
