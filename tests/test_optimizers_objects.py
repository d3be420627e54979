from __future__ import annotations

import inspect
import pickle
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from fastbp.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, as_optimizer
from fastbp.schedules import Constant, Cosine, Step

#            optimizer                                       rule        moments  numbers
TABLE = [
    (SGD(0.1), "sgd", 0, (0.0,)),
    (SGD(0.1, weight_decay=0.5), "sgd", 0, (0.5,)),
    (SGD(0.1, momentum=0.9), "momentum", 1, (0.9, 0.0, 0.0)),
    (SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.5), "momentum", 1, (0.9, 1.0, 0.5)),
    (Adam(), "adam", 2, (0.9, 0.999, 1e-8, 0.0)),
    (Adam(1e-2, 0.8, 0.99, 1e-6, 0.1), "adam", 2, (0.8, 0.99, 1e-6, 0.1)),
    (AdamW(), "adamw", 2, (0.9, 0.999, 1e-8, 0.01)),
    (RMSprop(), "rmsprop", 1, (0.9, 1e-8, 0.0)),
    (RMSprop(rho=0.5, weight_decay=1), "rmsprop", 1, (0.5, 1e-8, 1.0)),
    (Adagrad(), "adagrad", 1, (1e-10, 0.0)),
]
CLASSES = [SGD, Adam, AdamW, RMSprop, Adagrad]


@pytest.mark.parametrize(("optimizer", "rule", "moments", "numbers"), TABLE, ids=lambda x: repr(x)[:40])
class TestEveryOptimizer:
    def test_it_names_the_rule_and_what_the_kernel_takes(self, optimizer, rule, moments, numbers):
        assert optimizer.rule == rule
        assert optimizer.moments == moments
        assert optimizer.numbers == numbers
        assert all(type(n) is float for n in optimizer.numbers)

    def test_it_is_immutable_comparable_hashable_and_shown_as_it_is_made(self, optimizer, rule, moments, numbers):
        again = eval(repr(optimizer), {c.__name__: c for c in CLASSES})
        assert again == optimizer == pickle.loads(pickle.dumps(optimizer)) == replace(optimizer)
        assert hash(again) == hash(optimizer)
        assert isinstance(optimizer, Optimizer)
        with pytest.raises(FrozenInstanceError):
            optimizer.learning_rate = 1.0

    def test_it_clips_by_norm_or_by_value_and_shows_it(self, optimizer, rule, moments, numbers):
        clipped = replace(optimizer, clip_norm=2)
        assert clipped.clip_norm == 2.0
        assert clipped.clip_value is None
        assert clipped != optimizer
        assert repr(clipped).endswith(", clip_norm=2.0)")
        assert replace(optimizer, clip_value=0.5).clip_value == 0.5
        with pytest.raises(ValueError, match=r"clip_norm, clip_value: got 1.0 and 2.0, expected at most one"):
            replace(optimizer, clip_norm=1, clip_value=2)

    def test_its_schedule_gives_the_learning_rate(self, optimizer, rule, moments, numbers):
        assert optimizer.schedule == Constant(optimizer.learning_rate)
        schedule = Cosine(0.1, epochs=3)
        assert replace(optimizer, learning_rate=schedule).schedule is schedule


@pytest.mark.parametrize("make", CLASSES)
class TestBadHyperParameters:
    BAD = {  # noqa: RUF012 - a table, never changed
        "learning_rate": [-0.1, np.nan, np.inf],
        "momentum": [-0.1, 1.0, np.nan],
        "beta1": [-0.1, 1, np.inf],
        "beta2": [-0.1, 1, np.nan],
        "rho": [-0.1, 1.5, np.nan],
        "epsilon": [0, -1e-8, np.nan],
        "weight_decay": [-1e-3, np.inf],
        "clip_norm": [0, -1, np.inf],
        "clip_value": [0, -1, np.nan],
    }

    def numeric_names(self, make):
        return [f.name for f in fields(make) if f.name in self.BAD]

    def test_a_value_out_of_range_is_named(self, make):
        for name in self.numeric_names(make):
            for value in self.BAD[name]:
                with pytest.raises(ValueError, match=f"^{name}: got .*, expected a finite number"):
                    make(**{"learning_rate": 0.1, name: value})

    def test_what_is_no_number_is_named(self, make):
        for name in self.numeric_names(make):
            for value in (True, "0.1", [0.1]):
                with pytest.raises(TypeError, match=f"^{name}: got .*, expected a "):
                    make(**{"learning_rate": 0.1, name: value})

    def test_every_hyper_parameter_is_checked(self, make):
        assert {f.name for f in fields(make)} <= {*self.BAD, "nesterov"}


@pytest.mark.parametrize("nesterov", [1, 0.0, "yes", None])
def test_nesterov_is_a_bool(nesterov):
    with pytest.raises(TypeError, match=r"nesterov: got .*, expected True or False"):
        SGD(0.1, momentum=0.9, nesterov=nesterov)


def test_nesterov_needs_momentum():
    with pytest.raises(ValueError, match=r"nesterov: got True with momentum=0.0, expected a momentum > 0"):
        SGD(0.1, nesterov=True)


def test_positional_arguments_are_the_documented_ones():
    assert SGD(0.1, 0.9, True, 0.01) == SGD(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    assert Adam(0.1, 0.2, 0.3, 0.4, 0.5).numbers == (0.2, 0.3, 0.4, 0.5)
    assert Adagrad(0.1, 0.2, 0.3).numbers == (0.2, 0.3)
    positional = [p.name for p in inspect.signature(RMSprop).parameters.values() if p.kind != p.KEYWORD_ONLY]
    assert positional == ["learning_rate", "rho", "epsilon", "weight_decay"]
    with pytest.raises(TypeError, match="learning_rate"):
        SGD()


def test_numpy_numbers_are_stored_as_python_ones():
    assert repr(SGD(np.float64(0.5))) == "SGD(learning_rate=0.5, momentum=0.0, nesterov=False, weight_decay=0.0)"


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [("sgd", SGD(0.01)), ("adam", Adam()), ("adamw", AdamW()), ("rmsprop", RMSprop()), ("adagrad", Adagrad())],
)
def test_names_stand_for_the_defaults(name, optimizer):
    assert as_optimizer(name) == optimizer
    assert as_optimizer(name).name == name


def test_an_optimizer_is_taken_as_it_is():
    optimizer = Adam(Step(0.1, every=2))
    assert as_optimizer(optimizer) is optimizer


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="optimizer: got 'lion', expected one of sgd, adam, adamw, rmsprop, adagrad"):
        as_optimizer("lion")


@pytest.mark.parametrize("x", [0.1, None, ["adam"]])
def test_anything_else_is_a_type_error(x):
    with pytest.raises(TypeError, match=r"optimizer: got .*, expected an optimizer or one of the names sgd, adam"):
        as_optimizer(x)


def test_a_class_in_place_of_an_instance_gets_advice():
    with pytest.raises(TypeError, match=r"expected an instance, Adam\(\.\.\.\), or one of"):
        as_optimizer(Adam)
