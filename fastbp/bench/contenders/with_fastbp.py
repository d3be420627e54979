"""fastbp: `Sequential.fit`."""

from __future__ import annotations

import numpy as np

import fastbp as fb
from fastbp.bench.contenders import ADAM, Contender
from fastbp.bench.workload import Parameters, Workload


def fit(work: Workload, parameters: Parameters, x: np.ndarray, y: np.ndarray) -> Contender:
    activations = [work.activation] * (len(parameters) - 1) + ["identity"]
    layers = [
        fb.Dense(weight.shape[1], len(bias), activation, weight_init=weight, bias_init=bias)
        for activation, (weight, bias) in zip(activations, parameters, strict=True)
    ]
    net = fb.Sequential(*layers, dtype=work.dtype)
    optimizer = fb.SGD(work.learning_rate) if work.optimizer == "sgd" else fb.Adam(work.learning_rate, **ADAM)

    def run() -> None:
        net.fit(
            x, y, loss="softmax_cross_entropy", optimizer=optimizer, batch_size=work.batch_size, epochs=1, shuffle=False,
            progress=False,
        )  # fmt: skip

    return Contender(run, lambda: [(np.array(layer.weight), np.array(layer.bias)) for layer in layers])
