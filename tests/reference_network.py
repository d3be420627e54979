"""A whole training run in NumPy, as the textbooks have it: forward, cost, backward, clipping, the optimizers' rules."""

import numpy as np
from reference import DERIVATIVES, FROM_PRE_ACTIVATION, FUNCTIONS


def softmax_cross_entropy(z, y, w, smoothing=0.0):
    """The cost of each row, and the derivative of the mean cost; y: labels or rows of probabilities."""
    targets = np.eye(z.shape[1])[y] if y.ndim == 1 else y
    targets = (1 - smoothing) * targets + smoothing / z.shape[1]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    costs = -(targets * np.log(p)).sum(axis=1)
    return costs, (p * targets.sum(axis=1, keepdims=True) - targets) * (w / w.sum())[:, None]


def mean_squared_error(z, y, w):
    return ((z - y) ** 2).mean(axis=1), 2 * (z - y) / z.shape[1] * (w / w.sum())[:, None]


COSTS = {"softmax_cross_entropy": softmax_cross_entropy, "mean_squared_error": mean_squared_error}


def clipped(g, clip_norm, clip_value):
    if clip_norm is not None:
        g = g * min(1.0, clip_norm / np.linalg.norm(g))
    return g if clip_value is None else np.clip(g, -clip_value, clip_value)


def sgd(p, g, s, t, rate, decay, momentum=0.0, nesterov=False):
    g = g + decay * p
    s["m"] = momentum * s.get("m", 0) + g
    return p - rate * (g + momentum * s["m"] if nesterov else s["m"])


def adam(p, g, s, t, rate, decay, beta1=0.9, beta2=0.999, epsilon=1e-8):
    g = g + decay * p
    s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", 0) + (1 - beta2) * g**2
    return p - rate * (s["m"] / (1 - beta1**t)) / (np.sqrt(s["v"] / (1 - beta2**t)) + epsilon)


def adamw(p, g, s, t, rate, decay, **numbers):
    return adam(p - rate * decay * p, g, s, t, rate, 0.0, **numbers)


def rmsprop(p, g, s, t, rate, decay, rho=0.9, epsilon=1e-8):
    g = g + decay * p
    s["v"] = rho * s.get("v", 0) + (1 - rho) * g**2
    return p - rate * g / (np.sqrt(s["v"]) + epsilon)


def adagrad(p, g, s, t, rate, decay, epsilon=1e-10):
    g = g + decay * p
    s["v"] = s.get("v", 0) + g**2
    return p - rate * g / (np.sqrt(s["v"]) + epsilon)


RULES = {"SGD": sgd, "Adam": adam, "AdamW": adamw, "RMSprop": rmsprop, "Adagrad": adagrad}


class Reference:
    """Dense layers with given activations; `parameters` and `gradients`: layer by layer m n weights (of the first
    layer its transpose), m biases."""

    def __init__(self, sizes, activations, parameters):
        self.sizes, self.activations, self.parameters = sizes, activations, parameters.copy()
        self.state, self.steps = {}, 0

    def layers(self):
        """(activation, w, b) of each layer."""
        start = 0
        for n, m, activation in zip(self.sizes[:-1], self.sizes[1:], self.activations, strict=True):
            w, b = np.split(self.parameters[start : start + m * n + m], [m * n])
            yield activation, w.reshape(m, n) if start else w.reshape(n, m).T, b
            start += m * n + m

    def forward(self, x):
        self.inputs, self.stored, a = [], [], x
        for activation, w, b in self.layers():
            z = a @ w.T + b
            self.inputs.append(a)
            a = FUNCTIONS[activation](z)
            self.stored.append(z if activation in FROM_PRE_ACTIVATION else a)
        return a

    def backward(self, delta):
        """The gradients, flat, and dC/dx."""
        gradients = []
        first = self.inputs[0]
        for (activation, w, _), a, stored in reversed(list(zip(self.layers(), self.inputs, self.stored, strict=True))):
            delta = delta * DERIVATIVES[activation](stored)
            grad_w = a.T @ delta if a is first else delta.T @ a
            gradients = [grad_w.ravel(), delta.sum(axis=0), *gradients]
            delta = delta @ w
        return np.concatenate(gradients), delta

    def step(
        self, x, y, cost, optimizer, rate, *, weights=None, weight_decay=0.0, clip_norm=None, clip_value=None, **own
    ):
        """One step of the optimizer of that name; returns the costs of the rows from before."""
        weights = np.ones(len(x)) if weights is None else weights
        costs, delta = COSTS[cost](self.forward(x), y, weights)
        g = clipped(self.backward(delta)[0], clip_norm, clip_value)
        decays = np.concatenate([np.repeat([weight_decay, 0.0], [w.size, b.size]) for _, w, b in self.layers()])
        self.steps += 1
        self.parameters = RULES[optimizer](self.parameters, g, self.state, self.steps, rate, decays, **own)
        return costs
