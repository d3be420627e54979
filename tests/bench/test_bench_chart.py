"""The chart shows every figure, in its place."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fastbp.bench.chart import STYLES, chart, require_matplotlib
from fastbp.bench.contenders import LIBRARIES

pytest.importorskip("matplotlib")


def test_dots(found):
    axes = chart(found).axes[0]
    dots = {points.get_label(): np.asarray(points.get_offsets()).tolist() for points in axes.collections}
    assert dots == {
        "limit: the FMA peak": [[1e-6, 0], [1e-3, 1]],
        "fastbp": [[4e-6, 0], [1.25e-3, 1]],
        "NumPy": [[32e-6, 0], [2.5e-3, 1]],
        "scikit-learn": [[4e-3, 1]],
        "PyTorch": [[100e-6, 0]],
    }
    assert axes.get_xscale() == "log"


def test_words(found):
    figure = chart(found)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["4-8-2\n32 rows", "784-512-10\n128 rows"]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["4.00 µs", "1,250 µs", "Abacus 9, 2 threads, FMA peak 190 GFLOP/s float32"]
    assert axes.get_title(loc="left") == "One step of training: relu, sgd, float32"


def test_file(found, tmp_path):
    chart(found).savefig(tmp_path / "bench.png")
    data = (tmp_path / "bench.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert int.from_bytes(data[16:20], "big") == 1000  # pixels wide


def test_everybody_has_a_style_of_their_own():
    assert set(STYLES) == set(LIBRARIES)
    assert len({color for color, _ in STYLES.values()}) == len({marker for _, marker in STYLES.values()}) == len(STYLES)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbp\[plot\]'"):
        require_matplotlib("bench.png")


@pytest.mark.parametrize("path", ["bench.txt", "bench"])
def test_files_that_matplotlib_does_not_write(path):
    with pytest.raises(ValueError, match=rf"^--plot: got '{path}', expected a file that ends with one of .*png"):
        require_matplotlib(path)
