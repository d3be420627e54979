"""The definition of every kernel, under its name and with its arguments; and the data to compare on.

A product is one chain of multiply-adds an element, in ascending order of the summed index, each rounded once (twice
where the target has no fused multiply-add, as the kernels do there): kernels agree with it to the bit. Activations
that need exp and the like are computed here in a wider type and rounded: they agree to a few units in the last place.
"""

import math

import numpy as np
from numba import njit
from numba.extending import intrinsic

from fastbp.compiler.llvm import has_fma

# --------------------------------------------------------------------------------------------------------- arithmetic


@intrinsic
def multiply_add(typingctx, x, y, z):
    """x * y + z of scalars: IEEE 754's fusedMultiplyAdd, where the target has it."""

    def codegen(context, builder, signature, args):
        x, y, z = args
        return builder.fma(x, y, z) if has_fma() else builder.fadd(builder.fmul(x, y), z)

    return x(x, x, x), codegen


@njit
def add_chains(a, b, c):
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            for k in range(a.shape[1]):
                c[i, j] = multiply_add(a[i, k], b[k, j], c[i, j])


def product(a, b, start=None):
    """start + a @ b, or a @ b."""
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype) if start is None else start.copy(order="C")
    add_chains(np.array(a, order="C"), np.array(b, order="C"), c)
    return c


# -------------------------------------------------------------------------------------------------------- activations


def normal(z):
    """The normal distribution, in float64."""
    return np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), otypes=[np.float64])(z)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


GATE_SLOPE = 2 * math.sqrt(2 / math.pi)


def gelu_gate(z):
    return sigmoid(GATE_SLOPE * (z + 0.044715 * z**3))


def softplus_tanh(z):
    return np.tanh(np.log1p(np.exp(z)))


ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805  # selu's
FUNCTIONS = {
    "identity": lambda z: z,
    "relu": lambda z: np.where(z > 0, z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, z.dtype.type(0.01) * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "selu": lambda z: SCALE * np.where(z > 0, z, ALPHA * np.expm1(z)),
    "gelu": lambda z: z * normal(z),
    "gelu_tanh": lambda z: z * gelu_gate(z),
    "silu": lambda z: z * sigmoid(z),
    "mish": lambda z: z * softplus_tanh(z),
    "softplus": lambda z: np.log1p(np.exp(z)),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda z: np.clip(z + 3, 0, 6) * z.dtype.type(1 / 6),
}
NAMES = tuple(FUNCTIONS)
EXACT = ("identity", "relu", "leaky_relu", "hard_sigmoid")  # need no wider type
FROM_PRE_ACTIVATION = ("gelu", "gelu_tanh", "silu", "mish")

DERIVATIVES = {
    "identity": lambda y: np.ones_like(y),
    "relu": lambda y: np.where(y > 0, y.dtype.type(1), 0),
    "leaky_relu": lambda y: np.where(y > 0, y.dtype.type(1), y.dtype.type(0.01)),
    "elu": lambda y: np.where(y > 0, 1, y + 1),
    "selu": lambda y: np.where(y > 0, SCALE, y + SCALE * ALPHA),
    "gelu": lambda z: normal(z) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi),
    "gelu_tanh": lambda z: gelu_gate(z) * (1 + z * (1 - gelu_gate(z)) * GATE_SLOPE * (1 + 0.134145 * z * z)),
    "silu": lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z))),
    "mish": lambda z: softplus_tanh(z) + z * (1 - softplus_tanh(z) ** 2) * sigmoid(z),
    "softplus": lambda y: -np.expm1(-y),
    "tanh": lambda y: 1 - y * y,
    "sigmoid": lambda y: y * (1 - y),
    "hard_sigmoid": lambda y: np.where((y > 0) & (y < 1), y.dtype.type(1 / 6), 0),
}


def widened(x, activation):
    """x in the type that the definition of the activation is computed in."""
    if NAMES[activation] in EXACT:
        return x
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def activate(z, activation, out=None):
    y = FUNCTIONS[NAMES[activation]](widened(z, activation)).astype(z.dtype)
    return y if out is None else filled(out, y)


