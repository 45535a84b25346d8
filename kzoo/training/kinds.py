"""What kind of value is where in the JSON that a training leaves, since a stranger may have written it."""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from kzoo.choices import Dtype, Precision

# What the files of a run have. Of the dataset: what `load_dataset` takes.
CONFIG = {
    "model.name": "text",
    "model.architecture": "an object",
    "data.name": "text",
    "data.source": "an object or null",
    "data.class_names": "a list of names",
    "recipe.precision": "a precision",
    "recipe.epochs": "a whole number",
    "seed": "a whole number",
}
SOURCE = {
    "name_or_path": "a path",
    "data_dir": "a path or null",
    "skip_unreadable": "true, false or null",
    "validation": "a fraction or null",
    "test": "a fraction or null",
    "split_seed": "a whole number or null",
    "flip": "true, false or null",
    "balance": "true, false or null",
    "splits": "nothing",
    "cache": "nothing",
}
METRICS = {
    "model": "text",
    "data": "text",
    "backend": "text",
    "seed": "a whole number",
    "epochs_run": "a whole number",
    "best_epoch": "a whole number or null",
    "val_loss": "a number or null",
    "val_accuracy": "a fraction or null",
    "test_accuracy": "a fraction or null",
    "images_per_second": "a number or null",
}
_LONGEST_NAME = 10_000  # characters
_DEEPEST = 200  # lists and objects within each other: whoever walks through them calls itself


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_path(value: Any) -> bool:
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _are(value: Any, check: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(check, value))


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "a path": _is_path,
    "a path or null": lambda value: value is None or _is_path(value),
    "true or false": lambda value: isinstance(value, bool),
    "true, false or null": lambda value: value is None or isinstance(value, bool),
    "nothing": lambda value: value is None,
    "a whole number": lambda value: _is_whole(value) and value >= 0,
    "a whole number or null": lambda value: value is None or _is_whole(value),
    "a number": lambda value: _is_number(value) and abs(value) < math.inf,
    "a number or null": lambda value: value is None or _is_number(value),
    "a fraction or null": lambda value: value is None or (_is_number(value) and 0 <= value <= 1),
    "an object": lambda value: isinstance(value, dict),
    "an object or null": lambda value: value is None or isinstance(value, dict),
    "an object of numbers": lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
    "a list of names": lambda value: _are(value, lambda one: isinstance(one, str) and len(one) <= _LONGEST_NAME),
    "a list of objects": lambda value: _are(value, lambda one: isinstance(one, dict)),
    "float32 or float64": lambda value: value in get_args(Dtype),
    "a precision": lambda value: value in get_args(Precision),
}


def check_kinds(where: str | Path, content: Any, kinds: Mapping[str, str]) -> None:
    """Checks that JSON has values of the right kinds.

    Args:
        where: What to call it in a message, for example the path of its file.
        content: What was read.
        kinds: Place, for example `"recipe.precision"`, to one of the kinds of this module, such as `"text"`.

    Raises:
        ValueError: If a value is missing or of another kind, or there are hundreds of lists within lists.
    """
    if _is_deep(content):
        raise ValueError(f"{where} must have at most {_DEEPEST} objects within each other. Received: more.")
    for name, expected in kinds.items():
        value = content
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not _CHECKS[expected](value):
            received = repr(value)
            raise ValueError(
                f"{where} must have {expected} as {name!r}, as kzoo wrote it. "
                f"Received: {received if len(received) <= 80 else f'{received[:77]}...'}."
            )


def _is_deep(content: Any) -> bool:
    waiting = [(content, 1)]
    while waiting:
        value, depth = waiting.pop()
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if inner and depth > _DEEPEST:
            return True
        waiting += ((one, depth + 1) for one in inner)
    return False
