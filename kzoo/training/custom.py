"""An optimizer, a schedule or a loss of the caller's own in place of the recipe's."""

import dataclasses
import inspect
import json
from collections.abc import Callable
from types import NoneType
from typing import Any

import keras

from kzoo.arguments import instance
from kzoo.training.recipes import Recipe
from kzoo.training.schedule import is_constant


@dataclasses.dataclass(frozen=True)
class Custom:
    """What takes the place of a recipe's parts.

    Args:
        optimizer: A new `keras.optimizers.Optimizer`, or `None`.
        schedule: A `keras.optimizers.schedules.LearningRateSchedule` for the recipe's optimizer, or `None`.
        loss: A `keras.losses.Loss`, or a function of one-hot labels and the model's answers, or `None`.

    Raises:
        ValueError: If one is something else, or they do not go together.
    """

    optimizer: Any = None
    schedule: Any = None
    loss: Any = None

    def __post_init__(self) -> None:
        kinds = (keras.optimizers.Optimizer, NoneType)
        instance(self.optimizer, "optimizer", kinds, "a new keras.optimizers.Optimizer; the recipe takes a name")
        kinds = (keras.optimizers.schedules.LearningRateSchedule, NoneType)
        instance(self.schedule, "schedule", kinds, "a LearningRateSchedule of Keras; the recipe takes a name")
        if self.optimizer is not None and self.schedule is not None:
            raise ValueError("`schedule` must be the optimizer's own `learning_rate`. Received: both apart.")
        if self.optimizer is not None and self.optimizer.built:
            raise ValueError("`optimizer` must be new: make one for each training. Received: one that is in use.")
        if not (self.loss is None or isinstance(self.loss, keras.losses.Loss) or inspect.isfunction(self.loss)):
            raise ValueError(
                "`loss` must be a keras.losses.Loss, or a function of labels and answers. "
                f"Received: loss={self.loss!r}."
            )

    def check(self, from_logits: bool, resume: bool) -> None:
        """Raises `ValueError` if the loss expects other answers than the model's, or cannot be known again."""
        if self.loss is None:
            return
        expected = self._config_of_loss().get("from_logits", from_logits)
        if expected != from_logits:
            gives = "logits" if from_logits else "probabilities"
            raise ValueError(
                f"`loss` must take what the model gives, {gives}: from_logits={from_logits}. "
                f"Received: from_logits={expected}."
            )
        if resume and getattr(self.loss, "__name__", "") == "<lambda>":
            raise ValueError(
                "A training that goes on must have a loss that can be known again: a function made with `def`. "
                "Received: a lambda."
            )

    def _config_of_loss(self) -> dict[str, Any]:
        try:
            return dict(self.loss.get_config()) if isinstance(self.loss, keras.losses.Loss) else {}
        except NotImplementedError:
            return {}

    def may_set_rate(self, recipe: Recipe) -> bool:
        """Tells whether all steps have one rate, which callbacks may change."""
        if self.optimizer is None:
            return self.schedule is None and is_constant(recipe)
        return not isinstance(_recorded("optimizer", self.optimizer)["config"].get("learning_rate"), dict)

    def record(self) -> dict[str, Any]:
        """Returns what a run records: each part as Keras serializes it, a function by its name."""
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: _recorded(name, part) for name, part in parts.items() if part is not None}


def _recorded(name: str, part: Callable[..., Any] | Any) -> dict[str, Any]:
    if inspect.isfunction(part):
        return {"function": f"{part.__module__}.{part.__qualname__}"}
    try:
        found = json.loads(json.dumps(keras.saving.serialize_keras_object(part), allow_nan=False))
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must have a `get_config` of what JSON holds, since a run records it. "
            f"Received: {type(part).__name__}. {error}"
        ) from error
    found.get("config", {}).pop("name", None)  # Keras numbers them in each process
    return dict(found)
