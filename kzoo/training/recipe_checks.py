"""What the fields of a recipe may hold: a check for each type, and the limits beyond it."""

import contextlib
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from kzoo.arguments import boolean, integer, number, text
from kzoo.choices import check_choice

ClassWeights = Literal["balanced"] | dict[str, float] | None

MOST_EPOCHS = 100_000  # more is a slip of the finger: the longest recipe has 200


def checked(field: str, kind: Any, value: Any) -> Any:
    """Returns a value as a field of its type holds it: NumPy's scalars as Python's, lists as tuples.

    Args:
        field: String, the field's name.
        kind: Its type, for example `int | None` or a `Literal` of names.
        value: What was given.

    Raises:
        ValueError: If it is of another type, or none of the names.
    """
    if kind in _KINDS:
        return _KINDS[kind](value, field)
    if get_origin(kind) in (Union, types.UnionType):
        if value is None and types.NoneType in get_args(kind):
            return None
        (kind,) = (one for one in get_args(kind) if one is not types.NoneType)
    if get_origin(kind) is Literal:
        check_choice(field, value, get_args(kind))
        return value
    return _KINDS[kind](value, field)


def _numbers(value: Any, field: str) -> tuple[float, ...]:
    return tuple(number(one, field) for one in _several(value, field, "numbers"))


def _integers(value: Any, field: str) -> tuple[int, ...]:
    return tuple(integer(one, field) for one in _several(value, field, "integers"))


def _several(value: Any, field: str, of_what: str) -> Iterable[Any]:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise ValueError(f"`{field}` must be a tuple of {of_what}. Received: {field}={value!r}.")
    return value


def _table(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):
        raise ValueError(f"`{field}` must be a table of values by name. Received: {field}={value!r}.")
    return {key: _plain(one, f"{field}.{key}") for key, one in value.items()}


def _plain(value: Any, name: str) -> Any:
    """Returns a text, a truth value, a number, or a list of these."""
    if isinstance(value, list | tuple):
        return [_plain(one, name) for one in value]
    if isinstance(value, str):
        return value
    with contextlib.suppress(ValueError):
        return boolean(value, name)
    with contextlib.suppress(ValueError):
        return integer(value, name)
    return number(value, name)


def _class_weights(value: Any, field: str) -> ClassWeights:
    if value is None:
        return None
    if isinstance(value, str) and value == "balanced":
        return "balanced"
    if not isinstance(value, Mapping) or not value or not all(isinstance(key, str) and key for key in value):
        raise ValueError(
            f"`{field}` must be 'balanced', a table of weights by class name, or None. Received: {field}={value!r}."
        )
    return {key: number(one, f"{field}.{key}") for key, one in value.items()}


_KINDS: Mapping[Any, Callable[[Any, str], Any]] = {
    bool: boolean,
    float: number,
    int: integer,
    str: text,
    tuple[float, ...]: _numbers,
    tuple[int, ...]: _integers,
    dict[str, Any]: _table,
    ClassWeights: _class_weights,
}

