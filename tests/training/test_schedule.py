import math

import keras
import numpy as np
import pytest
from keras import ops

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
