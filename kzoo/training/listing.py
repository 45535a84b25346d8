"""What became of trainings: done, going on, or interrupted."""

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kzoo.bounded import read_json
from kzoo.training.lock import STATUS, STATUS_BYTES, command_to_go_on, holder, is_locked
from kzoo.training.run import Run


@dataclasses.dataclass(frozen=True)
class RunState:
    """A run directory, and what became of its training.

    Attributes:
        directory: Path of the run directory.
        state: `"done"`, `"going on (process ... on ...)"`, `"interrupted"`, or `"ended: ..."` or `"damaged: ..."` with
            the error.
        epochs_done: Integer, how many epochs `history.csv` has.
        epochs: Integer, of the recipe.
        command: What to do to go on, or `None` where nothing is to be done.
    """

    directory: str
    state: str
    epochs_done: int
    epochs: int
    command: str | None


def list_runs(folders: Iterable[str | os.PathLike[str]]) -> list[RunState]:
    """Returns the state of each run in some folders, or that they are, the oldest first.

    Raises:
        FileNotFoundError: If a folder does not exist.
    """
    found = list[Path]()
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise FileNotFoundError(f"Expected a folder of runs. Received: {folder}, which does not exist.")
        found += [path for path in (folder, *sorted(folder.iterdir())) if (path / "config.json").is_file()]
    return [
        _state_or_damage(Run(path)) for path in sorted(found, key=lambda path: (path / "config.json").stat().st_mtime)
    ]


def _state_or_damage(run: Run) -> RunState:
    try:
        return _state_of(run)
    except ValueError as error:
        return RunState(str(run.directory), f"damaged: {error}", 0, 0, None)


def _state_of(run: Run) -> RunState:
    epochs = run.config["recipe"].get("epochs", 0)
    try:
        done = len(run.history)
    except FileNotFoundError:
        done = 0
    if is_locked(run.directory):
        return RunState(str(run.directory), f"going on ({holder(run.directory)})", done, epochs, None)
    if (run.directory / "metrics.json").is_file():
        return RunState(str(run.directory), "done", done, epochs, None)
    status = _status(run)
    if ended := status.get("ended"):
        return RunState(str(run.directory), f"ended: {ended}", done, epochs, None)
    command = command_to_go_on(run.directory, str(status.get("command", "")))
    return RunState(str(run.directory), "interrupted", done, epochs, command)


def _status(run: Run) -> dict[str, Any]:
    try:
        return dict(read_json(run.directory / STATUS, STATUS_BYTES))
    except (OSError, ValueError, TypeError):
        return {}
