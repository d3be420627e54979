"""JAX: all the steps of an epoch as one compiled program, a scan; the updates by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp.bench.contenders import ADAM, Contender
from fastbp.bench.workload import Parameters, Workload


def scan(work: Workload, parameters: Parameters, x: np.ndarray, y: np.ndarray) -> Contender:
    import jax

    jax.config.update("jax_enable_x64", work.dtype == "float64")
    update = {"sgd": sgd, "adam": adam}[work.optimizer]
    gradients = jax.grad(cost_of(work))

    def step(state: Any, batch: Any) -> tuple[Any, None]:
        return update(state, gradients(state[0], *batch), work.learning_rate), None

    epoch = jax.jit(lambda state, *batches: jax.lax.scan(step, state, batches)[0], donate_argnums=0)
    batches = [jax.numpy.array(a.reshape(work.steps, work.batch_size, *a.shape[1:])) for a in (x, y)]
    start = jax.tree.map(jax.numpy.array, parameters)
    zeros = [jax.tree.map(jax.numpy.zeros_like, start) for _ in range(2)]
    state = [(start, *zeros, jax.numpy.zeros((), work.dtype)) if work.optimizer == "adam" else (start,)]

    def run() -> None:
        state[0] = jax.block_until_ready(epoch(state[0], *batches))

    return Contender(run, lambda: jax.tree.map(np.array, state[0][0]))


def cost_of(work: Workload) -> Any:
    """Return the function cost(parameters, x, y), the mean over the rows."""
    import jax

    activation = {"relu": jax.nn.relu, "tanh": jax.numpy.tanh, "sigmoid": jax.nn.sigmoid}[work.activation]

    def cost(parameters: Any, a: Any, y: Any) -> Any:
        *hidden, (weight, bias) = parameters
        for w, b in hidden:
            a = activation(a @ w.T + b)
        logs = jax.nn.log_softmax(a @ weight.T + bias)
        return -jax.numpy.take_along_axis(logs, y[:, None], axis=1).mean()

    return cost


def sgd(state: Any, gradients: Any, rate: float) -> Any:
    import jax

    return (jax.tree.map(lambda p, g: p - rate * g, state[0], gradients),)


def adam(state: Any, gradients: Any, rate: float) -> Any:
    import jax

    beta1, beta2, epsilon = ADAM.values()
    parameters, m, v, step = state
    step = step + 1
    m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, gradients)
    v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, gradients)
    rate, correction = rate / (1 - beta1**step), 1 - beta2**step
    parameters = jax.tree.map(
        lambda p, m, v: p - rate * m / (jax.numpy.sqrt(v / correction) + epsilon), parameters, m, v
    )
    return parameters, m, v, step