# A field, what it must be, and whether a recipe's is. In the order of the fields; a field may have several rows.
LIMITS: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("epochs", "at least 1", lambda recipe: recipe.epochs >= 1),
    ("epochs", f"at most {MOST_EPOCHS:,}", lambda recipe: recipe.epochs <= MOST_EPOCHS),
    ("batch_size", "at least 1", lambda recipe: recipe.batch_size >= 1),
    ("learning_rate", "above 0", lambda recipe: recipe.learning_rate > 0),
    ("momentum", "at least 0 and below 1", lambda recipe: 0 <= recipe.momentum < 1),
    ("nesterov", "false without momentum", lambda recipe: recipe.momentum > 0 or not recipe.nesterov),
    ("weight_decay", "at least 0", lambda recipe: recipe.weight_decay >= 0),
    ("warmup", "at least 0 and below 1", lambda recipe: 0 <= recipe.warmup < 1),
    ("warmup_start", "between 0 and 1", lambda recipe: 0 <= recipe.warmup_start <= 1),
    ("milestones", "in ascending order", lambda recipe: list(recipe.milestones) == sorted(recipe.milestones)),
    ("milestones", "fractions between 0 and 1", lambda recipe: all(0 < one < 1 for one in recipe.milestones)),
    ("gamma", "at least 0", lambda recipe: recipe.gamma >= 0),
    ("label_smoothing", "at least 0 and below 1", lambda recipe: 0 <= recipe.label_smoothing < 1),
    ("crop_padding", "at least 0", lambda recipe: recipe.crop_padding >= 0),
    ("patience", "at least 1, or None", lambda recipe: recipe.patience is None or recipe.patience >= 1),
    ("min_delta", "at least 0", lambda recipe: recipe.min_delta >= 0),
    ("optimizer_arguments", "empty with 'sgd'", lambda recipe: not (_is_sgd(recipe) and recipe.optimizer_arguments)),
    ("clip_norm", "above 0, or None", lambda recipe: _is_above_zero(recipe.clip_norm)),
    ("global_clip_norm", "above 0, or None", lambda recipe: _is_above_zero(recipe.global_clip_norm)),
    ("clip_value", "above 0, or None", lambda recipe: _is_above_zero(recipe.clip_value)),
    ("clip_norm", "None beside another clipping", lambda recipe: recipe.clip_norm is None or _clippings(recipe) == 1),
    ("clip_value", "None beside `global_clip_norm`", lambda recipe: _clippings(recipe) <= 1),
    ("accumulate_steps", "at least 1", lambda recipe: recipe.accumulate_steps >= 1),
    ("bias_rate", "above 0", lambda recipe: recipe.bias_rate > 0),
    ("bias_rate", "1 with another optimizer than 'sgd'", lambda recipe: recipe.bias_rate == 1 or _is_sgd(recipe)),
    ("class_weights", "0 or larger", lambda recipe: min(_weights(recipe), default=0) >= 0),
    ("erase", "between 0 and 1", lambda recipe: 0 <= recipe.erase <= 1),
    ("erase_area", "two shares above 0, up to 1, in ascending order", lambda recipe: _are_shares(recipe.erase_area)),
    ("erase_aspect", "above 0, up to 1", lambda recipe: 0 < recipe.erase_aspect <= 1),
    ("mixup", "between 0 and 100", lambda recipe: 0 <= recipe.mixup <= 100),
    ("cutmix", "between 0 and 100", lambda recipe: 0 <= recipe.cutmix <= 100),
    ("mix_share", "between 0 and 1", lambda recipe: 0 <= recipe.mix_share <= 1),
    ("image_scales", "numbers above 0, up to 1", lambda recipe: all(0 < one <= 1 for one in recipe.image_scales)),
    ("ema", "at least 0 and below 1", lambda recipe: 0 <= recipe.ema < 1),
    ("distillation_weight", "between 0 and 1", lambda recipe: 0 <= recipe.distillation_weight <= 1),
    ("temperature", "above 0", lambda recipe: recipe.temperature > 0),
    ("lookahead_steps", "at least 0", lambda recipe: recipe.lookahead_steps >= 0),
    ("lookahead_share", "above 0, up to 1", lambda recipe: 0 < recipe.lookahead_share <= 1),
)


def _is_sgd(recipe: Any) -> bool:
    return recipe.optimizer == "sgd"


def _is_above_zero(value: float | None) -> bool:
    return value is None or value > 0


def _clippings(recipe: Any) -> int:
    return sum(value is not None for value in (recipe.clip_norm, recipe.global_clip_norm, recipe.clip_value))


def _weights(recipe: Any) -> list[float]:
    return list(recipe.class_weights.values()) if isinstance(recipe.class_weights, dict) else []


def _are_shares(values: tuple[float, ...]) -> bool:
    return len(values) == 2 and 0 < values[0] <= values[1] <= 1
