"""A network in place of a simulation: many architectures trained at once, the best one kept.

    python -m fastbp.examples.surrogate

The simulation is a ball thrown through air: how far it flies, by speed, angle, drag and wind, in steps of a millisecond.
"""

import itertools
import math
import time
import timeit

import numpy as np
from numba import njit, prange

import fastbp as fb

SHAPES = [(16,), (64,), (256,), (16, 16), (32, 32), (64, 64), (32, 32, 32)]


@njit
def distance(speed, angle, drag, wind):
    """Return how many metres a ball flies: speed in m/s, angle in radians, drag in 1/m, wind against the throw in m/s."""
    x, y, u, v, dt = 0.0, 0.0, speed * math.cos(angle), speed * math.sin(angle), 1e-3
    while y >= 0:
        resistance = drag * math.hypot(u + wind, v)
        u -= dt * resistance * (u + wind)
        v -= dt * (resistance * v + 9.81)
        x, y = x + dt * u, y + dt * v
    return x


@njit(parallel=True)
def simulate(inputs):
    out = np.empty(len(inputs))
    for i in prange(len(inputs)):
        out[i] = distance(inputs[i, 0], inputs[i, 1], inputs[i, 2], inputs[i, 3])
    return out


def network(shape):
    """Make a network with hidden layers of those sizes, from four numbers to one."""
    hidden = (fb.Dense(n, m, "silu") for n, m in itertools.pairwise((4, *shape)))
    return fb.Sequential(*hidden, fb.Dense(shape[-1], 1), dtype="float64")


def main(rows: int = 10_000, epochs: int = 40) -> int:
    inputs = np.random.default_rng(0).uniform((5, 0.2, 0, -5), (40, 1.3, 0.02, 5), (rows, 4))
    simulate(inputs[:10])
    began = time.perf_counter()
    metres = simulate(inputs)
    a_run = (time.perf_counter() - began) / rows
    x, y = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0), (metres - metres.mean()) / metres.std()

    held_out = np.arange(rows) % 5 == 0
    nets = [network(shape) for shape in SHAPES]
    fb.fit_many([network(SHAPES[0])], x[:32], y[:32], loss="mean_squared_error")  # compiles
    began = time.perf_counter()
    histories = fb.fit_many(
        nets, x, y, loss="mean_squared_error", optimizer=fb.Adam(fb.schedules.Cosine(5e-3, epochs)), epochs=epochs,
        rows=[~held_out] * len(nets), validation_rows=[held_out] * len(nets),
    )  # fmt: skip
    print(f"{len(nets)} networks, {epochs} epochs of {sum(~held_out):,d} rows, in {time.perf_counter() - began:.1f} s")
    for shape, net, history in zip(SHAPES, nets, histories, strict=True):
        error = metres.std() * math.sqrt(history.validation_cost[-1])
        print(f"  {'-'.join(map(str, (4, *shape, 1))):14s} {net.parameters.size:6,d} parameters, error {error:6.3f} m")

    best = nets[int(np.argmin([history.validation_cost[-1] for history in histories]))]
    net_run = min(timeit.repeat(lambda: best.predict(x), number=1)) / rows
    print(f"distances of {metres.min():.0f} to {metres.max():.0f} m; a row costs the simulation {1e6 * a_run:.2f} us, "
          f"the best network {1e6 * net_run:.2f} us")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
