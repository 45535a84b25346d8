import bisect
import functools
import math
import pickle
import timeit

import keras
import numpy as np
import pytest
from keras import ops

import kzoo
from kzoo import StepSchedule

SCHEDULES = {
    "linear": lambda p: 1 - p,
    "cosine": lambda p: (1 + math.cos(math.pi * p)) / 2,
    "constant": lambda p: 1.0,
    "step": lambda p: 0.1 if p >= 0.5 else 1.0,
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedule_warms_up_then_follows_its_equation(kind):
    schedule = StepSchedule(0.4, 20, kind, warmup_steps=4, warmup_start=0.5, milestones=(12,))
    expected = [0.4 * (0.5 + 0.5 * (t + 1) / 4) for t in range(4)]
    expected += [0.4 * SCHEDULES[kind]((t - 4) / 16) for t in range(4, 20)]
    actual = [float(schedule(ops.convert_to_tensor(t))) for t in range(20)]
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_schedule_keeps_the_last_rate():
    schedule = StepSchedule(0.4, 20, "linear")
    assert float(schedule(ops.convert_to_tensor(99))) == float(schedule(ops.convert_to_tensor(19))) > 0


def test_schedule_is_rebuilt_from_its_config():
    schedule = StepSchedule(0.4, 20, "step", 3, 0.1, (5, 9), 0.2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    np.testing.assert_array_equal(again.rates, schedule.rates)


def rate_of(step, learning_rate, total_steps, schedule, warmup_steps, warmup_start, milestones, gamma):
    """The rate of one step, in Python's float64."""
    if step < warmup_steps:
        return learning_rate * (warmup_start + (1 - warmup_start) * ((step + 1) / warmup_steps))
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return {
        "linear": lambda: learning_rate * (1 - progress),
        "cosine": lambda: learning_rate * 0.5 * (1 + math.cos(math.pi * progress)),
        "step": lambda: learning_rate * gamma ** bisect.bisect_right(milestones, step),
        "constant": lambda: learning_rate,
    }[schedule]()


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("warmup_steps", [0, 1, 777, 5003])
def test_rates_are_those_of_python_to_the_bit(kind, warmup_steps):
    arguments = (0.1, 5003, kind, warmup_steps, 0.3, (1000, 1000, 3000), 0.1)
    rates = StepSchedule(*arguments).rates
    assert rates.dtype == np.float64
    assert rates.tolist() == [rate_of(step, *arguments) for step in range(5003)]


@pytest.mark.parametrize("floatx", ["float32", "float64"])
def test_steps_look_up_the_rates_to_the_bit(floatx):
    with kzoo.precision(floatx):
        schedule = StepSchedule(0.4, 20, "cosine")
        values = [ops.convert_to_numpy(schedule(ops.convert_to_tensor(step))) for step in (0, 3, 19, 25)]
        inside = kzoo.ops.generic.look_up(schedule.rates, ops.convert_to_tensor(3), {})
    assert [value.dtype for value in values] == [floatx] * 4
    assert values == [schedule.rates.astype(floatx)[step] for step in (0, 3, 19, 19)]
    assert ops.convert_to_numpy(inside) == values[1]


def test_schedule_in_use_is_pickled():
    schedule = StepSchedule(0.4, 20, "linear")
    first = float(schedule(ops.convert_to_tensor(2)))
    assert float(pickle.loads(pickle.dumps(schedule))(ops.convert_to_tensor(2))) == first


def test_table_is_not_converted_at_each_step():
    step = ops.convert_to_tensor(5)
    short, long = (
        min(timeit.repeat(functools.partial(StepSchedule(0.4, steps, "linear"), step), number=1, repeat=20))
        for steps in (2_000, 2_000_000)
    )
    assert long < 2 * short + 0.001  # converting takes 5 ms or more


@pytest.mark.parametrize("steps", [0, 20_000_001])
def test_schedule_of_too_many_steps_is_an_error(steps):
    with pytest.raises(ValueError, match=f"must be 1 to 20,000,000. Received: total_steps={steps:,}."):
        StepSchedule(0.1, steps, "linear")
