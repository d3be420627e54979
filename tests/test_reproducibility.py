"""The same bits: a whole training run depends on the numbers alone, and any change of arithmetic shows.

The golden hashes hold for every CPU with fused multiply-add. A hash that changes means that all users' results change.
"""

import hashlib
import json
import platform

import numba
import numpy as np
import pytest
from reference import numbers

import fastbp as fb
from fastbp.compiler.llvm import has_fma

needs_fma = pytest.mark.skipif(not has_fma(), reason="without fused multiply-add products are rounded twice")

OPTIMIZERS = {
    "sgd": fb.SGD(0.1, weight_decay=0.01),
    "nesterov": fb.SGD(0.1, momentum=0.9, nesterov=True, clip_norm=0.5),
    "adam": fb.Adam(0.01),
}
GOLDEN = {
    "sgd relu float32": "a81c41df846dcf5f",
    "nesterov relu float32": "c730e08678fa8220",
    "adam relu float32": "4c34b40445bea8f3",
    "adam tanh float32": "3aba11f92ea96b96",
    "adam gelu float32": "887b47ae70cf52fb",
    "sgd relu float64": "a7b9e68079f616b7",
    "nesterov relu float64": "61fd8d0a7a104c7b",
    "adam relu float64": "cd5659b7f730964e",
    "adam tanh float64": "e05408df12230be1",
    "adam gelu float64": "4eccbe7a324cbd29",
}


def trained(optimizer, dtype, activation="relu", sizes=(6, 9, 4), rows=100, batch=16):
    """The parameters after 20 steps and more on numbers of a linear congruential generator, from given weights."""
    n, m, classes = sizes
    real = np.dtype(dtype)
    net = fb.Sequential(
        fb.Dense(n, m, activation, weight_init=numbers((m, n), real, seed=11)),
        fb.Dropout(0.2),
        fb.Dense(m, classes, weight_init=numbers((classes, m), real, seed=12)),
        dtype=dtype,
        seed=13,
    )
    x = 4 * numbers((rows, n), real, seed=14)
    net.fit(x, np.arange(rows) * 7 % 11 % classes, optimizer=OPTIMIZERS[optimizer], batch_size=batch, epochs=3)
    assert net.history.steps >= 20 or rows > 100
    return hash_of(net)


def hash_of(net):
    """Of weights and biases, layer by layer, each (m, n) in C order: whatever the order in memory."""
    arrays = [array for layer in net.layers if layer.size for array in (layer.weight, layer.bias)]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


def hashes():
    """The hash of every golden run."""
    runs = [*((name, "relu") for name in OPTIMIZERS), ("adam", "tanh"), ("adam", "gelu")]
    return {
        f"{name} {act} {dtype}": trained(name, dtype, act) for dtype in ("float32", "float64") for name, act in runs
    }


def large_hash():
    """Of a network large enough for several threads, and for packed products."""
    return trained("adam", "float32", sizes=(300, 256, 128), rows=300, batch=128)


@needs_fma
def test_whole_training_runs_have_their_golden_bits():
    assert hashes() == GOLDEN


SAME_ELSEWHERE = """
    import json
    import test_reproducibility as t
    from fastbp.compiler.llvm import target_features
    from fastbp.gemm.isa import target_isa
    print(json.dumps([target_isa().name, t.hashes(), t.large_hash()]))
"""


@needs_fma
def test_another_process_gives_the_same_bits(run_python):
    _, small, large = json.loads(run_python(SAME_ELSEWHERE, cache=None).stdout)
    assert small == GOLDEN
    assert large == large_hash()


OTHER_VECTORS = {
    "avx2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
    "fma": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+fma"},  # and no AVX2, as with NUMBA_ENABLE_AVX=0
}


@needs_fma
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="these are for x86")
@pytest.mark.parametrize("name", OTHER_VECTORS)
def test_other_vectors_give_the_same_bits(name, run_python):
    isa, small, large = json.loads(run_python(SAME_ELSEWHERE, cache=None, timeout=300, **OTHER_VECTORS[name]).stdout)
    assert isa == name
    assert small == GOLDEN
    assert large == large_hash()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="these are for x86")
