"""The JSON files of a run directory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kzoo import bounded
from kzoo.durable import written_file
from kzoo.training.kinds import check_kinds

_MOST_BYTES = 1 << 25  # the configuration of ResNet-1202 has a fourth of it


def read_json(path: Path, kinds: Mapping[str, str], most_bytes: int = _MOST_BYTES) -> dict[str, Any]:
    """Reads a JSON file that kzoo wrote.

    Args:
        path: Path of the file.
        kinds: What must be in it, for example `"recipe.precision"`, to its kind, as of `check_kinds`.
        most_bytes: Integer, how long it may be. Defaults to 32 MiB.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is longer, no JSON, or something is missing or of another kind.
    """
    content = bounded.read_json(path, most_bytes)
    for name in kinds:
        inner = content
        for key in name.split("."):
            if not isinstance(inner, dict) or key not in inner:
                raise ValueError(f"{path} must have {name!r}, as kzoo wrote it. Received: none.")
            inner = inner[key]
    check_kinds(path, content, kinds)
    return dict(content)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file aside, then renames it."""
    with written_file(path) as aside:
        aside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
