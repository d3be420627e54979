"""What lies in the two matrices besides their product: the norm of every sample's gradient, and the sum of clipped ones.

    python -m fastbp.examples.per_sample_norms

The weight gradient of sample k is the outer product of row k of delta and row k of a, so its norm is |delta_k| |a_k|; with the
bias, whose input is always 1, |delta_k| sqrt(|a_k|^2 + 1) (Goodfellow 2015). No gradient of a single sample is ever made.
Scaling rows of delta scales samples: delta.T @ a is then the sum of clipped gradients, as private training needs it.
"""

import timeit

import numpy as np

import fastbp as fb
from fastbp import kernels
from fastbp.data.files import load_digits


def two_matrices(net, x, y):
    """Return (delta, a) for each dense layer, delta of the sum of the costs, not of their mean."""
    layers, inputs = net.layers, [x]
    for layer in layers:
        inputs.append(kernels.dense_forward(inputs[-1], layer.weight, layer.bias, code(layer)))
    _, delta = kernels.softmax_cross_entropy(inputs.pop(), y)
    delta *= len(x)
    deltas = [delta]
    for i in range(len(layers) - 1, 0, -1):
        deltas.insert(0, kernels.propagate_delta(deltas[0], layers[i].weight, inputs[i], code(layers[i - 1])))
    return list(zip(deltas, inputs, strict=True))


def code(layer):
    return fb.activations.names.index(layer.activation)


def norms(pairs):
    """Return the norm of the gradient of each sample, (K,)."""
    rows = [(delta**2).sum(axis=1) * ((a**2).sum(axis=1) + 1) for delta, a in pairs]
    return np.sqrt(sum(rows))


def clipped_sum(pairs, limit):
    """Return the sum of the samples' weight gradients, each cut to the norm `limit`, for each layer."""
    factors = np.minimum(1, limit / np.maximum(norms(pairs), 1e-12))[:, None]
    return [kernels.weight_gradient((delta * factors).astype(delta.dtype), a) for delta, a in pairs]


def one_by_one(net, x, y):
    """Return the same norms the slow way: with a minibatch of one for each sample."""
    found = []
    for k in range(len(x)):
        _, delta = fb.losses.softmax_cross_entropy(net.forward(x[k : k + 1]), y[k : k + 1])
        net.backward(delta)
        found.append(np.linalg.norm(net.gradients))
    return np.array(found)


def main() -> int:
    data = load_digits()
    net = fb.Sequential(fb.Dense(64, 64, "relu"), fb.Dense(64, 10), seed=0)
    net.fit(data.x, data.y, epochs=10)
    pairs = two_matrices(net, data.x, data.y)
    fast, slow = norms(pairs), one_by_one(net, data.x, data.y)  # compile
    together, alone = (
        min(timeit.repeat(work, number=1, repeat=3))
        for work in (lambda: norms(two_matrices(net, data.x, data.y)), lambda: one_by_one(net, data.x, data.y))
    )
    print(f"norms of {len(fast):,d} gradients in {1e3 * together:.2f} ms, one by one in {1e3 * alone:.0f} ms; "
          f"largest difference {np.abs(fast - slow).max():.1e}")  # fmt: skip
    print("quantiles 0, 50, 90, 99, 100 %:", *(f"{q:.3g}" for q in np.quantile(fast, (0, 0.5, 0.9, 0.99, 1))))
    hardest = np.argsort(fast)[::-1][:5]
    print("the samples that pull hardest:", ", ".join(f"row {k} (a {data.y[k]}, {fast[k]:.1f})" for k in hardest))
    full, cut = (np.linalg.norm(clipped_sum(pairs, limit)[0]) for limit in (np.inf, np.median(fast)))
    print(f"norm of the first layer's summed gradient: {full:.1f}, of samples cut to the median {cut:.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
