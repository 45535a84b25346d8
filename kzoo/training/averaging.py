"""Copies of the weights that follow them: their moving averages, and the slow weights of Lookahead."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from kzoo import ops
from kzoo.acceleration.names import values_of
from kzoo.training.recipes import Recipe
from kzoo.training.state import Arrays, named, storable


class Followers:
    """Copies of a model's variables, which follow them step by step and are part of the training's state.

    Args:
        model: The compiled `keras.Model`.
        variables: Those of the model's variables that have a copy.
    """

    kind: str  # what their names begin with

    def __init__(self, model: keras.Model, variables: Iterable[Any]) -> None:
        chosen = {id(variable) for variable in variables}
        self.model = model
        self.variables = {
            name.removeprefix("model/"): variable
            for name, variable in named("model", model.variables)
            if id(variable) in chosen
        }
        self.copies = {
            name: keras.Variable(
                keras.ops.convert_to_numpy(variable), dtype=variable.dtype, trainable=False, name=self.kind
            )
            for name, variable in self.variables.items()
        }

    def steps_of_optimizer(self, step: int) -> int | None:
        """Returns how many steps the optimizer has done after one of the training; `None` if it only accumulated."""
        whole, rest = divmod(step, self.model.optimizer.gradient_accumulation_steps or 1)
        return None if rest else whole

    def follow(self, share: float) -> None:
        """Moves the copies a share of the way to the variables."""
        ops.move_averages(list(self.copies.values()), values_of(self.model, list(self.variables.values())), share)

    def after_step(self, step: int) -> None:
        """Does what is to be done after a step.

        Args:
            step: Integer, how many steps the training has done, with this one.
        """
        raise NotImplementedError

    def beside(self, arrays: Arrays) -> Arrays:
        """Returns the arrays of the model with those of the copies."""
        own = {f"{self.kind}/{name}": storable(keras.ops.convert_to_numpy(copy)) for name, copy in self.copies.items()}
        return {**arrays, **own}

    def set(self, arrays: Arrays) -> None:
        """Takes the copies of a state.

        Raises:
            ValueError: If there are others.
        """
        for name, copy in self.copies.items():
            array = arrays.get(f"{self.kind}/{name}")
            if array is None or array.shape != tuple(copy.shape):
                raise ValueError(
                    f"The state must have the {self.kind} weights of the model. Received: {name!r} of shape "
                    f"{None if array is None else array.shape} instead of {tuple(copy.shape)}."
                )
            copy.assign(array)

    def place(self, team: Any) -> None:
        """Brings the copies to the devices of a team of workers, if there is one."""
        if team is not None:
            team.place(list(self.copies.values()))


class Averages(Followers):
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
        - [Polyak & Juditsky, 1992](https://doi.org/10.1137/0330046)
    """

    kind = "average"

    def __init__(self, model: keras.Model, decay: float) -> None:
        super().__init__(model, [one for one in model.variables if keras.backend.is_float_dtype(one.dtype)])
        self.decay = decay
        self.are_in_model = False

    def after_step(self, step: int) -> None:
        if (steps := self.steps_of_optimizer(step)) is not None:
            self.follow(1 - min(self.decay, steps / (9 + steps)))  # t = steps - 1

    def put_in(self) -> None:
        """Puts the averages into the model, and keeps what it had."""
        if not self.are_in_model:
            self._exchange()

    def take_out(self) -> None:
        """Gives the model back what it had."""
        if self.are_in_model:
            self._exchange()

    def _exchange(self) -> None:
        for name, variable in self.variables.items():
            average = self.copies[name]
            value, other = (np.array(keras.ops.convert_to_numpy(one)) for one in (variable, average))
            variable.assign(other)
            average.assign(value)
        self.are_in_model = not self.are_in_model

    def beside(self, arrays: Arrays) -> Arrays:
        """Returns the arrays of the model with those of the averages, wherever each is now."""
        arrays = super().beside(arrays)
        if self.are_in_model:
            names = [(f"model/{name}", f"average/{name}") for name in self.copies]
            arrays |= {one: arrays[other] for pair in names for one, other in (pair, pair[::-1])}
        return arrays

    def set(self, arrays: Arrays) -> None:
        super().set(arrays)
        self.are_in_model = False


class Lookahead(Followers):
    """Slow weights, which every few steps go a share of the way to the weights, and are where these go on from.

    Batch statistics, and what the optimizer remembers, stay as they are.

    Args:
        model: The compiled `keras.Model`.
        steps: Integer, 1 or larger, after how many steps.
        share: Float in (0, 1], of the way.

    Reference:
        - [Zhang et al., 2019](https://arxiv.org/abs/1907.08610), algorithm 1
    """

    kind = "slow"

    def __init__(self, model: keras.Model, steps: int, share: float) -> None:
        super().__init__(model, model.trainable_variables)
        self.steps = steps
        self.share = share

    def after_step(self, step: int) -> None:
        steps = self.steps_of_optimizer(step)
        if steps is not None and steps % self.steps == 0:
            self.follow(self.share)
            if (sync := getattr(self.model, "jax_state_sync", None)) is not None:
                sync()
            for name, variable in self.variables.items():
                variable.assign(keras.ops.copy(self.copies[name]))  # JAX's next step writes over what it is given


def followers_of(model: keras.Model, recipe: Recipe) -> list[Followers]:
    """Returns what follows the weights in a training by a recipe."""
    found: list[Followers] = []
    if recipe.lookahead_steps:
        found.append(Lookahead(model, recipe.lookahead_steps, recipe.lookahead_share))
    if recipe.ema:
        found.append(Averages(model, recipe.ema))
    return found


def averages_instead(arrays: Arrays) -> Arrays:
    """Returns the arrays of a state in which the model has the averages, where there are any."""
    averages: dict[str, Any] = {
        f"model/{name.removeprefix('average/')}": array for name, array in arrays.items() if name.startswith("average/")
    }
    return {**arrays, **averages}
