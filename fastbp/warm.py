"""Fills the compiler's cache ahead of time: for containers, and for those who would rather wait once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from fastbp import engine, kernels
from fastbp.activations import Activation
from fastbp.engine.dropout import dropout_backward, dropout_forward
from fastbp.engine.gradient import gradient_slice
from fastbp.engine.paths import sharing
from fastbp.engine.sparse_rows import predict_sparse, sparse_forward
from fastbp.gemm import peak
from fastbp.gemm.path import tell
from fastbp.kernels.costs import COSTS, cost
from fastbp.kernels.updates import RULES, update
from fastbp.layers import Dense
from fastbp.many import fit_many
from fastbp.model import Sequential
from fastbp.optimizers import Adam


def compile_all(dtypes: Iterable[str] = ("float32", "float64"), report: Callable[[str], None] | None = None) -> None:
    """Compile, or load, all operations of the table and the raw kernels for C-ordered arrays, on this CPU."""
    for dtype in dtypes:
        for name, fill in PARTS.items():
            began = time.perf_counter()
            fill(dtype)
            if report is not None:
                report(f"{dtype} {name}: {time.perf_counter() - began:.1f} s")


def compile_operations(dtype: str) -> None:
    """Whatever `fit` may need."""
    for name in COSTS:
        cost.of(dtype, name).resolve()
    for rule in RULES:
        update.of(dtype, rule).resolve()
    for code in (dropout_forward, dropout_backward, gradient_slice, sparse_forward, predict_sparse):
        code.of(dtype).resolve()
    net, x, y = small_problem(dtype)
    net.fit(x, y, optimizer=Adam(), epochs=1, validation_data=(x, y), metrics=("accuracy",))
    fit_many([net], x, y)
    net.backward(net.forward(x))
    net.step(Adam())
    for x_dtype in ("float32", "float64"):
        net.predict(x.astype(x_dtype))


def compile_kernels(dtype: str) -> None:
    """The raw kernels with all arguments given as C-ordered arrays; any call compiles the activations."""
    for module in (kernels, kernels.serial):
        a, w, b = np.zeros((2, 3), dtype), np.zeros((4, 3), dtype), np.zeros(4, dtype)
        delta, stored = module.dense_forward(a, w, b, Activation.RELU, np.zeros((2, 4), dtype)), a
        module.propagate_delta(delta, w, stored, Activation.RELU, np.zeros((2, 3), dtype))
        module.weight_gradient(delta, a, w)
        module.bias_gradient(delta, b)
        module.activate(delta, Activation.RELU, delta)
        module.activation_delta(delta, np.zeros((2, 4), dtype), Activation.RELU, delta)
        module.softmax_cross_entropy(delta, np.zeros(2, np.int64), np.zeros((2, 4), dtype))
        module.sgd_step(b, np.zeros(4, dtype), 0.1)


def compile_verbs(dtype: str) -> None:
    """The verbs of the engine, called with a NamedTuple of C-ordered arrays and int64 labels."""
    net, x, y = small_problem(dtype)
    training = net.training("softmax_cross_entropy", Adam(), 2)
    for module in (engine, engine.serial):
        module.train_step(training, x, y)
        module.train_epoch(training, x, y)
        module.evaluate(training, x, y)
        module.predict(training, x)
        module.backward(training, module.forward(training, x))
        module.step(training)


def compile_measures(dtype: str) -> None:
    """What `explain` and `bench` measure the machine with, and ask the code how it computes."""
    for code in (sharing, peak.timed_runs, peak.burst, peak.ticks_now):
        code.of().resolve()
    for per_dtype in (tell, peak.multiply_adds, peak.reads):
        per_dtype.of(dtype).resolve()


def small_problem(dtype: str) -> tuple[Sequential, np.ndarray, np.ndarray]:
    net = Sequential(Dense(2, 4, activation="relu"), Dense(4, 3), dtype=dtype)
    return net, np.zeros((2, 2), dtype), np.zeros(2, np.int64)


PARTS = {
    "operations": compile_operations, "kernels": compile_kernels, "verbs": compile_verbs, "measures": compile_measures,
}  # fmt: skip
