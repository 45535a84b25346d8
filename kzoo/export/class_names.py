"""The name of an export, and the names of the classes beside a model: one a line, in the order of the outputs."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from kzoo.bounded import read_bytes

_MOST_BYTES = 1 << 26

# Control characters, separators of lines and paragraphs, halves of characters: readers would see other lines.
_REFUSED = {"Cc", "Zl", "Zp", "Cs"}


def checked_class_names(class_names: Iterable[str], classes: int) -> list[str]:
    """Returns the names as a list.

    Raises:
        ValueError: Unless there are as many different names as classes, each of which is a line.
    """
    given = list(class_names) if isinstance(class_names, Iterable) and not isinstance(class_names, str) else []
    if len(given) != classes or len(set(map(repr, given))) != classes:
        raise ValueError(f"`class_names` must be {classes} different names. Received: class_names={class_names}.")
    if bad := [name for name in given if not _is_line(name)]:
        raise ValueError(
            f"`class_names` must be one line each, not empty, without control characters. Received: {bad}."
        )
    return given


def check_name(name: str) -> None:
    """Raises `ValueError` unless a name may be what servers call a model: it is a folder and a part of addresses."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError(f"`name` must be letters, digits, '_', '.' and '-'. Received: name={name!r}.")


def write_class_names(path: Path, class_names: Sequence[str]) -> None:
    """Writes names that `checked_class_names` returns, in UTF-8."""
    path.write_bytes("".join(f"{name}\n" for name in class_names).encode())


def read_class_names(path: Path, classes: int) -> tuple[str, ...]:
    """Reads what `write_class_names` wrote; nothing but a line feed ends a name.

    Raises:
        ValueError: If there are not as many names as classes, or the file is no text in UTF-8.
    """
    try:
        names = tuple(read_bytes(path, _MOST_BYTES).decode().removesuffix("\n").split("\n"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8. Received: {error}.") from error
    if len(names) != classes:
        raise ValueError(f"{path} must have one name a class, {classes}. Received: {len(names)}.")
    return names


def _is_line(name: str) -> bool:
    return isinstance(name, str) and bool(name.strip()) and not _REFUSED & set(map(unicodedata.category, name))
