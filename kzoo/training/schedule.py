"""Learning rates, a value a step."""

import math
from typing import Any, get_args

import keras
import numpy as np
import numpy.typing as npt

from kzoo import ops
from kzoo.arguments import integer, number
from kzoo.choices import check_choice
from kzoo.training.recipes import Recipe, Schedule

MOST_STEPS = 20_000_000  # the rates take 160 MB


@keras.saving.register_keras_serializable(package="kzoo")
class StepSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate of every step: a linear warm-up, then linear, cosine or step decay.

    The rates are computed once in Python's float64 and looked up, so they are the same to the bit on every backend.

    Args:
        learning_rate: Float, the peak.
        total_steps: Integer, steps of the whole training, at most 20,000,000; later steps have the last one's rate.
        schedule: `"linear"`, `"cosine"`, `"step"` or `"constant"`.
        warmup_steps: Integer. Step `t` of the warm-up has `start + (1 - start) * (t + 1) / warmup_steps` of the peak.
            Defaults to `0`.
        warmup_start: Float, fraction of the peak. Defaults to `0.0`.
        milestones: For `"step"`, the steps from which on the rate is multiplied by `gamma`. Defaults to `()`.
        gamma: Float. Defaults to `0.1`.
        accumulate_steps: Integer, how many of the steps that Keras counts make one of these: an optimizer with
            `gradient_accumulation_steps` counts batches. Defaults to `1`.

    Raises:
        ValueError: If `total_steps` is not between 1 and 20,000,000.

    Example:
        >>> [round(rate, 3) for rate in kzoo.StepSchedule(0.1, 4, "linear").rates.tolist()]
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
        accumulate_steps: int = 1,
    ) -> None:
        super().__init__()
        self.accumulate_steps = integer(accumulate_steps, "accumulate_steps", least=1)
        total_steps, warmup_steps = integer(total_steps, "total_steps"), integer(warmup_steps, "warmup_steps", least=0)
        check_choice("schedule", schedule, get_args(Schedule))
        if not 1 <= total_steps <= MOST_STEPS:
            raise ValueError(
                f"`total_steps`, epochs times steps an epoch, must be 1 to {MOST_STEPS:,}. "
                f"Received: total_steps={total_steps:,}."
            )
        learning_rate, gamma = number(learning_rate, "learning_rate"), number(gamma, "gamma")
        warmup_start = number(warmup_start, "warmup_start")
        for name, value, valid, expected in (
            ("learning_rate", learning_rate, learning_rate > 0, "above 0"),
            ("warmup_start", warmup_start, 0 <= warmup_start <= 1, "between 0 and 1"),
            ("gamma", gamma, gamma >= 0, "at least 0"),
        ):
            if not valid:
                raise ValueError(f"`{name}` must be {expected}. Received: {name}={value}.")
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.schedule = schedule
        self.warmup_steps = warmup_steps
        self.warmup_start = warmup_start
        self.milestones = _as_steps(milestones)
        self.gamma = gamma
        self.rates: npt.NDArray[np.float64] = np.concatenate([self._climbing(), self._following()])
        self._kept: dict[Any, Any] = {}

    def _climbing(self) -> npt.NDArray[np.float64]:
        climbed = np.arange(1, min(self.warmup_steps, self.total_steps) + 1) / max(self.warmup_steps, 1)
        return self.learning_rate * (self.warmup_start + (1 - self.warmup_start) * climbed)

    def _following(self) -> npt.NDArray[np.float64]:
        steps = np.arange(self.warmup_steps, self.total_steps)
        progress = (steps - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1)
        if self.schedule == "linear":
            return self.learning_rate * (1 - progress)
        if self.schedule == "cosine":
            # Cosines and powers are Python's own: NumPy's differ from processor to processor.
            cosines = np.fromiter(map(math.cos, (math.pi * progress).tolist()), np.float64, len(steps))
            return self.learning_rate * 0.5 * (1 + cosines)
        if self.schedule == "step":
            levels = [self.learning_rate * self.gamma**passed for passed in range(len(self.milestones) + 1)]
            return np.array(levels)[np.searchsorted(self.milestones, steps, side="right")]
        return np.full(len(steps), self.learning_rate, np.float64)

    def rate_of(self, batch: int) -> float:
        """Returns the rate that a `batch`, counted from 0, is trained at."""
        return float(self.rates[min(batch // self.accumulate_steps, self.total_steps - 1)])

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "int32")
        if self.accumulate_steps > 1:
            step = keras.ops.floor_divide(step, self.accumulate_steps)
        index = keras.ops.minimum(step, self.total_steps - 1)
        return ops.look_up(self.rates, index, self._kept)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "total_steps": self.total_steps,
            "schedule": self.schedule,
            "warmup_steps": self.warmup_steps,
            "warmup_start": self.warmup_start,
            "milestones": self.milestones,
            "gamma": self.gamma,
            "accumulate_steps": self.accumulate_steps,
        }


def _as_steps(milestones: Any) -> tuple[int, ...]:
    try:
        steps = tuple(integer(step, "milestones", least=0) for step in milestones)
    except (TypeError, ValueError):
        steps = (1, 0)
    if list(steps) != sorted(steps):
        raise ValueError(f"`milestones` must be steps in ascending order. Received: milestones={milestones!r}.")
    return steps


def schedule_for(recipe: Recipe, steps_per_epoch: int) -> StepSchedule:
    """Returns the schedule of a recipe whose epochs have that many batches."""
    total = max(recipe.epochs * steps_per_epoch // recipe.accumulate_steps, 1)
    return StepSchedule(
        recipe.learning_rate,
        total,
        recipe.schedule,
        warmup_steps=round(recipe.warmup * total),
        warmup_start=recipe.warmup_start,
        milestones=tuple(round(milestone * total) for milestone in recipe.milestones),
        gamma=recipe.gamma,
        accumulate_steps=recipe.accumulate_steps,
    )


def is_constant(recipe: Recipe) -> bool:
    """Tells whether all steps of a recipe have one rate, unless a callback sets another."""
    return recipe.schedule == "constant" and recipe.warmup == 0
