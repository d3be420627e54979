"""Compiling ahead: whatever a fit or a kernel of that dtype needs is compiled then, and said."""

import numpy as np

import fastbp as fb
from fastbp import _code, trial, warm


def test_after_it_nothing_compiles(monkeypatch):
    said, compiled = [], []
    warm.compile_all(("float32",), report=said.append)
    parts = ["operations", "kernels", "verbs", "measures"]
    assert [line.split(":")[0] for line in said] == [f"float32 {part}" for part in parts]
    compile_one = _code.Code._compile
    monkeypatch.setattr(_code.Code, "_compile", lambda self: (compiled.append(self.place), compile_one(self)))
    net = fb.Sequential(fb.Dense(3, 5, "mish"), fb.Dropout(0.1), fb.Dense(5, 2))
    x, y = np.ones((8, 3), np.float32), np.arange(8) % 2
    net.fit(x, y, optimizer=fb.RMSprop(), epochs=1, validation_data=(x, y))
    fb.fit_many([net], x, y, validation_data=(x, y))
    monkeypatch.setattr(trial, "SECONDS", 0.0)
    net.explain(8)
    fb.kernels.huber(np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32))
    assert [place for place in compiled if place[0] != "fastbp.kernels.losses"] == []
