"""The settings of a sweep, and what its trainings are called."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kzoo.arguments import integer
from kzoo.training.recipe_files import NONE, changed, parse_value, split_settings
from kzoo.training.recipes import Recipe

MOST_TRAININGS = 10_000
_LONGEST_NAME = 120  # characters
_OPENING, _CLOSING, _QUOTES = "[{", "]}", "\"'"


def parse_grid(settings: Iterable[str]) -> dict[str, list[Any]]:
    """Returns what `--set` was given, for example `["learning_rate=0.1,0.2"]`: field to its values.

    Raises:
        ValueError: If one has no `=`, or a field comes twice.
    """
    texts = split_settings(settings, "value,value, such as momentum=0.8,0.9")
    return {field: [parse_value(one.strip()) for one in _split(text)] for field, text in texts.items()}


def _split(text: str) -> list[str]:
    """Returns the parts between commas that stand in no list, table or quoted text."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if letter == "," and not depth and not quote:
            parts.append("")
            continue
        parts[-1] += letter
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES:
            quote = letter
        else:
            depth += (letter in _OPENING) - (letter in _CLOSING)
    return parts


def settings_of(grid: Mapping[str, Sequence[Any]], recipe: Recipe) -> list[dict[str, Any]]:
    """Returns each combination of a grid's values, the last field changing first.

    Raises:
        ValueError: If a field has no values, or a combination makes no valid recipe.
    """
    for field, values in grid.items():
        if isinstance(values, str) or not isinstance(values, Iterable) or not list(values):
            raise ValueError(f"`grid` must have a list of values for each field. Received: {field}={values!r}.")
    combinations = itertools.product(*(list(values) for values in grid.values()))
    found = [_as_json(dict(zip(grid, values, strict=True))) for values in combinations]
    for settings in found:
        try:
            changed(recipe, settings)
        except ValueError as error:
            raise ValueError(f"{told(settings)}: {error}") from error
    return found


def _as_json(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns settings as `sweep.json` has them: NumPy's numbers as Python's, tuples as lists."""
    try:
        return dict(json.loads(json.dumps(settings, default=lambda value: value.tolist())))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"`grid` must have values that a recipe's file has. Received: {settings}. {error}") from error


def seeds_of(seeds: Any) -> list[int]:
    """Returns seeds, of which an integer is the number: from 0 on.

    Raises:
        ValueError: If they are none, or one comes twice.
    """
    from kzoo.streams import check_seed  # which needs NumPy

    if isinstance(seeds, Iterable) and not isinstance(seeds, str):
        found = [integer(seed, "seeds", least=0) for seed in seeds]
    else:
        found = list(range(min(integer(seeds, "seeds", least=1), MOST_TRAININGS + 1)))
    for seed in found:
        check_seed(seed)
    if not found or len(set(found)) < len(found):
        raise ValueError(f"`seeds` must be a number of seeds, or a list of different ones. Received: seeds={seeds!r}.")
    return found


def told(settings: Mapping[str, Any]) -> str:
    """Returns settings as a line of text."""
    return ", ".join(f"{field}={_text(value)}" for field, value in settings.items()) or "the recipe as it is"


def directory_name(settings: Mapping[str, Any], seed: int) -> str:
    """Returns the name of the folder of a training: the same for the same settings, in whatever grid."""
    exact = told(settings) if settings else "recipe"
    readable = re.sub(r"[^A-Za-z0-9.=_+-]+", "_", exact.replace(", ", "-")).strip("._")
    if readable != exact.replace(", ", "-") or len(readable) > _LONGEST_NAME:
        readable = f"{readable[:_LONGEST_NAME]}-{hashlib.sha256(exact.encode(errors='surrogatepass')).hexdigest()[:8]}"
    return f"{readable}-seed{seed}"


def _text(value: Any) -> str:
    return NONE if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
