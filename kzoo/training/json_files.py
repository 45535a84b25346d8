"""The JSON files of a run directory."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo import bounded
from kzoo.durable import written_file

# What `load_dataset` is called with again.
_OF_SOURCE: dict[str, Any] = {
    "name_or_path": str,
    "data_dir": str | None,
    "image_size": int | list | None,
    "resize": str,
    "channels": int,
    "background": int,
    "skip_unreadable": bool,
    "validation": int | float,
    "test": int | float,
    "split_seed": int,
    "flip": bool | None,
    "balance": bool,
}
_LONGEST_NAME = 10_000
_MOST_BYTES = 1 << 25  # the configuration of ResNet-1202 has a fourth of it


def read_json(path: Path, needed: Sequence[str], most_bytes: int = _MOST_BYTES) -> dict[str, Any]:
    """Reads a JSON file that kzoo wrote.

    Args:
        path: Path of the file.
        needed: What must be in it, for example `"recipe.precision"`.
        most_bytes: Integer, how long it may be. Defaults to 32 MiB.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is longer, no JSON, or something needed is not in it.
    """
    content = bounded.read_json(path, most_bytes)
    for name in needed:
        inner = content
        for key in name.split("."):
            if not isinstance(inner, dict) or key not in inner:
                raise ValueError(f"{path} must have {name!r}, as kzoo wrote it. Received: none.")
            inner = inner[key]
    return dict(content)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file aside, then renames it."""
    with written_file(path) as aside:
        aside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def check_data(data: Mapping[str, Any], path: Path) -> None:
    """Raises `ValueError` unless what a `config.json` says of the data can be loaded and shown."""
    names, source = data["class_names"], data["source"]
    if not isinstance(names, list) or not all(isinstance(name, str) and len(name) <= _LONGEST_NAME for name in names):
        raise ValueError(f"{path} must name classes, each by at most {_LONGEST_NAME:,} characters. Received: others.")
    if source is None:
        return
    if not isinstance(source, dict) or "name_or_path" not in source:
        raise ValueError(f"{path} must name the data, as `data.source.name_or_path`. Received: none.")
    for name, value in source.items():
        if name not in _OF_SOURCE or not isinstance(value, _OF_SOURCE[name]):
            raise ValueError(
                f"{path} must have in `data.source` what `load_dataset` takes. Received: {name[:100]!r}, of type "
                f"{type(value).__name__}."
            )
