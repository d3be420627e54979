"""What a user defines in a module of their own, and pickles name: activations, costs, layers, callbacks, metrics."""

from dataclasses import dataclass

import numpy as np
from numba import njit

import fastbp as fb


@njit
def bent(z):
    return z / (1.0 + abs(z))


@njit
def bent_derivative(z):
    return 1.0 / (1.0 + abs(z)) ** 2


@njit
def quartic(output, y):
    total = 0.0
    for j in range(len(output)):
        total += (output[j] - y[j]) ** 4
    return total


@njit
def quartic_delta(output, y, delta):
    for j in range(len(output)):
        delta[j] = 4 * (output[j] - y[j]) ** 3


@njit
def scaled(x, parameters, out):
    for k in range(len(x)):
        for j in range(x.shape[1]):
            out[k, j] = x[k, j] * parameters[j]


@njit
def scaled_backward(delta, x, out, parameters, gradients, delta_x):
    gradients[:] = 0
    for k in range(len(x)):
        for j in range(x.shape[1]):
            gradients[j] += delta[k, j] * x[k, j]
            delta_x[k, j] = delta[k, j] * parameters[j]


def keep_on(net, history):
    """A callback that is a function."""
    return False


def first_output(y, output):
    """A metric."""
    return float(output[0, 0])


class Halting(fb.Callback):
    """A callback that remembers something."""

    def __init__(self, epochs):
        self.epochs, self.seen = epochs, 0

    def on_epoch_end(self, net, history):
        self.seen += 1
        return self.seen >= self.epochs

    def state(self):
        return {"seen": np.array(self.seen)}

    def resume(self, state):
        self.seen = int(state["seen"])


class Thresholded(fb.Sequential):
    """A network with an attribute of the user's."""

    threshold = 0.5


@dataclass(frozen=True)
class Halving(fb.schedules.Schedule):
    """A schedule of the user's."""

    rate: float

    def __call__(self, epochs):
        return self.rate * 0.5 ** np.floor(epochs)
