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
from fastbp._llvm import has_fma

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
    from fastbp._llvm import target_features
    from fastbp.gemm.isa import target_isa
    print(json.dumps([target_isa().name, t.hashes(), t.large_hash()]))
"""


@needs_fma
def test_another_process_gives_the_same_bits(run_python):
    _, small, large = json.loads(run_python(SAME_ELSEWHERE, cache=None).stdout)
    assert small == GOLDEN
    assert large == large_hash()


@needs_fma
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="AVX2 is for x86")
def test_avx2_gives_the_bits_of_any_other_vectors(run_python):
    haswell = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}
    isa, small, large = json.loads(run_python(SAME_ELSEWHERE, cache=None, **haswell).stdout)
    assert "avx2" in isa.lower()
    assert small == GOLDEN
    assert large == large_hash()


def test_any_number_of_threads_gives_the_same_bits():
    before, found = numba.get_num_threads(), set()
    for threads in (1, 2, 4):
        numba.set_num_threads(threads)
        found.add(large_hash())
    numba.set_num_threads(before)
    assert len(found) == 1


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
