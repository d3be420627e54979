"""What a layer adds to a step: the same network with it behind each hidden layer."""

import functools

import numpy as np

import fastbp as fb
from benchmarks.cases import FAST, THREADS, Timed, draw, skip, use_threads
from benchmarks.clock import steady

STEPS = 64
LAYERS = {"none": None, "Dropout": ("Dropout", 0.1), "Scale": ("Scale",)}
SHAPES = ("64-64-10 b32",) if FAST else ("64-64-10 b32", "256-256-256-10 b64")


def setup_cache() -> None:
    steady()
    for layer in LAYERS.values():
        if layer is None or hasattr(fb, layer[0]):
            make_steps(layer, "4-3-2 b2")[1]()


def make_steps(layer, shape: str):
    """A network with the layer behind each hidden one, and a function that trains it for STEPS steps."""
    if layer is not None and not hasattr(fb, layer[0]):
        skip(f"no {layer[0]}")
    sizes, batch_size = shape.split(" b")
    n, *others = map(int, sizes.split("-"))
    layers, batch_size, x = [], int(batch_size), draw(STEPS * int(batch_size), n)
    for m in others[:-1]:
        layers.append(fb.Dense(n, m, "relu"))
        layers.extend([] if layer is None else [getattr(fb, layer[0])(*layer[1:])])
        n = m
    net = fb.Sequential(*layers, fb.Dense(n, others[-1]), seed=0)
    y = np.random.default_rng(1).integers(0, others[-1], len(x))
    return net, functools.partial(net.fit, x, y, optimizer=fb.SGD(1e-3), batch_size=batch_size, shuffle=False)


@functools.cache
def steps(name: str, shape: str, threads: str):
    use_threads(threads)
    return make_steps(LAYERS[name], shape)


class StepWithLayer(Timed):
    """STEPS steps by one call of `fit`."""

    params = (tuple(LAYERS), SHAPES, THREADS)
    param_names = ("layer", "network", "threads")

    def time_step_with_layer_64_times(self, name, shape, threads):
        steps(name, shape, threads)[1]()

    def check(self, name, shape, threads):
        net, train = steps.__wrapped__(name, shape, threads)
        before = net.parameters.copy()
        train()
        assert np.isfinite(net.parameters).all()
        assert np.abs(net.parameters - before).max() > 0
