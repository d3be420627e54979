"""Fills the compiler's cache ahead of time: for containers, and for users who would rather wait once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from fastbp import engine, kernels
from fastbp.activations import Activation
from fastbp.compiler.jit import compile_for_callers
from fastbp.engine.cost_gradient import gradient_slice
from fastbp.engine.memory import Training
from fastbp.engine.sparse_rows import predict_sparse, sparse_forward
from fastbp.engine.step_paths import sharing
from fastbp.gemm import peak
from fastbp.gemm.path import tell
from fastbp.kernels.activation_passes import backward_pass, forward_pass
from fastbp.kernels.loss_formulas import COSTS, cost
from fastbp.kernels.update_rules import rule_constants, update, update_pass
from fastbp.layers import Dense, Dropout, Scale
from fastbp.optimizers import Adam
from fastbp.sequential import Sequential
from fastbp.training.many import fit_many


def compile_all(dtypes: Iterable[str] = ("float32", "float64"), report: Callable[[str], None] | None = None) -> None:
    """Compile, or load, all that training and prediction need on this CPU.

    That is all operations of the table, and kernels and verbs as Python calls them, with arrays of any strides, and as compiled
    code does, with arrays in C order.
    """
    for dtype in dtypes:
        for name, fill in PARTS.items():
            began = time.perf_counter()
            fill(dtype)
            if report is not None:
                report(f"{dtype} {name}: {time.perf_counter() - began:.1f} s")


def compile_operations(dtype: str) -> None:
    """Compile what methods of networks need."""
    for family in (cost, forward_pass, backward_pass, update, update_pass, rule_constants):
        family.of(dtype).resolve()
    for code in (gradient_slice, sparse_forward, predict_sparse):
        code.of(dtype).resolve()
    every_layer = Sequential(Dense(2, 2), Scale(), Dropout(0.5), dtype=dtype)
    every_layer.workspaces.make(1, stores=True)
    net, x, y = small_problem(dtype)
    net.fit(x, y, optimizer=Adam(clip_norm=1.0), epochs=1, validation_data=(x, y), metrics=("accuracy",))
    fit_many([net], x, y)
    net.backward(net.forward(x))
    net.step(Adam())
    for x_dtype in ("float32", "float64"):
        net.predict(x.astype(x_dtype))


def compile_kernels(dtype: str) -> None:
    """Compile the raw kernels, parallel and serial."""
    for module in (kernels, kernels.serial):
        call_both_ways(module, kernel_calls(dtype))
        for name, (z, y), _ in cost_calls(dtype):
            getattr(module, name)(z, y, None, np.ones(2, dtype))
        call_both_ways(module, cost_calls(dtype))


def compile_verbs(dtype: str) -> None:
    """Compile the verbs of `engine`, parallel and serial."""
    net, x, y = small_problem(dtype)
    training = net.training("softmax_cross_entropy", Adam(), 2)
    other = x.astype("float64" if dtype == "float32" else "float32")
    for module in (engine, engine.serial):
        call_both_ways(module, verb_calls(training, x, y))
        for verb in (module.forward, module.predict):
            verb(training, other)
        for verb in (module.train_step, module.train_epoch, module.evaluate):
            verb(training, other, y)


def call_both_ways(module: Any, calls: Iterable[tuple]) -> None:
    """Call kernels or verbs from Python, and compile them as compiled code would call them."""
    for name, arguments, *optional in calls:
        for count in range(len(optional) + 1):
            function, given = getattr(module, name), (*arguments, *optional[:count])
            function(*given)
            compile_for_callers(function, given)


def kernel_calls(dtype: str) -> Iterator[tuple]:
    """Yield for each kernel but the costs its name, the arguments that must be given, and those that may be."""
    a, w, b, delta, vector = (np.zeros(shape, dtype) for shape in ((2, 3), (4, 3), 4, (2, 4), 4))
    out, z = np.zeros((2, 4), dtype), np.zeros((2, 4), dtype)
    relu = Activation.RELU
    yield "dense_forward", (a, w, b, relu), out, z
    yield "dense_forward", (a, w, None, relu), out
    yield "propagate_delta", (delta, w, a, relu), np.zeros((2, 3), dtype)
    yield "weight_gradient", (delta, a), np.zeros((4, 3), dtype), False
    yield "bias_gradient", (delta,), np.zeros(4, dtype), False
    yield "activate", (delta, relu), out
    yield "activation_delta", (delta, z, relu), out
    yield "softmax", (delta,), out
    moments = [np.zeros(4, dtype) for _ in range(2)]
    yield "sgd_step", (b, vector, 0.1)
    for name in ("momentum_step", "rmsprop_step", "adagrad_step"):
        yield name, (b, vector, moments[0], 0.1)
    for name in ("adam_step", "adamw_step"):
        yield name, (b, vector, *moments, 1, 0.1)
    for name in ("clip_by_norm", "clip_by_value"):
        yield name, (vector, 1.0)


def cost_calls(dtype: str) -> Iterator[tuple]:
    """Yield the same for each cost and kind of y."""
    z, targets, out = np.full((2, 4), 0.25, dtype), np.full((2, 4), 0.25, dtype), np.zeros((2, 4), dtype)
    labels = np.zeros(2, np.int64)
    for name in COSTS:
        yield name, (z, targets), out
    for name in ("softmax_cross_entropy", "negative_log_likelihood"):
        yield name, (z, labels), out


def verb_calls(training: Training, x: np.ndarray, labels: np.ndarray) -> Iterator[tuple]:
    """Yield the same for each verb."""
    output = np.zeros((2, 3), x.dtype)
    yield "predict", (training, x), output
    for y in (labels, np.eye(2, 3, dtype=x.dtype)):
        yield "train_step", (training, x, y), np.ones(2, x.dtype)
        yield "train_epoch", (training, x, y), np.arange(2)
        yield "evaluate", (training, x, y), np.ones(2, x.dtype)
    yield "forward", (training, x), output
    yield "backward", (training, output), np.zeros_like(x)
    yield "step", (training,)


def compile_measures(dtype: str) -> None:
    """Compile what `explain` and `bench` measure the machine with, and what tells how the code computes."""
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
