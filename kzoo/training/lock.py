"""Run directories are of one process at a time."""

import contextlib
import itertools
import json
import os
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

from kzoo import environment
from kzoo.bounded import read_json
from kzoo.durable import ASIDE, written_file

LOCK = ".lock"
STATUS = "status.json"
STATUS_BYTES = 1 << 20
_BEFORE_THE_CONFIG = (LOCK, STATUS, "environment.json", "splits.json")  # of a run that died before it began


@contextlib.contextmanager
def locked(directory: Path, wait_s: float = 0.5) -> Iterator[None]:
    """Holds a directory for this process: of a run, or a new or empty one, which is made if it is not there.

    Args:
        directory: Path of the directory.
        wait_s: Float, how long to wait for it: `is_locked` has it for a moment. Defaults to `0.5`.

    Raises:
        FileExistsError: If another process holds it, or it has other content.
    """
    from filelock import FileLock, Timeout

    if not (directory / LOCK).exists() and not (directory / "config.json").exists():
        check_empty(directory)
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / LOCK)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        raise FileExistsError(f"{directory} must be of one training. Received: {holder(directory)} has it.") from None
    try:
        yield
    finally:
        lock.release()


def is_locked(directory: Path) -> bool:
    """Returns whether a process holds a directory; no where that may not be asked: it is another user's."""
    if not (directory / LOCK).exists():
        return False
    try:
        with locked(directory, wait_s=0):
            return False
    except FileExistsError:
        return True
    except PermissionError:
        return False


def write_status(directory: Path, ended: str | None = None) -> None:
    """Writes down who trains in a directory, or why the training ended."""
    about = {"pid": os.getpid(), "host": socket.gethostname(), "command": environment.command(), "ended": ended}
    with written_file(directory / STATUS) as aside:
        aside.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def holder(directory: Path) -> str:
    """Returns who wrote down last that it trains in a directory."""
    try:
        status = read_json(directory / STATUS, STATUS_BYTES)
        return f"process {int(status['pid'])} on {status['host']} ({status['command']})"
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return "another process"


def check_empty(directory: Path) -> None:
    """Raises `FileExistsError` if a directory has content: the lock, and what a death left of a beginning, are none."""
    if not directory.exists():
        return
    names = {path.name for path in directory.iterdir()} if directory.is_dir() else {"config.json"}
    if "config.json" in names or not all(map(_is_left, names)):
        raise FileExistsError(f"A run needs a new or empty directory. Received: {directory}, which has content.")


def _is_left(name: str) -> bool:
    return name in _BEFORE_THE_CONFIG or name.startswith(ASIDE)


def command_to_go_on(directory: Path, command: str) -> str:
    """Returns what to do to go on with a training that was begun by a command, which a stranger may have written."""
    try:
        words = shlex.split(command) if command.isprintable() else []
    except ValueError:
        words = []
    if words[:2] != ["kzoo", "train"] and words[:4] != ["python", "-m", "kzoo.cli", "train"]:
        return f"run the program again with run_dir={str(directory)!r}, resume=True"
    kept = [
        word
        for before, word in itertools.pairwise(["", *words])
        if before != "--run" and word not in ("--run", "--resume") and not word.startswith("--run=")
    ]
    return shlex.join([*kept, "--run", str(directory), "--resume"])  # it may have been moved since
