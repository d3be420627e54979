"""Memory-mapped arrays: the same bits as from memory, in a memory that does not hold them."""

import sys

import numpy as np
import pytest

import fastbp as fb
from fastbp.data import mapped

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def stored(tmp_path):
    """stored(x, mode): x as a mapped file."""

    def store(x, mode="r"):
        np.save(tmp_path / "x.npy", x)
        return np.load(tmp_path / "x.npy", mmap_mode=mode)

    return store


X = np.random.default_rng(0).standard_normal((500, 20)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def test_views_of_a_mapped_file_are_known(stored):
    x = stored(X)
    assert all(mapped.file_of(view) is not None for view in (x, np.asarray(x), x[3:, ::2], np.asarray(x).T[::-1]))
    assert mapped.file_of(X) is None
    assert mapped.file_of(np.array(x)) is None


def test_pages_with_changes_that_no_file_has_are_kept(stored):
    x = stored(X, "c")
    x[:] = 7
    mapped.give_back(x)
    assert (x == 7).all()


@pytest.mark.parametrize("rows", [slice(None), slice(10, 400, 3), slice(None, None, -1)])
def test_what_is_given_back_is_there_again(stored, rows):
    x = stored(X, "r+")
    x[:] = 7
    mapped.give_back(x[rows])
    mapped.give_back(np.asarray(x).T, 3, 5)
    assert (x == 7).all()


def test_the_span_of_an_array_is_that_of_its_elements():
    x = np.zeros((6, 8))
    start = x.ctypes.data
    assert mapped.span(x) == (start, start + x.nbytes)
    assert mapped.span(x[1:3, ::-2]) == (start + 8 * 9, start + 8 * (8 + 16))


@pytest.mark.parametrize("shuffle", [False, True])
def test_training_has_the_same_bits(stored, monkeypatch, shuffle):
    monkeypatch.setattr(mapped, "RESIDENT_BYTES", 5000)  # so that every call is followed by giving back
    x, calls = stored(X), []
    give_back = mapped.give_back
    monkeypatch.setattr(mapped, "give_back", lambda *args: [calls.append(args), give_back(*args)])
    net, twin = (fb.Sequential(fb.Dense(20, 8, "relu"), fb.Dense(8, 2)) for _ in range(2))
    net.fit(x, Y, epochs=3, shuffle=shuffle, validation_data=(x, Y))
    twin.fit(X, Y, epochs=3, shuffle=shuffle, validation_data=(X, Y))
    assert net.parameters.tobytes() == twin.parameters.tobytes()
    assert net.history.validation_cost == twin.history.validation_cost
    assert len(calls) >= 3 * len(X) // 64


FITS = """
    import numpy as np, resource, fastbp as fb
    rows = {rows}
    for name, size in (("x", rows * 1000), ("y", rows * 50)):
        open(f"{folder}/{{name}}", "wb").truncate(4 * size)
    x = np.memmap("{folder}/x", np.float32, "r", shape=(rows, 1000))
    y = np.memmap("{folder}/y", np.float32, "r", shape=(rows, 50))
    net = fb.Sequential(fb.Dense(1000, 50))

    def resident():
        status = open("/proc/self/status").read()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def train(x, y):
        net.fit(x, y, loss="mean_squared_error", batch_size=100, shuffle={shuffle}, validation_data=(x, y))

    train(np.zeros((200, 1000)), np.zeros((200, 50)))  # loads the compiled code
    before = resident()
    train(x, y)
    net.predict(x[: rows // 2])
    print(resident() - before, x.nbytes)
"""


@linux
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_file_is_not_loaded(run_python, tmp_path, shuffle):
    done = run_python(FITS.format(folder=tmp_path, rows=120_000, shuffle=shuffle), cache=None)
    grown, size = map(int, done.stdout.split())
    assert size == 480_000_000
    assert grown < size / 2