@pytest.mark.parametrize(
    ("cpu", "features", "isa", "arithmetic"),
    [
        ("generic", "", "sse2", "multiply, then add"),
        ("generic", "+fma,-avx", "sse2", "multiply, then add"),  # the one needs the other
        ("generic", "+fma", "fma", "fused multiply-add"),
        ("haswell", "", "fma", "fused multiply-add"),  # by the CPU's name alone
        ("generic", "+avx512f,+avx512vl", "avx512", "fused multiply-add"),
    ],
)
def test_what_the_target_can_do_is_known_however_it_is_said(cpu, features, isa, arithmetic, run_python):
    code = (
        "from fastbp.inspect.versions import versions; print(versions()['instruction set'], versions()['arithmetic'])"
    )
    said = run_python(code, cache=None, NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES=features).stdout
    assert said.startswith(f"{isa} {arithmetic}")


def test_any_number_of_threads_gives_the_same_bits():
    before, found = numba.get_num_threads(), set()
    for threads in (1, 2, 4):
        numba.set_num_threads(threads)
        found.add(large_hash())
    numba.set_num_threads(before)
    assert len(found) == 1


SHARED = {  # runs of networks large enough for a team: (dtype, optimizer, rows of a minibatch)
    "sgd": ("float32", fb.SGD(0.05, weight_decay=0.01), 128),
    "momentum": ("float32", fb.SGD(0.05, momentum=0.9, weight_decay=0.01), 128),
    "adam": ("float32", fb.Adam(0.01), 128),
    "adamw": ("float32", fb.AdamW(0.01, weight_decay=0.1), 128),
    "adam, weight decay, clip_value": ("float32", fb.Adam(0.01, weight_decay=0.1, clip_value=1e-3), 128),
    "clip_norm": ("float32", fb.Adam(0.01, weight_decay=0.1, clip_norm=0.1), 128),
    "blocks of the sum": ("float32", fb.Adam(0.01, weight_decay=0.1), 600),
    "adamw, double": ("float64", fb.AdamW(0.01, weight_decay=0.1, clip_value=1e-3), 128),
    "momentum, double": ("float64", fb.SGD(0.05, momentum=0.9, nesterov=True), 100),
    "blocks of the sum, double": ("float64", fb.SGD(0.05, weight_decay=0.01), 300),
}
SHARED_SIZES = {"even": (300, 256, 128, 10), "odd": (301, 203, 67, 11)}


def shared_network(sizes, dtype):
    n, m, k, classes = sizes
    layers = (fb.Dense(n, m, "relu"), fb.Dropout(0.1), fb.Dense(m, k, "gelu", bias=False), fb.Dense(k, classes))
    return fb.Sequential(*layers, dtype=dtype, seed=3)


def shared_hash(name, sizes, by_hand=False):
    """Of parameters and moments after two minibatches and a smaller one."""
    dtype, optimizer, batch = SHARED[name]
    net, rows = shared_network(SHARED_SIZES[sizes], dtype), 2 * batch + batch // 3
    assert net.sharing.region_for(batch) != 0, "too small for a team"
    x, y = numbers((rows, net.inputs), np.dtype(dtype), seed=14), np.arange(rows) * 7 % 11 % net.outputs
    if by_hand:
        for k in range(0, rows, batch):
            net.backward(fb.losses.softmax_cross_entropy(net.forward(x[k : k + batch]), y[k : k + batch])[1])
            net.step(optimizer)
    else:
        net.fit(x, y, optimizer=optimizer, batch_size=batch, shuffle=False)
    return hashlib.sha256(net.parameters.tobytes() + net.state.moments.tobytes()).hexdigest()[:16]


def shared_hashes(threads):
    """Of all runs with so many threads, fitted and by hand."""
    numba.set_num_threads(threads)
    keys = ((name, sizes, by_hand) for name in SHARED for sizes in SHARED_SIZES for by_hand in (False, True))
    return {f"{name}, {sizes}, {by_hand}": shared_hash(name, sizes, by_hand) for name, sizes, by_hand in keys}


@pytest.fixture
def threads_restored():
    before = numba.get_num_threads()
    yield
    numba.set_num_threads(before)


