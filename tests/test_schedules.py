from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp.checks import real_number, whole_number
from fastbp.schedules import Constant, Cosine, Exponential, Schedule, Step, WarmUp, as_schedule

EPOCHS = np.array([0.0, 0.5, 1.0, 2.0, 3.75, 10.0, 1000.0])
ALL = [
    Constant(0.1),
    Step(0.1, every=2),
    Exponential(0.1, decay=0.9),
    Cosine(0.1, epochs=10, final=0.01),
    WarmUp(2, then=0.1),
    WarmUp(2, then=Cosine(0.1, epochs=10)),
]


@pytest.mark.parametrize("schedule", ALL, ids=repr)
class TestEverySchedule:
    def test_it_gives_one_finite_float64_rate_for_each_time(self, schedule):
        rates = schedule(EPOCHS)
        assert rates.shape == EPOCHS.shape
        assert rates.dtype == np.float64
        assert np.isfinite(rates).all()
        assert (rates >= 0).all()

    def test_a_stretch_of_steps_gets_what_its_steps_get_alone(self, schedule):
        assert schedule(EPOCHS).tolist() == [float(schedule(np.array([t]))[0]) for t in EPOCHS]

    def test_the_first_step_is_not_wasted(self, schedule):
        assert schedule(np.zeros(1))[0] > 0

    def test_it_is_immutable_comparable_hashable_and_shown_as_it_is_made(self, schedule):
        names = {type(s).__name__: type(s) for s in ALL}
        assert eval(repr(schedule), names) == schedule
        assert pickle.loads(pickle.dumps(schedule)) == schedule
        assert hash(schedule) == hash(eval(repr(schedule), names))
        with pytest.raises(FrozenInstanceError):
            schedule.learning_rate = 1.0


def test_constant():
    assert Constant(0.3)(EPOCHS).tolist() == [0.3] * len(EPOCHS)


def test_step_drops_after_every_so_many_epochs():
    np.testing.assert_allclose(Step(1.0, every=2, factor=0.5)(np.array([0, 1.99, 2, 3.99, 4])), [1, 1, 0.5, 0.5, 0.25])


def test_step_drops_on_time_despite_rounding():
    times = np.arange(10) / 10  # 0.3 / 0.1 is 2.9999999999999996
    np.testing.assert_allclose(Step(1.0, every=0.1, factor=0.5)(times), 0.5 ** np.arange(10))


def test_exponential():
    np.testing.assert_allclose(Exponential(2.0, decay=0.25)(np.array([0, 0.5, 1, 2])), [2, 1, 0.5, 0.125])


def test_cosine_falls_to_its_final_rate_and_stays():
    rates = Cosine(1.0, epochs=4, final=0.2)(np.array([0, 2, 4, 5, 1e9]))
    np.testing.assert_allclose(rates, [1, 0.6, 0.2, 0.2, 0.2], rtol=1e-15)


def test_warm_up_rises_to_the_first_rate_of_what_follows_which_then_begins():
    after = Exponential(1.0, decay=0.5)
    rates = WarmUp(2, then=after, start=0.5)(np.array([0, 1, 2, 3]))
    np.testing.assert_allclose(rates, [0.5, 0.75, 1.0, 0.5])


@given(st.floats(0.1, 100), st.floats(0.001, 10), st.floats(0.001, 0.999), st.floats(0, 1))
def test_warm_up_is_monotonic_and_above_0(epochs, rate, start, share):
    schedule = WarmUp(epochs, rate, start)
    earlier, later, end = schedule(np.array([share * share * epochs, share * epochs, epochs]))
    assert 0 < earlier <= later * (1 + 1e-12)
    assert later <= end * (1 + 1e-12)
    assert end == rate


def test_numpy_numbers_are_stored_as_python_ones():
    schedule = Constant(np.float32(0.5))
    assert type(schedule.learning_rate) is float
    assert repr(schedule) == "Constant(learning_rate=0.5)"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Constant(-1), ValueError, r"learning_rate: got -1, expected a finite number >= 0"),
        (lambda: Constant(float("nan")), ValueError, "learning_rate: got nan"),
        (lambda: Constant("fast"), TypeError, "learning_rate: got 'fast', expected a finite number"),
        (lambda: Constant(True), TypeError, "learning_rate: got True"),
        (lambda: Constant(10**400), ValueError, "learning_rate: got 1000"),
        (lambda: Step(0.1, every=0), ValueError, r"every: got 0, expected a finite number > 0"),
        (lambda: Step(0.1, every=1, factor=-0.1), ValueError, "factor: got -0.1"),
        (lambda: Step(-0.1, every=1), ValueError, "learning_rate: got -0.1"),
        (lambda: Exponential(0.1, decay=0), ValueError, "decay: got 0"),
        (lambda: Exponential(None, decay=0.5), TypeError, "learning_rate: got None"),
        (lambda: Cosine(0.1, epochs=-3), ValueError, "epochs: got -3"),
        (lambda: Cosine(0.1, epochs=3, final=-1), ValueError, "final: got -1"),
        (lambda: Cosine([0.1], epochs=3), TypeError, "learning_rate: got"),
        (lambda: WarmUp(0, 0.1), ValueError, "epochs: got 0"),
        (lambda: WarmUp(1, "0.1"), TypeError, "then: got '0.1', expected a number or a schedule"),
        (lambda: WarmUp(1, -0.1), ValueError, "then: got -0.1"),
        (lambda: WarmUp(1, 0.1, start=0), ValueError, r"start: got 0, expected a finite number > 0 and < 1"),
        (lambda: WarmUp(1, 0.1, start=1), ValueError, "start: got 1"),
    ],
)
def test_bad_hyper_parameters_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_as_schedule_takes_numbers_and_schedules():
    schedule = Step(0.1, every=3)
    assert as_schedule(schedule) is schedule
    assert as_schedule(0.5) == Constant(0.5)
    assert as_schedule(1) == Constant(1.0)


def test_as_schedule_takes_a_users_own():
    class Sawtooth(Schedule):
        def __call__(self, epochs):
            return 0.1 * (1 - epochs % 1)

    own = Sawtooth()
    assert as_schedule(own) is own


@pytest.mark.parametrize("x", ["0.1", None, True, [0.1], Constant, 1j])
def test_as_schedule_refuses_anything_else_by_name(x):
    with pytest.raises(TypeError, match=r"learning_rate: got .*expected a number or a schedule"):
        as_schedule(x)


@given(st.integers(-5, 5) | st.floats(allow_nan=True) | st.fractions())
def test_real_number_is_a_float_within_the_bounds_or_an_error(value):
    if 0 <= value < 1 and float(value) < 1:
        number = real_number("x", value, at_least=0, below=1)
        assert type(number) is float
        assert number == float(value)
    else:
        with pytest.raises(ValueError, match=r"x: got .*, expected a finite number >= 0 and < 1"):
            real_number("x", value, at_least=0, below=1)


def test_whole_number():
    assert whole_number("n", np.int16(3), at_least=1) == 3
    with pytest.raises(ValueError, match="n: got 0, expected an integer >= 1"):
        whole_number("n", 0, at_least=1)
    for value in (1.0, "1", True, None):
        with pytest.raises(TypeError, match=r"n: got .*, expected an integer >= 1"):
            whole_number("n", value, at_least=1)