def activation_delta(delta, stored, activation, out=None):
    factor = DERIVATIVES[NAMES[activation]](widened(stored, activation)).astype(delta.dtype)
    return delta * factor if out is None else filled(out, delta * factor)


def filled(out, values):
    out[...] = values
    return out


# -------------------------------------------------------------------------------------------------------------- dense


def dense_forward(a, w, b, activation, out=None, z=None):
    before = product(a, w.T)
    before = before if b is None else before + b
    if z is not None:
        z[...] = before
    return activate(before, activation, out)


def propagate_delta(delta, w, stored, activation, out=None):
    return activation_delta(product(delta, w), stored, activation, out)


def weight_gradient(delta, a, out=None, accumulate=False):
    grad_w = product(delta.T, a, out if accumulate else None)
    return grad_w if out is None else filled(out, grad_w)


def bias_gradient(delta, out=None, accumulate=False):
    grad_b = out.copy() if out is not None and accumulate else np.zeros(delta.shape[1], delta.dtype)
    for row in delta:
        grad_b += row
    return grad_b if out is None else filled(out, grad_b)


# ----------------------------------------------------------------------- three ways to a minibatch's weight gradient


def weight_gradient_by_loop(delta, a):
    """Add up the outer products of the samples."""
    grad_w = np.zeros((delta.shape[1], a.shape[1]), delta.dtype)
    for delta_k, a_k in zip(delta, a, strict=True):
        grad_w += np.outer(delta_k, a_k)
    return grad_w


def weight_gradient_by_tiling(delta, a):
    """Tile each sample's activations m times, scale the tiles by the errors, and sum over the samples."""
    K, m, n = len(delta), delta.shape[1], a.shape[1]
    tiled = np.tile(a, (1, m)).reshape(K, m, n).transpose(1, 2, 0)
    return (tiled * delta.T[:, None, :]).sum(axis=2)


def weight_gradient_by_product(delta, a):
    return delta.T @ a


# --------------------------------------------------------------------------------------------------------------- data


def numbers(shape, dtype, seed=1):
    """Numbers in -1/2 .. 1/2 with all their bits in use, from a linear congruential generator modulo 2**64."""
    powers = np.cumprod(np.full(math.prod(shape), 6364136223846793005, np.uint64))
    increments = np.cumsum(powers) * np.uint64(1442695040888963407)
    states = powers * np.uint64(seed * 2654435769 + 1) + increments
    top = states >> np.uint64(40 if dtype == np.float32 else 11)
    return (top / 2 ** (24 if dtype == np.float32 else 53) - 0.5).astype(dtype).reshape(shape)


def sliced(x):
    """A copy of x as a slice of the columns of a wider buffer."""
    buffer = np.full((len(x), 2 * x.shape[1] + 3), np.nan, x.dtype)
    return filled(buffer[:, 3 : 3 + x.shape[1]], x)


def stepped(x):
    """A copy of x as every second row and third column of a buffer."""
    return filled(np.full((2 * len(x), 3 * x.shape[1]), np.nan, x.dtype)[::2, ::3], x)


def negative(x):
    """A copy of x that steps backwards through its buffer, along both axes."""
    return x[::-1, ::-1].copy()[::-1, ::-1]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def unaligned(x):
    """A copy of x that begins at an odd address."""
    buffer = np.zeros(x.nbytes + 1, np.uint8)
    return filled(buffer[1:].view(x.dtype).reshape(x.shape), x)


LAYOUTS = {
    "C": lambda x: np.array(x, order="C"),
    "Fortran": lambda x: np.array(x, order="F"),
    "transposed view": lambda x: sliced(x.T).T,
    "slice": sliced,
    "step": stepped,
    "negative step": negative,
    "negative rows": lambda x: x[::-1].copy()[::-1],
    "unaligned": unaligned,
    "read-only": read_only,
}
WRITABLE = tuple(name for name in LAYOUTS if name != "read-only")
