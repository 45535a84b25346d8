"""States of a training on the disk: the newest two, whole and checked."""

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

from kzoo.archives import read_arrays, write_arrays
from kzoo.bounded import read_json
from kzoo.durable import remove_folder, remove_rest, written_folder
from kzoo.training.kinds import check_kinds
from kzoo.training.state import TrainState

FORMAT = 1
_KEPT = 2
_MANIFEST_BYTES = 1 << 16
_NUMBERS_BYTES = 1 << 28
_FILES = ("arrays.npz", "state.json")
# What a training goes on from.
NUMBERS = {
    "training": "text",
    "epoch": "a whole number",
    "batch": "a whole number",
    "step": "a whole number",
    "logs": "an object of numbers",
    "stopped": "true or false",
    "finished": "true or false",
    "callbacks": "a list of objects",
}


def write_checkpoint(folder: Path, state: TrainState) -> Path:
    """Writes a state into a folder of its own, and removes all but the newest two.

    Args:
        folder: Path of the folder of checkpoints.
        state: The `TrainState`.

    Returns:
        Path of the checkpoint, named after its step.
    """
    path = folder / f"step-{state.numbers['step']:010d}"
    with written_folder(path) as aside:
        write_arrays(aside / "arrays.npz", state.arrays)
        (aside / "state.json").write_text(json.dumps(state.numbers, indent=1), encoding="utf-8")
        files = {name: _seal(aside / name) for name in _FILES}
        (aside / "manifest.json").write_text(json.dumps({"format": FORMAT, "files": files}, indent=1), encoding="utf-8")
    keep_newest(folder, _KEPT)
    return path


def keep_newest(folder: Path, count: int) -> None:
    """Removes all checkpoints of a folder but the newest, and what a death left."""
    for old in checkpoints(folder)[:-count]:
        remove_folder(old)
    remove_rest(folder)


def checkpoints(folder: Path) -> list[Path]:
    """Returns the paths of the checkpoints in a folder, the oldest first."""
    return sorted(folder.glob("step-*"))


def newest_state(folder: Path) -> TrainState | None:
    """Returns the newest state in a folder that is whole, or `None` if there is none; damaged ones are named."""
    for path in reversed(checkpoints(folder)):
        try:
            return read_checkpoint(path)
        except ValueError as error:
            warnings.warn(f"{error} The one before is taken.", stacklevel=2)
    return None


def read_checkpoint(path: Path) -> TrainState:
    """Reads a checkpoint.

    Raises:
        ValueError: If a file is missing, is not what was written, or is none of a checkpoint.
    """
    try:
        manifest = read_json(path / "manifest.json", _MANIFEST_BYTES)
        if manifest["format"] != FORMAT:
            raise ValueError(f"of format {manifest['format']!r}, and this kzoo reads {FORMAT}")
        for name in _FILES:
            if (found := _seal(path / name)) != manifest["files"][name]:
                raise ValueError(f"{name} with {found['bytes']:,} bytes that are not those that were written")
        numbers = read_json(path / "state.json", _NUMBERS_BYTES)
        check_kinds("state.json", numbers, {})
        return TrainState(read_arrays(path / "arrays.npz", packed=False), numbers)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be a whole checkpoint. Received: {error}.") from error


def _seal(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
