"""Recipes as text: TOML files, and `field=value` on the command line."""

import dataclasses
import inspect
import math
import os
import re
import tomllib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from kzoo.bounded import read_bytes
from kzoo.choices import check_choice, hint
from kzoo.training.json_files import read_json
from kzoo.training.kinds import check_kinds
from kzoo.training.recipes import Recipe

NONE = "none"  # TOML has no word for it
_MOST_BYTES = 1 << 16
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def read_toml(file: str | os.PathLike[str], known: Mapping[str, Recipe]) -> Recipe:
    """Reads a recipe from a TOML file, which a stranger may have written.

    The file has the fields of a recipe as keys, `"none"` where there is none. What it leaves out is as in the recipe
    that its `base` names, by default as in `"default"`.

    Args:
        file: Path of the file, at most 64 KiB.
        known: Name to recipe: what `base` may be.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no TOML, or no recipe; a misspelt field is told the nearest.
    """
    path = Path(file)
    content = read_bytes(path, _MOST_BYTES)
    try:
        try:
            values = tomllib.loads(content.decode())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"It must be TOML. Received: {error}.") from error
        check_kinds("It", values, {})
        base = values.pop("base", "default")
        check_choice("base", base, known)
        return changed(known[base], values)
    except ValueError as error:
        raise ValueError(f"{path} does not hold a recipe. {error}") from error


def read_recipe_of_run(directory: str | os.PathLike[str]) -> Recipe:
    """Returns the recipe of a run, by its `config.json`, which a stranger may have written.

    A field that the run does not have, since it is older, is as in a new recipe: off.

    Raises:
        ValueError: If the run's recipe is none.
    """
    path = Path(directory, "config.json")
    values = read_json(path, {"recipe": "an object"})["recipe"]
    if values.get("pixel_statistics", "") is None:  # those of a normalization that no recipe names
        del values["pixel_statistics"]
    try:
        return changed(Recipe(), values)
    except ValueError as error:
        raise ValueError(f"{path} does not hold a recipe. {error}") from error


def changed(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Returns a recipe with values as TOML has them: lists for tuples, `"none"` for `None`.

    Raises:
        ValueError: If there is no such field, or the recipe would not be valid.
    """
    kinds = {one.name: one.type for one in dataclasses.fields(recipe)}
    for field in values:
        if field not in kinds:
            raise ValueError(
                f"A recipe has the fields {', '.join(sorted(kinds))}. Received: {field}.{hint(field, kinds)}"
            )
    found = {field: _without_none(kinds[field], value) for field, value in values.items()}
    if type(found.get("patience")) is int and found["patience"] == 0:
        found["patience"] = None  # as of `Recipe.override` and `--patience`
    return dataclasses.replace(recipe, **found)


def _without_none(kind: Any, value: Any) -> Any:
    return None if value == NONE and types.NoneType in get_args(kind) else value


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Returns what `--set` was given, for example `["learning_rate=0.1", "schedule=cosine"]`, by field.

    A value is what TOML has: a number, `true`, a list, a quoted string, a table such as `{beta_2 = 0.95}`. Any other
    text is a string.

    Raises:
        ValueError: If one has no `=`, or a field comes twice.
    """
    return {
        name: parse_value(text) for name, text in split_settings(settings, "value, such as learning_rate=0.1").items()
    }


def split_settings(settings: Iterable[str], form: str) -> dict[str, str]:
    """Returns the text after the `=` of each setting, by field.

    Args:
        settings: What `--set` was given.
        form: What should come after the `=`, for messages.

    Raises:
        ValueError: If one has no `=`, or a field comes twice.
    """
    found = dict[str, str]()
    for setting in settings:
        field, separator, text = setting.partition("=")
        field = field.strip()
        if not separator or not field:
            raise ValueError(f"`--set` must be field={form}. Received: {setting!r}.")
        if field in found:
            raise ValueError(f"`--set` must name a field once. Received: {field} twice.")
        found[field] = text.strip()
    return found


def parse_value(text: str) -> Any:
    """Returns what a text means in TOML; a string where it means nothing."""
    if len(text) > _MOST_BYTES or "\n" in text:
        return text
    try:
        values = tomllib.loads(f"value = {text}")
        check_kinds("A value", values, {})
    except (ValueError, RecursionError):
        return text
    return values["value"]


def to_toml(recipe: Recipe) -> str:
    """Returns a TOML file that reads back to the same recipe, with a comment over each field: what it means."""
    meanings = meanings_of_fields()
    lines = list[str]()
    for field in dataclasses.fields(recipe):
        lines += [f"# {line}" for line in meanings.get(field.name, ())]
        lines += [f"{field.name} = {_toml(getattr(recipe, field.name))}", ""]
    return "\n".join(lines)


def meanings_of_fields() -> dict[str, list[str]]:
    """Returns, for each field of a recipe, the lines of what it means: as its docstring says."""
    found = dict[str, list[str]]()
    documentation = inspect.getdoc(Recipe) or ""  # Python leaves it out with -OO
    _, _, attributes = documentation.partition("Attributes:\n")
    for line in attributes.splitlines():
        if started := re.match(r"    (\w+): (.*)", line):
            lines = found.setdefault(started[1], [started[2]])
        elif line.startswith("        "):
            lines.append(line.strip())
    return found


def _toml(value: Any) -> str:
    """Returns a value as TOML writes it, a table in one line."""
    if value is None:
        return f'"{NONE}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {_toml(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    raise ValueError(f"A recipe's values must be what TOML has. Received: {value!r}.")


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _quoted(key)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", escaped) + '"'
