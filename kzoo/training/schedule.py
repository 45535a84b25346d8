"""Learning rates, a value a step."""

import bisect
import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kzoo.training.recipes import Recipe, Schedule


@keras.saving.register_keras_serializable(package="kzoo")
class StepSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate of every step: a linear warm-up, then linear, cosine or step decay.

    The rates are computed once in Python's float64 and looked up, so they are the same to the bit on every backend.

    Args:
        learning_rate: Float, the peak.
        total_steps: Integer, steps of the whole training; later steps have the last one's rate.
        schedule: `"linear"`, `"cosine"`, `"step"` or `"constant"`.
        warmup_steps: Integer. Step `t` of the warm-up has `start + (1 - start) * (t + 1) / warmup_steps` of the peak.
            Defaults to `0`.
        warmup_start: Float, fraction of the peak. Defaults to `0.0`.
        milestones: For `"step"`, the steps from which on the rate is multiplied by `gamma`. Defaults to `()`.
        gamma: Float. Defaults to `0.1`.

    Example:
        >>> StepSchedule(0.1, 4, "linear").rates.tolist()
        [0.1, 0.075, 0.05, 0.025]
    """

    def __init__(
        self,
        learning_rate: float,
        total_steps: int,
        schedule: Schedule,
        warmup_steps: int = 0,
        warmup_start: float = 0.0,
        milestones: tuple[int, ...] = (),
        gamma: float = 0.1,
    ) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.schedule = schedule
        self.warmup_steps = warmup_steps
        self.warmup_start = warmup_start
        self.milestones = tuple(milestones)
        self.gamma = gamma
        self.rates: npt.NDArray[np.float64] = np.array([self._rate(step) for step in range(total_steps)])

    def _rate(self, step: int) -> float:
        if step < self.warmup_steps:
            climbed = (step + 1) / self.warmup_steps
            return self.learning_rate * (self.warmup_start + (1 - self.warmup_start) * climbed)
        progress = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        if self.schedule == "linear":
            return self.learning_rate * (1 - progress)
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
        if self.schedule == "step":
            return self.learning_rate * self.gamma ** bisect.bisect_right(self.milestones, step)
        return self.learning_rate

    def __call__(self, step: Any) -> Any:
        rates = keras.ops.convert_to_tensor(self.rates, dtype=keras.config.floatx())
        return keras.ops.take(rates, keras.ops.minimum(keras.ops.cast(step, "int32"), self.total_steps - 1))

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "total_steps": self.total_steps,
            "schedule": self.schedule,
            "warmup_steps": self.warmup_steps,
            "warmup_start": self.warmup_start,
            "milestones": self.milestones,
            "gamma": self.gamma,
        }


def schedule_for(recipe: Recipe, steps_per_epoch: int) -> StepSchedule:
    """Returns the schedule of a recipe whose epochs have that many steps."""
    total = recipe.epochs * steps_per_epoch
    return StepSchedule(
        recipe.learning_rate,
        total,
        recipe.schedule,
        warmup_steps=round(recipe.warmup * total),
        warmup_start=recipe.warmup_start,
        milestones=tuple(round(milestone * total) for milestone in recipe.milestones),
        gamma=recipe.gamma,
    )
