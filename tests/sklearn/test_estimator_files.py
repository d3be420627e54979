"""Estimators in the files of skops and skl2onnx, where they are installed."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastbp as fb
from fastbp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
SHORT = {"max_iter": 5, "random_state": 0}
ESTIMATORS = [
    MLPClassifier((8, 4), ["gelu", "tanh"], dropout=[0.1, 0.0], **SHORT),
    MLPClassifier(early_stopping=True, **SHORT),
    MLPRegressor(solver="lbfgs", **SHORT),
    MLPRegressor(fb.losses.Huber(0.5), solver=fb.SGD(fb.schedules.Cosine(0.1, 3)), **SHORT),
]


@pytest.mark.parametrize("e", ESTIMATORS)
def test_skops_writes_an_estimator_that_trains_on(e):
    skops = pytest.importorskip("skops.io")
    written = skops.dumps(make_pipeline(StandardScaler(), e).fit(X, Y))
    read = skops.loads(written, trusted=skops.get_untrusted_types(data=written))[-1]
    pair = [e.set_params(early_stopping=False), read.set_params(early_stopping=False)]
    x = StandardScaler().fit_transform(X)
    assert np.shares_memory(read.coefs_[0], read.network_.parameters)
    for _ in range(2):
        assert np.array_equal(*(one.predict(x) for one in pair))
        if e.solver != "lbfgs":
            [one.partial_fit(x, Y) for one in pair]


TARGETS = {
    "classes": Y,
    "two classes": Y % 2 == 0,
    "words": np.array(["no", "yes", "perhaps"])[Y],
    "labels": np.eye(3, dtype=int)[Y],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", TARGETS)
def test_skl2onnx_converts_a_classifier(dtype, target):
    convert, runtime = pytest.importorskip("skl2onnx").to_onnx, pytest.importorskip("onnxruntime")
    e = make_pipeline(StandardScaler(), MLPClassifier((8, 4), ["gelu", "logistic"], dropout=0.1, **SHORT))
    x, y = X.astype(dtype), TARGETS[target]
    e.fit(x, y)
    for options in ({}, {"zipmap": False}):
        if options or (target != "labels" and dtype == "float32"):  # the others ONNX Runtime has no maps for
            model = convert(e, x[:1], options={id(e): options} if options else None)
            labels, chances = runtime.InferenceSession(model.SerializeToString()).run(None, {"X": x})
            assert np.array_equal(labels, e.predict(x))
            if not options:
                chances = np.array([list(row.values()) for row in chances])
            np.testing.assert_allclose(chances, e.predict_proba(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_skl2onnx_converts_a_regressor(dtype, loss):
    convert, runtime = pytest.importorskip("skl2onnx").to_onnx, pytest.importorskip("onnxruntime")
    x, y = load_diabetes(return_X_y=True)
    x = x.astype(dtype)
    for targets in (y / 100, np.c_[y, y] / 100):
        e = make_pipeline(StandardScaler(), MLPRegressor(loss, (8,), "mish", **SHORT)).fit(x, targets)
        model = convert(e, x[:1])
        (found,) = runtime.InferenceSession(model.SerializeToString()).run(None, {"X": x})
        np.testing.assert_allclose(found.reshape(targets.shape), e.predict(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", ["fastbp.sklearn, skl2onnx", "skl2onnx, fastbp.sklearn"])
def test_the_converters_are_there_whichever_is_imported_first(order):
    pytest.importorskip("skl2onnx")
    known = "skl2onnx._supported_operators.sklearn_operator_name_map"
    code = f"import {order}; print(fastbp.sklearn.MLPRegressor in {known})"
    found = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)
    assert found.stdout == "True\n"
