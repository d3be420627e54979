"""A training loop of your own, in machine code: the learning rate is halved where progress ends, then training stops.

    python -m fastbp.examples.njit_loop

`learn` is one `@njit` function: it shuffles, trains, validates, keeps the best parameters, and decides. No epoch returns to
Python.
"""

import time

import numpy as np
from numba import njit

import fastbp as fb
from fastbp import engine


@njit
def learn(training, x, y, xv, yv, epochs, patience, halvings):
    """Train until the validation cost has stood still for `patience` epochs after the last of the `halvings`.

    Leaves the best parameters; returns the validation cost of every epoch and the number of the best one.
    """
    order, costs = np.arange(len(x)), np.empty(epochs)
    best, best_parameters, since = 0, training.parameters.copy(), 0
    for epoch in range(epochs):
        np.random.shuffle(order)
        engine.train_epoch(training, x, y, order)
        costs[epoch] = engine.evaluate(training, xv, yv)
        since += 1
        if epoch == 0 or costs[epoch] < costs[best]:
            best, since = epoch, 0
            best_parameters[:] = training.parameters
        if since == patience:
            if halvings == 0:
                costs = costs[: epoch + 1]
                break
            training.learning_rate[0] /= 2
            training.parameters[:] = best_parameters
            halvings, since = halvings - 1, 0
    training.parameters[:] = best_parameters
    return costs, best


def spirals(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points of the plane around three arms of a spiral, and the arm of each."""
    rng = np.random.default_rng(seed)
    arm, t = rng.integers(0, 3, rows), np.sqrt(rng.random(rows))
    angle = 2 * np.pi * (arm / 3 + t) + 0.5 * rng.standard_normal(rows)
    return np.column_stack([t * np.cos(angle), t * np.sin(angle)]).astype(np.float32), arm


def main() -> int:
    (x, y), (xv, yv) = spirals(2000, 0), spirals(1000, 1)
    net = fb.Sequential(fb.Dense(2, 32, "tanh"), fb.Dense(32, 32, "tanh"), fb.Dense(32, 3), seed=0)
    training = net.training("softmax_cross_entropy", fb.Adam(0.02), batch_size=50)
    began = time.perf_counter()
    learn(training, x, y, xv, yv, 0, 20, 4)
    compiled = time.perf_counter()
    costs, best = learn(training, x, y, xv, yv, 500, 20, 4)
    print(f"compiled in {compiled - began:.1f} s; {len(costs)} epochs in {time.perf_counter() - compiled:.3f} s")
    accuracy = np.mean(net.predict(xv).argmax(axis=1) == yv)
    print(f"validation cost {costs[0]:.3f} after the first epoch, {costs[best]:.4f} after epoch {best + 1}, the best")
    print(f"learning rate at the end {training.learning_rate[0]:.5f}; accuracy {accuracy:.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
