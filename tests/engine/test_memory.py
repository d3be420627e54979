"""Memory: a step allocates nothing, nothing compiles twice, buffers lie apart, data of any form are converted."""

from itertools import pairwise

import numpy as np
import pytest
from reference import LAYOUTS, numbers

import fastbp as fb
from fastbp.compiler import code
from fastbp.engine.table import OPERATION

X, Y = numbers((20, 6), np.dtype(np.float32)), np.arange(20) % 3


def network(*widths, dtype="float32", activation="tanh"):
    sizes = (6, *widths)
    hidden = [fb.Dense(n, m, activation) for n, m in pairwise(sizes)]
    return fb.Sequential(*hidden, fb.Dropout(0.2), fb.Dense(sizes[-1], 3), dtype=dtype)


STEPS = """
    import numpy as np, fastbp as fb
    from numba import njit
    from numba.core.runtime import rtsys
    from fastbp import engine

    @njit
    def loop(training, x, y, steps):
        for _ in range(steps):
            engine.train_step(training, x, y)

    def allocations():
        return rtsys.get_allocation_stats().alloc

    x = np.linspace(-1, 1, 32 * {inputs}, dtype=np.float32).reshape(32, {inputs}).astype(np.{dtype})
    net = fb.Sequential(fb.Dense({inputs}, {hidden}, "gelu"), fb.Dropout(0.1), fb.Dense({hidden}, 3))
    training, y = net.training("softmax_cross_entropy", fb.Adam(clip_norm=1.0), 32), np.arange(32) % 3
    loop(training, x, y, 1)
    counts = []
    for steps in (10, 1000):
        before = allocations()
        loop(training, x, y, steps)
        counts.append(allocations() - before)
    print(*counts)
"""


@pytest.mark.parametrize(("inputs", "hidden", "dtype"), [(6, 5, "float32"), (6, 5, "float64"), (200, 120, "float32")])
def test_a_step_allocates_nothing(run_python, inputs, hidden, dtype):
    code = STEPS.format(inputs=inputs, hidden=hidden, dtype=dtype)
    ten, thousand = map(int, run_python(code, cache=None, NUMBA_NRT_STATS="1").stdout.split())
    assert ten == thousand


@pytest.fixture
def compilations(monkeypatch):
    """The codes that were compiled, or loaded, since the test began."""
    found, compile_one = [], code.Code._compile

    def counted(code):
        found.append(code.place)
        compile_one(code)

    monkeypatch.setattr(code.Code, "_compile", counted)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_compiles_in_the_second_fit(compilations, dtype):
    net = network(5, dtype=dtype)
    for _ in range(2):
        compilations.clear()
        net.fit(X, Y, batch_size=8, validation_data=(X, Y), metrics=("accuracy",))
    assert compilations == []


def test_nothing_compiles_for_a_new_architecture_of_known_operations(compilations):
    network(5).fit(X, Y)
    compilations.clear()
    net = network(9, 4, 17)
    net.fit(X, Y, batch_size=7, epochs=2, sample_weight=np.ones(20), shuffle=False)
    net.evaluate(X, Y)
    net.predict(X)
    assert compilations == []


def test_only_what_a_network_uses_gets_compiled(run_python):
    code = """
        import fastbp as fb
        from fastbp.kernels.activation_passes import forward_pass
        fb.Sequential(fb.Dense(2, 3, "tanh"), fb.Dense(3, 2)).predict([[1.0, 2.0]])
        print([name for name in fb.activations.names if forward_pass.of("float32", name).compiled is not None])
    """
    assert run_python(code, cache=None).stdout == "['identity', 'tanh']\n"


FORMS = {
    "uint8": lambda x: (200 * np.abs(x)).astype(np.uint8),
    "int16": lambda x: (2000 * x).astype(np.int16),
    "int64": lambda x: (2000 * x).astype(np.int64),
    "bool": lambda x: x > 0,
    "float64": lambda x: x.astype(np.float64) * (1 + 1e-9),
    "float16": lambda x: x.astype(np.float16),
    "longdouble": lambda x: x.astype(np.longdouble),
    "big-endian float32": lambda x: x.astype(">f4"),
    "big-endian int32": lambda x: (2000 * x).astype(">i4"),
    "list": lambda x: x.tolist(),
    **LAYOUTS,
}


def all_results(x):
    """What a network makes of x, by all methods."""
    net = network(5)
    cost = net.fit(x, Y, batch_size=8, epochs=2).cost
    outputs = net.predict(x), net.forward(x), net.parameters
    return [cost, net.evaluate(x, Y), *(output.tobytes() for output in outputs)]


@pytest.mark.parametrize("form", FORMS)
def test_data_of_any_form_train_and_predict_as_their_float32(form, compilations):
    x = FORMS[form](X)
    converted = np.ascontiguousarray(x, dtype=np.float32)
    expected = all_results(converted)
    compilations.clear()
    assert all_results(x) == expected
    assert compilations == []


@pytest.mark.parametrize(
    "dtype", ["bool", ">i4", "float64", "float16", *(f"{s}int{b}" for s in "u " for b in (8, 16, 32, 64))]
)
def test_labels_of_any_dtype_train_alike(dtype):
    labels = Y % 2
    one, other = network(5), network(5)
    one.fit(X, labels, batch_size=8)
    other.fit(X, labels.astype(dtype.strip()), batch_size=8)
    assert one.parameters.tobytes() == other.parameters.tobytes()


def test_inputs_are_left_as_they_were():
    x, y, w = X.copy(), Y.copy(), np.linspace(0, 1, 20)
    network(5).fit(x, y, sample_weight=w, validation_data=(x, y), metrics=("accuracy",))
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(w, np.linspace(0, 1, 20))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_buffers_begin_at_cache_lines_lie_in_the_workspace_and_do_not_overlap(dtype):
    net, rows = network(5, 17, dtype=dtype, activation="gelu"), 9
    training = net.training("softmax_cross_entropy", "adam", rows)
    low = training.workspace.ctypes.data
    extents = set()
    for operation in training.operations:
        for name in ("output", "z", "delta", "input_delta"):
            address, stride = operation[OPERATION[name] // 8], operation[OPERATION[f"{name}_stride"] // 8]
            if address:
                extents.add((int(address), int(address + rows * stride)))
    spans = sorted(extents)
    assert all(first % 64 == 0 for first, _ in spans)
    assert low <= spans[0][0]
    assert spans[-1][1] <= low + training.workspace.nbytes
    assert all(end <= following for (_, end), (following, _) in pairwise(spans))
