"""Blocks of arguments: records whose fields compiled code reads and writes by name."""

from typing import NamedTuple

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from fastbp.compiler.llvm import address_of, fetch, field_types, get, on_stack, place_of, places, put, value_in


class Mixed(NamedTuple):
    """Fields of both types."""

    first: int
    rate: float
    last: int


class Whole(NamedTuple):
    """Fields of one type, which numba types in another way."""

    left: int
    right: int


@njit
def put_all(block, first, rate, last):
    put(address_of(block), Mixed, "first", first)
    put(address_of(block), Mixed, "rate", rate)
    put(address_of(block), Mixed, "last", last)
    return block.size  # its address does not keep it alive


def test_put_writes_each_field_as_its_annotation_says():
    block = np.full(4, -1)
    put_all(block, 7, 3, True)  # an int for a float, a bool for an int
    assert (block[0], block.view(np.float64)[1], block[2], block[3]) == (7, 3.0, 1, -1)
    put_all(block, np.int32(8), 0.25, -(2**63))
    assert (block[0], block.view(np.float64)[1], block[2], block[3]) == (8, 0.25, -(2**63), -1)


@njit
def swap(left, right):
    block = on_stack(Whole(left, right))
    before = fetch(Whole, block)
    put(block, Whole, "left", before.right)
    put(block, Whole, "right", before.left)
    return get(block, Whole, "left"), get(block, Whole, "right"), fetch(Whole, block)


def test_get_and_fetch_read_what_put_wrote():
    assert swap(3, 4) == (4, 3, (4, 3))


@njit
def rate_of(block):
    return get(address_of(block), Mixed, "rate"), place_of(address_of(block), Mixed, "rate") - address_of(block)


def test_get_reads_a_float_as_one_and_place_of_tells_where_it_lies():
    assert rate_of(np.array([1.0, 2.5, 3.0]).view(np.int64)) == (2.5, 8)


def test_records_in_python():
    assert places(Mixed) == {"first": 0, "rate": 8, "last": 16}
    block = np.array([3, 0, -1])
    block.view(np.float64)[1] = 0.5
    assert [value_in(block, Mixed, name) for name in places(Mixed)] == [3, 0.5, -1]
    assert list(map(str, field_types(Mixed).values())) == ["int64", "float64", "int64"]


@pytest.mark.parametrize("verb", ["get", "place_of", "put"])
def test_a_field_that_does_not_exist_is_a_compile_error(verb):
    arguments = {"put": "0, Mixed, 'middle', 1"}.get(verb, "0, Mixed, 'middle'")
    function: dict = {"Mixed": Mixed, "get": get, "place_of": place_of, "put": put}
    exec(f"def wrong():\n    return {verb}({arguments})", function)
    with pytest.raises((TypingError, KeyError), match="middle"):
        njit(function["wrong"])()
