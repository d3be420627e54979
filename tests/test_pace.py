"""Which way the steps of a fit go: whatever is faster, found by short trials."""

import pytest

from fastbp.pace import BETWEEN_TRIALS, MOST_SPENT, TRIAL_SECONDS, Pace


def trained(pace, seconds, shared, alone, steps=1000):
    """Calls of `steps` steps or fewer for so many seconds, at given seconds a step; the share of the time spent alone."""
    spent = {True: 0.0, False: 0.0}
    while sum(spent.values()) < seconds:
        shares, count = pace.plan(steps)
        assert 1 <= count <= steps
        took = count * (shared if shares else alone)
        pace.note(count, took)
        spent[shares] += took
    return spent[False] / sum(spent.values())


@pytest.mark.parametrize("step", [1e-6, 1e-4, 2e-2])
def test_trials_cost_little_where_threads_help(step):
    assert trained(Pace(), 50 * max(BETWEEN_TRIALS, 2 * step / MOST_SPENT), step, 2 * step) < 2 * MOST_SPENT + 2 * (
        TRIAL_SECONDS / BETWEEN_TRIALS
    )


def test_one_thread_works_where_two_are_slower_and_two_again_when_they_no_longer_are():
    pace = Pace()
    assert trained(pace, 20, 1.5e-5, 1e-5) > 0.98
    assert not pace.shares
    trained(pace, 2, 0.5e-5, 1e-5)
    assert pace.shares


def test_a_difference_within_the_noise_changes_nothing():
    pace = Pace()
    trained(pace, 20, 1e-5, 0.98e-5)
    assert pace.shares
