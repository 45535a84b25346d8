"""Trainings that go wrong: a loss that is no number ends them, and says where it began."""

import math
import time
from typing import Any

import keras
import numpy as np

from kzoo.data import Batches
from kzoo.errors import DivergenceError
from kzoo.training.state import TrainState, set_arrays

_SECONDS_BETWEEN = 0.1
_MOST_STEPS = 2000  # that are done again to find the layer


class LossGuard:
    """Looks at the loss of every step, ten times a second: each look waits for the device."""

    def __init__(self) -> None:
        self._losses: list[tuple[int, Any]] = []
        self._last = time.monotonic()

    def see(self, step: int, logs: Any) -> None:
        """Keeps the loss of a step, and looks at it if it is time.

        Raises:
            DivergenceError: If one that was kept is NaN or infinite.
        """
        if logs and "loss" in logs:
            self._losses.append((step, logs["loss"]))
        if time.monotonic() - self._last >= _SECONDS_BETWEEN:
            self.look()

    def look(self) -> None:
        """Looks at all losses that were kept.

        Raises:
            DivergenceError: If one is NaN or infinite.
        """
        losses, self._losses = self._losses, []
        for step, loss in losses:
            value = float(keras.ops.convert_to_numpy(loss))
            if not math.isfinite(value):
                raise DivergenceError(f"The loss is {value} at step {step:,}", step)
        self._last = time.monotonic()


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
    per_epoch = batches.batches_per_epoch
    begin = state.numbers["step"]
    if not begin < step <= begin + _MOST_STEPS:
        return None
    set_arrays(model, state.arrays)
    for done in range(begin, step - 1):
        model.train_on_batch(*batches.batch(done // per_epoch, done % per_epoch))
    if (name := _first_with_bad_weights(model)) is not None:
        return name
    last = batches.batch((step - 1) // per_epoch, (step - 1) % per_epoch)
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    outputs = keras.Model(model.input, [layer.output for layer in layers])(last[0], training=True)
    for layer, output in zip(layers, keras.tree.flatten(outputs), strict=True):
        if not np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))).all():
            return str(layer.name)
    model.train_on_batch(*last)
    return _first_with_bad_weights(model)


def _first_with_bad_weights(model: keras.Model) -> str | None:
    for layer in model.layers:
        for weight in layer.weights:
            if not np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(weight, "float32"))).all():
                return str(layer.name)
    return None
