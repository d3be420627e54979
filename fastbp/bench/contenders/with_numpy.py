"""NumPy: the equations of a minibatch as products of matrices, the update on flat vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastbp.bench.contenders import ADAM, Contender
from fastbp.bench.workload import Parameters, Workload

ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {  # functions of z, and their derivatives from the output a
    "relu": (lambda z: np.maximum(z, 0, out=z), lambda a: a > 0),
    "tanh": (lambda z: np.tanh(z, out=z), lambda a: 1 - a * a),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
}


def minibatches(work: Workload, parameters: Parameters, x: np.ndarray, y: np.ndarray) -> Contender:
    layers, vector = in_one_vector(parameters)
    gradients, gradient = in_one_vector(parameters)
    update = UPDATES[work.optimizer](vector, gradient, work.learning_rate)
    activate, derivative = ACTIVATIONS[work.activation]
    rows = np.arange(work.batch_size)

    def step(a: np.ndarray, labels: np.ndarray) -> None:
        stack = [a]
        for weight, bias in layers:
            z = stack[-1] @ weight.T
            z += bias
            stack.append(activate(z) if len(stack) < len(layers) else z)
        delta = softmax(stack.pop())
        delta[rows, labels] -= 1
        delta /= work.batch_size
        for (weight, _), (grad_w, grad_b), a in zip(layers[::-1], gradients[::-1], stack[::-1], strict=True):
            np.matmul(delta.T, a, out=grad_w)
            np.sum(delta, axis=0, out=grad_b)
            if weight is not layers[0][0]:
                delta = delta @ weight
                delta *= derivative(a)
        update()

    def run() -> None:
        for first in range(0, len(x), work.batch_size):
            step(x[first : first + work.batch_size], y[first : first + work.batch_size])

    return Contender(run, lambda: [(weight.copy(), bias.copy()) for weight, bias in layers])


def in_one_vector(parameters: Parameters) -> tuple[Parameters, np.ndarray]:
    """Return a copy of the parameters as views of one vector, and that vector."""
    arrays = [array for layer in parameters for array in layer]
    vector = np.concatenate([array.ravel() for array in arrays])
    pieces = np.split(vector, np.cumsum([array.size for array in arrays])[:-1])
    views = [piece.reshape(array.shape) for piece, array in zip(pieces, arrays, strict=True)]
    return list(zip(views[::2], views[1::2], strict=True)), vector


def softmax(z: np.ndarray) -> np.ndarray:
    """Replace each row of z by its softmax; returns z."""
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z


def sgd(vector: np.ndarray, gradient: np.ndarray, rate: float) -> Callable[[], None]:
    def update() -> None:
        np.multiply(gradient, rate, out=gradient)
        np.subtract(vector, gradient, out=vector)

    return update


def adam(vector: np.ndarray, gradient: np.ndarray, rate: float) -> Callable[[], None]:
    m, v, powers = np.zeros_like(vector), np.zeros_like(vector), [1.0, 1.0]
    beta1, beta2, epsilon = ADAM.values()

    def update() -> None:
        powers[:] = powers[0] * beta1, powers[1] * beta2
        m[:] = beta1 * m + (1 - beta1) * gradient
        v[:] = beta2 * v + (1 - beta2) * gradient * gradient
        vector[:] -= rate / (1 - powers[0]) * m / (np.sqrt(v / (1 - powers[1])) + epsilon)

    return update


UPDATES = {"sgd": sgd, "adam": adam}
