"""The definitions of the costs and of the optimizers' steps, in float64."""

import numpy as np


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=1, keepdims=True)


def one_hot(y, m):
    return np.eye(m)[y] if y.ndim == 1 else y.astype(float)


def mean(costs, derivatives, weights):
    """The weighted mean of the samples' costs, and its derivative."""
    w = np.ones(len(costs)) if weights is None else weights.astype(float)
    w = w / w.sum() if w.sum() else 0 * w
    return (w * costs).sum(), w[:, None] * derivatives


def softmax_cross_entropy(z, y, weights=None, parameter=0.0):
    p, t = softmax(z), (1 - parameter) * one_hot(y, z.shape[1]) + parameter / z.shape[1]
    return mean(-(t * np.log(p)).sum(axis=1), p * t.sum(axis=1, keepdims=True) - t, weights)


def negative_log_likelihood(p, y, weights=None):
    t = one_hot(y, p.shape[1])
    return mean(-(t * np.log(p)).sum(axis=1), -t / p, weights)


def binary_cross_entropy(z, y, weights=None):
    costs = np.logaddexp(0, z) - y * z
    return mean(costs.mean(axis=1), (1 / (1 + np.exp(-z)) - y) / z.shape[1], weights)


def mean_squared_error(z, y, weights=None):
    return mean(((z - y) ** 2).mean(axis=1), 2 * (z - y) / z.shape[1], weights)


def mean_absolute_error(z, y, weights=None):
    return mean(abs(z - y).mean(axis=1), np.sign(z - y) / z.shape[1], weights)


def huber(z, y, weights=None, parameter=1.0):
    r, d = z - y, parameter
    costs = np.where(abs(r) < d, r**2 / 2, d * (abs(r) - d / 2))
    return mean(costs.mean(axis=1), np.clip(r, -d, d) / z.shape[1], weights)


def poisson(z, y, weights=None):
    return mean((np.exp(z) - y * z).mean(axis=1), (np.exp(z) - y) / z.shape[1], weights)


def quantile(z, y, weights=None, parameter=0.5):
    costs = np.maximum(parameter * (y - z), (parameter - 1) * (y - z))
    slopes = np.where(z < y, -parameter, np.where(z > y, 1 - parameter, 0))
    return mean(costs.mean(axis=1), slopes / z.shape[1], weights)


# ------------------------------------------------------------------------------------------------ the optimizers' steps


def sgd_step(p, g, learning_rate, weight_decay=0.0):
    p -= learning_rate * (g + weight_decay * p)


def momentum_step(p, g, velocity, learning_rate, momentum=0.9, nesterov=False, weight_decay=0.0):
    g = g + weight_decay * p
    velocity[:] = momentum * velocity + g
    p -= learning_rate * (g + momentum * velocity if nesterov else velocity)


def adam_step(p, g, m, v, step, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0):
    g = g + weight_decay * p
    m[:] = beta1 * m + (1 - beta1) * g
    v[:] = beta2 * v + (1 - beta2) * g**2
    p -= learning_rate * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + epsilon)


def adamw_step(p, g, m, v, step, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.01):
    p *= 1 - learning_rate * weight_decay
    adam_step(p, g, m, v, step, learning_rate, beta1, beta2, epsilon)


def rmsprop_step(p, g, v, learning_rate, rho=0.9, epsilon=1e-8, weight_decay=0.0):
    g = g + weight_decay * p
    v[:] = rho * v + (1 - rho) * g**2
    p -= learning_rate * g / (np.sqrt(v) + epsilon)


def adagrad_step(p, g, v, learning_rate, epsilon=1e-10, weight_decay=0.0):
    g = g + weight_decay * p
    v += g**2
    p -= learning_rate * g / (np.sqrt(v) + epsilon)
