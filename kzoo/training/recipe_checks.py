"""What the fields of a recipe may hold: a check for each type, and the limits beyond it."""

import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from kzoo.arguments import boolean, integer, number, text
from kzoo.choices import check_choice

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


_KINDS: Mapping[Any, Callable[[Any, str], Any]] = {
    bool: boolean,
    float: number,
    int: integer,
    str: text,
    tuple[float, ...]: _numbers,
    tuple[int, ...]: _integers,
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
)