@pytest.mark.parametrize("sizes", SHARED_SIZES)
@pytest.mark.parametrize("name", SHARED)
@pytest.mark.usefixtures("threads_restored")
def test_a_shared_network_has_the_same_bits_for_any_number_of_threads_fitted_and_by_hand(name, sizes):
    found = {}
    for threads in (1, 2, 3, 4):
        numba.set_num_threads(threads)
        for by_hand in (False, True):
            found[threads, by_hand] = shared_hash(name, sizes, by_hand)
    assert len(set(found.values())) == 1, found


SHARED_ELSEWHERE = """
    import json
    import test_reproducibility as t
    print(json.dumps([t.shared_hashes(threads) for threads in (8, 5)]))
"""


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
@pytest.mark.usefixtures("threads_restored")
def test_more_threads_than_cores_give_the_bits_of_one(layer, run_python):
    settings = {"NUMBA_NUM_THREADS": "8", "NUMBA_THREADING_LAYER": layer}
    expected = shared_hashes(1)
    assert json.loads(run_python(SHARED_ELSEWHERE, cache=None, **settings).stdout) == [expected, expected]


NOISE = """
    import numba, numpy as np, fastbp as fb, hashlib
    from numba import njit

    @njit
    def seed(n):
        np.random.seed(n)

    @njit
    def noisy(x, parameters, out):
        for i in range(x.size):
            out.flat[i] = x.flat[i] + 0.01 * np.random.normal()

    @njit
    def through(delta, x, out, parameters, gradients, delta_x):
        delta_x[:] = delta

    def trained():
        seed(7)
        net = fb.Sequential(fb.Dense(300, 64, "relu"), fb.Custom(64, 64, noisy, through), fb.Dense(64, 10), seed=1)
        x, y = np.random.default_rng(0).standard_normal((1280, 300)).astype(np.float32), np.arange(1280) % 10
        for _ in range(8):
            net.fit(x, y, batch_size=128, shuffle=False)
        return hashlib.sha256(net.parameters.tobytes()).hexdigest()

    found = set()
    for threads in (1, 2, 8):
        numba.set_num_threads(threads)
        found.update(trained() for _ in range(3))
    print(len(found))
"""


def test_random_numbers_of_a_users_operation_are_those_of_the_thread_that_seeded_them(run_python):
    """numba has a generator for each thread: with OpenMP the calling one leads the others, always."""
    settings = {"NUMBA_NUM_THREADS": "8", "NUMBA_THREADING_LAYER": "omp"}
    assert run_python(NOISE, cache=None, **settings).stdout.split() == ["1"]


FOUR_PYTHON_THREADS = """
    from concurrent.futures import ThreadPoolExecutor
    import test_reproducibility as t
    alone = t.large_hash()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: t.large_hash(), range(4)))
    import numba
    print(numba.threading_layer(), found == [alone] * 4, alone)
"""


def test_four_python_threads_under_workqueue_give_the_same_bits(run_python):
    done = run_python(FOUR_PYTHON_THREADS, cache=None, NUMBA_THREADING_LAYER="workqueue")
    assert done.stdout.split() == ["workqueue", "True", large_hash()]


def test_pytorch_comes_to_the_same_network():
    torch = pytest.importorskip("torch")
    net = fb.Sequential(fb.Dense(6, 9, "gelu"), fb.Dense(9, 4), dtype="float64")
    x, y = 4 * numbers((48, 6), np.dtype(np.float64)), np.arange(48) % 4
    model = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.GELU(), torch.nn.Linear(9, 4)).double()
    with torch.no_grad():
        for ours, theirs in ((net.layers[0], model[0]), (net.layers[1], model[2])):
            theirs.weight[:] = torch.from_numpy(ours.weight.copy())
            theirs.bias[:] = torch.from_numpy(ours.bias.copy())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        for k in range(0, 48, 16):
            optimizer.zero_grad()
            xk, yk = torch.from_numpy(x[k : k + 16]), torch.from_numpy(y[k : k + 16])
            torch.nn.functional.cross_entropy(model(xk), yk).backward()
            optimizer.step()
    net.fit(x, y, optimizer=fb.Adam(0.01), batch_size=16, epochs=3, shuffle=False)
    np.testing.assert_allclose(net.predict(x), model(torch.from_numpy(x)).detach().numpy(), rtol=1e-9, atol=1e-10)
