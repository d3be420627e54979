"""How work is cut into parts."""

import pytest
from numba import njit

from fastbp.parallel import parts as parts_of_work


@njit
def share(total, unit, part, parts):
    return parts_of_work.share(total, unit, part, parts)


@pytest.mark.parametrize("unit", [1, 6, 16])
@pytest.mark.parametrize("total", [0, 1, 15, 16, 17, 100])
def test_shares_cover_everything_once_in_whole_units(total, unit):
    for parts in (1, 2, 3, 4, 7):
        shares = [share(total, unit, part, parts) for part in range(parts)]
        assert [i for start, length in shares for i in range(start, start + length)] == list(range(total))
        assert all(start % unit == 0 for start, length in shares if length)


def test_rounding_up_to_a_unit():
    assert [parts_of_work.rounded_up(x, 8) for x in (0, 1, 7, 8, 9, 64)] == [0, 8, 8, 8, 16, 64]
