"""Moving averages of the weights, which are evaluated in their place."""

from typing import Any

import keras
import numpy as np

from kzoo import ops
from kzoo.acceleration.names import values_of
from kzoo.training.state import Arrays, named, storable


class Averages:
    """Exponential moving averages of a model's weights and batch statistics, one step at a time.

    ```
    average = average + (1 - d) * (weight - average),    d = min(decay, (1 + t) / (10 + t))
    ```

    with `t` the number of steps before, so that the first steps, far from anything good, are soon forgotten. Batch
    statistics are averaged by the same rule: those of the averaged network are then those of the networks that went
    into it. Counters, which are no floats, stay the model's own. The training goes on with the weights themselves; the
    averages are put in their place for a validation, and taken out again, without a bit lost.

    Where gradients are accumulated, a step is one of the optimizer's.

    Args:
        model: The compiled `keras.Model`.
        decay: Float in (0, 1), what an average keeps at each step.

    Reference:
        - [Polyak & Juditsky, 1992](https://doi.org/10.1137/0330046), for the last iterates of a descent
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.are_in_model = False
        self._variables = {
            name.removeprefix("model/"): variable
            for name, variable in named("model", model.variables)
            if keras.backend.is_float_dtype(variable.dtype)
        }
        self._averages = {
            name: keras.Variable(
                keras.ops.convert_to_numpy(variable), dtype=variable.dtype, trainable=False, name="average"
            )
            for name, variable in self._variables.items()
        }

    def after_step(self, step: int) -> None:
        """Moves the averages.

        Args:
            step: Integer, how many steps the training has done, with this one.
        """
        accumulated = self.model.optimizer.gradient_accumulation_steps or 1
        if step % accumulated == 0:
            before = step // accumulated - 1
            decay = min(self.decay, (1 + before) / (10 + before))
            values = values_of(self.model, list(self._variables.values()))
            ops.move_averages(list(self._averages.values()), values, 1 - decay)

    def put_in(self) -> None:
        """Puts the averages into the model, and keeps what it had."""
        if not self.are_in_model:
            self._exchange()

    def take_out(self) -> None:
        """Gives the model back what it had."""
        if self.are_in_model:
            self._exchange()

    def _exchange(self) -> None:
        for name, variable in self._variables.items():
            average = self._averages[name]
            value, other = (np.array(keras.ops.convert_to_numpy(one)) for one in (variable, average))
            variable.assign(other)
            average.assign(value)
        self.are_in_model = not self.are_in_model

    def beside(self, arrays: Arrays) -> Arrays:
        """Returns the arrays of the model with those of the averages, `average/...`, wherever each is now."""
        own = {name: storable(keras.ops.convert_to_numpy(average)) for name, average in self._averages.items()}
        of_model = {name: arrays[f"model/{name}"] for name in own}
        weights, averages = (own, of_model) if self.are_in_model else (of_model, own)
        return {
            **arrays,
            **{f"model/{name}": array for name, array in weights.items()},
            **{f"average/{name}": array for name, array in averages.items()},
        }

    def set(self, arrays: Arrays) -> None:
        """Takes the averages of a state, whose model has its weights.

        Raises:
            ValueError: If there are others.
        """
        for name, average in self._averages.items():
            array = arrays.get(f"average/{name}")
            if array is None or array.shape != tuple(average.shape):
                raise ValueError(
                    f"The state must have the averages of the model. Received: {name!r} of shape "
                    f"{None if array is None else array.shape} instead of {tuple(average.shape)}."
                )
            average.assign(array)
        self.are_in_model = False


def averages_instead(arrays: Arrays) -> Arrays:
    """Returns the arrays of a state in which the model has the averages, where there are any."""
    averages: dict[str, Any] = {
        f"model/{name.removeprefix('average/')}": array for name, array in arrays.items() if name.startswith("average/")
    }
    return {**arrays, **averages}
