"""The order of the rows in an epoch: a permutation from counter-based random numbers.

    order = argsort of Philox4x64-10(key=(seed, stream)), ties in ascending order of the rows

It depends on seed and stream alone (Salmon et al. 2011; the numbers are those of `numpy.random.Philox`).
"""

import numpy as np

from fastbp.compiler.code import code
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import high_product, read, write

M0, M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
W0, W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
ROUNDS = 10
SHUFFLE_STREAM = 1 << 32  # of epoch 0; apart from the streams of the layers' initial parameters


@inner
def philox(counter, key0, key1):
    """Return the four random numbers of one value of the counter."""
    a, b, c, d = np.uint64(counter), np.uint64(0), np.uint64(0), np.uint64(0)
    for _ in range(ROUNDS):
        a, b, c, d = high_product(M1, c) ^ b ^ key0, M1 * c, high_product(M0, a) ^ d ^ key1, M0 * a
        key0, key1 = key0 + W0, key1 + W1
    return a, b, c, d


@inner
def fill_random(keys, seed, stream):
    """Fill `keys` with the first random uint64 of a stream; len(keys) is a multiple of 4."""
    for i in range(0, len(keys), 4):
        keys[i], keys[i + 1], keys[i + 2], keys[i + 3] = philox(i // 4 + 1, np.uint64(seed), np.uint64(stream))


@inner
def deal(keys, rows, order):
    """Deal the rows into as many buckets as there are rows, by their keys' leading bits; in a bucket they keep their order."""
    bits = 1
    while (1 << bits) < rows:
        bits += 1
    shift = np.uint64(64 - bits)
    places = np.zeros((1 << bits) + 1, np.int64)
    for i in range(rows):
        places[np.int64(keys[i] >> shift) + 1] += 1
    for k in range(1 << bits):
        places[k + 1] += places[k]
    for i in range(rows):
        bucket = np.int64(keys[i] >> shift)
        write(order + 8 * places[bucket], i)
        places[bucket] += 1


@inner
def sort_nearly_sorted(keys, rows, order):
    """Sort by insertion, which is stable: a row moves within its bucket, and random keys leave about one row in each."""
    for i in range(1, rows):
        row = read(order + 8 * i, np.int64)
        while i > 0 and keys[read(order + 8 * (i - 1), np.int64)] > keys[row]:
            write(order + 8 * i, read(order + 8 * (i - 1), np.int64))
            i -= 1
        write(order + 8 * i, row)


@code
def shuffle(seed, stream, rows, order):
    """shuffle(seed, stream, rows, order): write the permutation of 0 .. rows - 1 into the int64 at `order`."""
    keys = np.empty((rows + 3) // 4 * 4, np.uint64)
    fill_random(keys, seed, stream)
    deal(keys, rows, order)
    sort_nearly_sorted(keys, rows, order)
    return 0
