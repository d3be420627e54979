"""The order of an epoch's rows: compiled, and the same as by NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbp as fb
from fastbp.compiler.code import call_code
from fastbp.engine.shuffle import SHUFFLE_STREAM, shuffle
from fastbp.training.rows import epoch_order


def by_numpy(seed, stream, rows):
    keys = np.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw(rows)
    return np.argsort(keys, kind="stable")


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(1, 3000))
def test_it_sorts_the_random_numbers_of_numpys_philox(seed, stream, rows):
    order = np.full(rows + 2, -1)
    call_code(shuffle.of().resolve(), seed, stream, rows, order[1:].ctypes.data)
    assert order[1:-1].tolist() == by_numpy(seed, stream, rows).tolist()
    assert order[[0, -1]].tolist() == [-1, -1]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 10_000, 70_001])
def test_the_order_of_an_epoch_depends_on_the_seed_and_the_epoch(rows):
    net = fb.Sequential(fb.Dense(2, 1), seed=7)
    for epoch in (1, 2, 3):
        assert epoch_order(net, rows).tolist() == by_numpy(7, SHUFFLE_STREAM + epoch, rows).tolist()
