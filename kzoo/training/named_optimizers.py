"""The optimizer of a recipe: kzoo's, or one of Keras's by its name."""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import keras

from kzoo.arguments import boolean, integer, number
from kzoo.choices import Optimizer, hint
from kzoo.training.muon import Muon
from kzoo.training.optimizer import SGD
from kzoo.training.recipes import Recipe
from kzoo.training.schedule import is_constant, schedule_for

# Arguments of Keras's optimizers that a recipe has as fields, or does in its own way.
_OF_RECIPE = {
    "learning_rate": "learning_rate",
    "weight_decay": "weight_decay",
    "clipnorm": "clip_norm",
    "global_clipnorm": "global_clip_norm",
    "clipvalue": "clip_value",
    "gradient_accumulation_steps": "accumulate_steps",
}
_NOT_TAKEN = ("name", "kwargs", "use_ema", "ema_momentum", "ema_overwrite_frequency", "loss_scale_factor")


def optimizer_for(recipe: Recipe, steps_per_epoch: int, variables: Sequence[Any] = (), schedule: Any = None) -> Any:
    """Returns the optimizer of a recipe whose epochs have that many batches.

    Where all steps have one rate it is a float, which callbacks may change, else a schedule.

    Args:
        recipe: The `Recipe`.
        steps_per_epoch: Integer, batches an epoch.
        variables: The trainable variables of the model. Keras's optimizers need them to know what decays.
        schedule: A schedule in place of the recipe's, or `None`. Defaults to `None`.

    Raises:
        ValueError: If `optimizer_arguments` are not the optimizer's.
    """
    constant = schedule is None and is_constant(recipe)
    rate = recipe.learning_rate if constant else schedule or schedule_for(recipe, steps_per_epoch)
    options: dict[str, Any] = {
        "clipnorm": recipe.clip_norm,
        "global_clipnorm": recipe.global_clip_norm,
        "clipvalue": recipe.clip_value,
        "gradient_accumulation_steps": recipe.accumulate_steps if recipe.accumulate_steps > 1 else None,
    }
    if recipe.optimizer == "sgd":
        return SGD(
            rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            decay_on=recipe.decay_on,
            bias_rate=recipe.bias_rate,
            **options,
        )
    return _of_keras(recipe, rate, options, variables)


def _of_keras(recipe: Recipe, rate: Any, options: Mapping[str, Any], variables: Sequence[Any]) -> Any:
    kind = _class_of(recipe.optimizer)
    arguments = _checked(recipe, inspect.signature(kind.__init__ if kind is not Muon else keras.optimizers.Muon))
    decay = recipe.weight_decay or None
    if kind is Muon:
        arguments = {"adam_weight_decay": decay} | arguments
        matrices = [variable for variable in variables if len(variable.shape) == 2]
        classifier = [f"^{re.escape(matrices[-1].path)}$"] if matrices else []
        arguments["exclude_layers"] = [*(arguments.get("exclude_layers") or ()), *classifier]
    try:
        optimizer = kind(learning_rate=rate, weight_decay=decay, **options, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`optimizer_arguments` must be what {recipe.optimizer!r} takes. Received: {arguments}. {error}"
        ) from error
    if recipe.decay_on == "kernels":
        optimizer.exclude_from_weight_decay(var_list=[one for one in variables if len(one.shape) < 2])
    return optimizer


def _class_of(name: Optimizer) -> Any:
    if name == "muon":
        return Muon
    known = {cls.lower(): cls for cls in dir(keras.optimizers)}
    if name not in known:
        have = [one for one in get_args(Optimizer) if one in known]
        raise ValueError(
            f"`optimizer` must be one that Keras {keras.__version__} has: {', '.join(have)}. Received: {name!r}."
        )
    return getattr(keras.optimizers, known[name])


def _checked(recipe: Recipe, signature: inspect.Signature) -> dict[str, Any]:
    """Returns the further arguments of a recipe's optimizer, each of the kind of its default.

    Raises:
        ValueError: If there is no such argument, it is a field of the recipe, or of another kind.
    """
    defaults = {name: one.default for name, one in signature.parameters.items() if one.default is not one.empty}
    taken = [name for name in defaults if name not in _OF_RECIPE and name not in _NOT_TAKEN]
    for name in recipe.optimizer_arguments:
        if name in _OF_RECIPE:
            raise ValueError(
                f"`optimizer_arguments` must be without what the recipe has as `{_OF_RECIPE[name]}`. Received: {name}."
            )
        if name not in taken:
            raise ValueError(
                f"`optimizer_arguments` of {recipe.optimizer!r} must be of: {', '.join(taken) or 'none'}. "
                f"Received: {name}.{hint(name, taken)}"
            )
    return {name: _like(defaults[name], value, name) for name, value in recipe.optimizer_arguments.items()}


def _like(default: Any, value: Any, name: str) -> Any:
    if isinstance(default, bool):
        return boolean(value, name)
    if isinstance(default, int) and name.endswith("steps"):
        return integer(value, name, least=0)
    return number(value, name) if isinstance(default, int | float) else value
