"""What users cache with numba: functions that call fastbp's kernels and verbs."""

import numpy as np
from numba import njit, prange

import fastbp as fb
from fastbp import engine, kernels


@njit(cache=True)
def steps(training, x, y):
    cost = 0.0
    for k in range(0, len(x), 8):
        cost += engine.train_step(training, x[k : k + 8], y[k : k + 8])
    return cost


@njit(cache=True)
def many_steps(trainings, x, y):
    cost = 0.0
    for training in trainings:
        cost += engine.serial.train_step(training, x[:8], y[:8])
    return cost


@njit(cache=True)
def by_hand(training, x, y):
    out = engine.forward(training, x)
    engine.backward(training, (out - y) / len(x))
    engine.step(training)
    return engine.predict(training, x)


@njit(cache=True)
def doubled(delta):
    return 2 * kernels.bias_gradient(delta)


@njit(cache=True)
def raw_kernels(x, w, y):
    z = kernels.dense_forward(x, w, None, fb.Activation.TANH)
    cost, delta = kernels.softmax_cross_entropy(z, y)
    kernels.activation_delta(delta, z, fb.Activation.TANH)
    kernels.clip_by_norm(delta.ravel(), 1.0)
    kernels.sgd_step(w.ravel(), kernels.weight_gradient(delta, x).ravel(), 0.1)
    return cost + kernels.softmax(z).sum() + kernels.propagate_delta(delta, w, x, fb.Activation.TANH).sum()


@njit(cache=True)
def refused(delta, a):
    """ShapeError, from compiled code."""
    return kernels.weight_gradient(delta, a[:1])


@njit(cache=True)
def caught(delta, a):
    try:
        return kernels.weight_gradient(delta, a[:1]).sum()
    except Exception:
        return -1.0


@njit(cache=True, parallel=True)
def in_parallel(deltas):
    total = np.zeros(len(deltas))
    for k in prange(len(deltas)):
        total[k] = kernels.serial.bias_gradient(deltas[k]).sum()
    return total.sum()


@njit(cache=True)
def through_another(delta):
    return doubled(delta).sum() + 1


def arguments():
    """The arguments to call each of them with."""
    net = fb.Sequential(fb.Dense(5, 6, "tanh"), fb.Dense(6, 3), seed=1)
    x = (np.arange(80.0).reshape(16, 5) % 7).astype(np.float32)
    y = np.ones((16, 3), np.float32)
    delta = np.ones((4, 3), np.float32)
    training = net.training("mean_squared_error", fb.SGD(0.1), 16)
    return {
        "steps": (training, x, y),
        "many_steps": ((training, training), x, y),
        "by_hand": (training, x, y),
        "doubled": (delta,),
        "raw_kernels": (np.ones((4, 5)), np.ones((3, 5)), np.arange(4) % 3),
        "refused": (delta, np.ones((4, 5), np.float32)),
        "caught": (delta, np.ones((4, 5), np.float32)),
        "in_parallel": (np.ones((6, 4, 3), np.float32),),
        "through_another": (delta,),
    }
