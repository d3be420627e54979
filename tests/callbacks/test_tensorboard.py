import sys

import numpy as np
import pytest

import fastbp as fb

X, Y = np.eye(4), [0, 1, 0, 1]


def scalars(folder):
    """Every (name, step) -> value in the event files of a folder; later ones overwrite earlier ones."""
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto import event_pb2

    found = {}
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            found.update({(value.tag, event.step): value.simple_value for value in event.summary.value})
            at += 16 + length
    return found


def test_it_writes_every_epoch(tmp_path):
    pytest.importorskip("tensorboardX")
    net = fb.Sequential(fb.Dense(4, 2))
    board = fb.TensorBoard(tmp_path / "run")
    history = net.fit(X, Y, epochs=3, validation_data=(X, Y), metrics="accuracy", callbacks=board)
    expected = {
        "cost/training": history.cost, "cost/validation": history.validation_cost,
        "metrics/accuracy": history.metrics["accuracy"], "learning_rate": history.learning_rate,
    }  # fmt: skip
    assert scalars(tmp_path / "run") == {
        (name, step): np.float32(value) for name, values in expected.items() for step, value in enumerate(values, 1)
    }


def test_without_tensorboardx_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    net = fb.Sequential(fb.Dense(4, 2))
    with pytest.raises(ImportError, match=r"pip install 'fastbp\[tensorboard\]'"):
        net.fit(X, Y, callbacks=fb.TensorBoard(tmp_path))
    assert net.history is None


@pytest.mark.parametrize("folder", ["file", "file/run"])
def test_a_folder_that_cannot_be_is_refused_before_anything_changes(tmp_path, folder):
    pytest.importorskip("tensorboardX")
    (tmp_path / "file").write_bytes(b"")
    net = fb.Sequential(fb.Dense(4, 2))
    history, before = net.fit(X, Y), net.parameters.copy()
    with pytest.raises(OSError, match=r"folder: got .*, expected a folder that can be made and written to"):
        net.fit(X, Y, callbacks=fb.TensorBoard(tmp_path / folder))
    assert net.history is history
    np.testing.assert_array_equal(net.parameters, before)
