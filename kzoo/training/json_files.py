"""The JSON files of a run directory."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo import bounded
from kzoo.durable import written_file

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
