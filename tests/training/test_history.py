import sys

import numpy as np
import pytest

import fastbp as fb
from fastbp.training.history import History

FULL = History([3.0, 2.0], [4.0, 3.5], {"accuracy": [0.5, 0.75]}, [0.1, 0.05], [0.25, 0.5], steps=20)


def test_arrays_hold_what_was_measured():
    arrays = FULL.arrays()
    assert list(arrays) == ["cost", "validation_cost", "accuracy", "learning_rate", "seconds"]
    assert all(array.dtype == np.float64 for array in arrays.values())
    assert arrays["accuracy"].tolist() == [0.5, 0.75]
    assert list(History([1.0]).arrays()) == ["cost"]
    assert History().arrays() == {}


def test_a_frame_counts_epochs_from_1():
    pytest.importorskip("pandas")
    frame = FULL.to_frame()
    assert frame.index.tolist() == [1, 2]
    assert frame.index.name == "epoch"
    assert {name: frame[name].tolist() for name in frame} == {k: v.tolist() for k, v in FULL.arrays().items()}
    assert len(History().to_frame()) == 0


def test_a_frame_of_an_interrupted_fit_lacks_what_was_not_measured():
    pytest.importorskip("pandas")
    frame = History([3.0, 2.0], [4.0], {}, [0.1, 0.1], [1.0, 1.0]).to_frame()
    assert np.isnan(frame["validation_cost"].loc[2])
    assert frame["cost"].tolist() == [3.0, 2.0]


def test_without_pandas_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbp\[pandas\]'"):
        FULL.to_frame()


def test_it_prints_as_a_table():
    lines = str(FULL).splitlines()
    assert lines[0] == "2 epochs, 20 steps"
    assert lines[2].split() == ["epoch", "cost", "validation_cost", "accuracy", "learning_rate", "seconds"]
    assert [line.split() for line in lines[3:]] == [
        ["1", "3", "4", "0.5", "0.1", "0.25"], ["2", "2", "3.5", "0.75", "0.05", "0.5"],
    ]  # fmt: skip
    assert repr(FULL) == str(FULL)
    assert str(History()) == "0 epochs, 0 steps\n\nepoch"


def test_a_long_fit_prints_its_first_and_last_epochs():
    history = History([float(i) for i in range(1, 1001)], steps=1000)
    lines = str(history).splitlines()
    assert [line.split() for line in lines[3:]] == [
        *[[str(i)] * 2 for i in range(1, 6)], ["...", "..."], *[[str(i)] * 2 for i in range(996, 1001)],
    ]  # fmt: skip


def test_an_interrupted_fit_prints_what_was_measured():
    assert str(History([3.0, 2.0], [4.0])).splitlines()[-1].split() == ["2", "2"]


def test_a_notebook_shows_the_same_table():
    shown = FULL._repr_html_()
    cells = [text.split("<")[0] for text in shown.split(">") if text.split("<")[0]]
    assert cells == [FULL._caption(), *" ".join(str(FULL).splitlines()[2:]).split()]
    assert "<script" not in History([1.0], metrics={"<script>": [1.0]})._repr_html_()


def test_it_is_what_fit_returns():
    net = fb.Sequential(fb.Dense(2, 2))
    history = net.fit(np.eye(2), [0, 1], epochs=3)
    assert isinstance(history, fb.History)
    assert history is net.history
    assert len(history.arrays()["cost"]) == 3
