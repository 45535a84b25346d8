"""Trainings that go wrong: a loss that is no number ends them, and says where it began."""

import math
import time
from typing import Any

import keras
import numpy as np

from kzoo.acceleration.names import calls_of
from kzoo.data import Batches
from kzoo.errors import DivergenceError
from kzoo.training.sizes import any_size
from kzoo.training.state import Arrays, TrainState, set_arrays

_SECONDS_BETWEEN = 0.1
_MOST_STEPS = 2000  # that are done again to find the layer


class LossGuard:
    """Looks at the loss of every step, ten times a second: each look waits for the device.

    Args:
        by_time: Boolean, whether to look by itself. Where several processes train together all of them look after the
            same step, when they are told to. Defaults to `True`.
    """

    def __init__(self, by_time: bool = True) -> None:
        self._by_time = by_time
        self._losses: list[tuple[int, Any]] = []
        self._last = time.monotonic()

    def see(self, step: int, logs: Any) -> None:
        """Keeps the loss of a step, and looks at it if it is time.

        Raises:
            DivergenceError: If one that was kept is NaN or infinite.
        """
        if logs and "loss" in logs:
            self._losses.append((step, logs["loss"]))
        if self._by_time and time.monotonic() - self._last >= _SECONDS_BETWEEN:
            self.look()

    def look(self) -> None:
        """Looks at all losses that were kept.

        Raises:
            DivergenceError: If one is NaN or infinite.
        """
        losses, self._losses = self._losses, []
        if losses and not math.isfinite(_number(losses[-1][1])):  # an epoch's mean, which stays so once it is
            for step, loss in losses:
                check_loss(loss, step)
        self._last = time.monotonic()


def check_loss(loss: Any, step: int, what: str = "The loss") -> None:
    """Raises `DivergenceError` if a loss at a step is NaN or infinite."""
    value = _number(loss)
    if not math.isfinite(value):
        raise DivergenceError(f"{what} is {value} at step {step:,}", step)


def _number(value: Any) -> float:
    return float(keras.ops.convert_to_numpy(value))


def check_finite(arrays: Arrays, step: int) -> None:
    """Raises `DivergenceError` if a weight after a step is not a finite number: its loss need not show it yet."""
    for name, array in arrays.items():
        if name.startswith("model/") and not np.isfinite(array).all():
            raise DivergenceError(f"{name.rpartition('/')[2]} is not finite after step {step:,}", step)


def first_layer_gone_wrong(model: keras.Model, batches: Batches, state: TrainState, step: int) -> str | None:
    """Returns the name of the layer in which a step first had a value that is no number.

    Args:
        model: The compiled `keras.Model`, which is left somewhere between `state` and `step`.
        batches: `Batches` that it was trained on.
        state: A `TrainState` before that step.
        step: Integer, counted from 1.

    Returns:
        String, or `None` if it cannot be told.
    """
    begin = state.numbers["step"]
    if not begin < step <= begin + _MOST_STEPS:
        return None
    set_arrays(model, state.arrays)
    with any_size(model):
        return _found_by_training(model, batches, begin, step)


def _found_by_training(model: keras.Model, batches: Batches, begin: int, step: int) -> str | None:
    per_epoch = batches.batches_per_epoch
    for done in range(begin, step - 1):
        model.train_on_batch(*batches.batch(done // per_epoch, done % per_epoch))
    if (name := _first_with_bad_weights(model)) is not None:
        return name
    last = batches.batch((step - 1) // per_epoch, (step - 1) % per_epoch)
    name = _first_with_bad_output(model, last[0], training=True)
    if name is None:
        model.train_on_batch(*last)
        name = _first_with_bad_weights(model)
    return name or _first_with_bad_output(model, last[0], training=False)


def _first_with_bad_output(model: keras.Model, images: Any, *, training: bool) -> str | None:
    calls = [(layer, outputs) for layer, outputs in calls_of(model) if not isinstance(layer, keras.layers.InputLayer)]
    probe = keras.Model(model.inputs[0], [outputs for _, outputs in calls])
    with any_size(probe):
        values = probe(images, training=training)
    for (layer, _), outputs in zip(calls, values, strict=True):
        for output in outputs:
            if not np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))).all():
                return str(layer.name)
    return None


def _first_with_bad_weights(model: keras.Model) -> str | None:
    for layer in model.layers:
        for weight in layer.weights:
            if not np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(weight, "float32"))).all():
                return str(layer.name)
    return None
