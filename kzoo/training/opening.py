"""A run directory for a training: a new one, or one to go on with; of one process at a time."""

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo import environment
from kzoo.training.checkpoint import NUMBERS, checkpoints, newest_state
from kzoo.training.json_files import read_json, write_json
from kzoo.training.kinds import check_kinds
from kzoo.training.lock import locked, write_status
from kzoo.training.run import Run
from kzoo.training.state import TrainState

_SHOWN = 10  # differences


@contextlib.contextmanager
def opened_run(
    directory: Path | None,
    name: str,
    config: Mapping[str, Any],
    splits: Mapping[str, Sequence[str]] | None,
    *,
    resume: bool,
) -> Iterator[tuple[Run, TrainState | None]]:
    """Yields the run of a training, locked, and the state that it goes on from, `None` at its beginning.

    Args:
        directory: Path of the run directory, or `None` for a new one in `runs`.
        name: What a new one is called.
        config: Content of `config.json`.
        splits: Content of `splits.json`, or `None`.
        resume: Whether to go on where there is a run already.

    Raises:
        FileExistsError: If the directory has content, or another process trains in it.
        ValueError: If the run to go on with is another one, or no checkpoint of it is whole.
    """
    with _claimed(directory, name) as path:
        if resume and (path / "config.json").exists():
            run = Run(path)
            config = _as_recorded(config, run)
            state = newest_state(run.checkpoints)
            if state is not None:
                check_kinds(run.checkpoints, state.numbers, NUMBERS)
            check_same(run, config)
            recorded = run.config  # which may say the same in the words of an older kzoo
            if state is not None and state.numbers["training"] != training_fingerprint(recorded):
                raise ValueError(f"{run.checkpoints} must hold states of this training. Received: those of another.")
            check_begins(run, state)
            if (epochs := config["recipe"]["epochs"]) != recorded["recipe"][
                "epochs"
            ]:  # it is not known yet to what end
                (path / "metrics.json").unlink(missing_ok=True)
                write_json(path / "config.json", {**recorded, "recipe": {**recorded["recipe"], "epochs": epochs}})
        else:
            run, state = Run.fill(path, config, splits), None
        write_status(path)
        yield run, state


@contextlib.contextmanager
def _claimed(directory: Path | None, name: str) -> Iterator[Path]:
    """Yields a directory that is locked while it is used."""
    if directory is not None:
        with locked(directory):
            yield directory
        return
    with contextlib.ExitStack() as stack:
        yield _first_free(name, stack)


def _first_free(name: str, stack: contextlib.ExitStack) -> Path:
    """Returns the first directory in `runs` that nobody has, locked until the stack is closed."""
    number = 1
    while True:
        path = Path("runs", name if number == 1 else f"{name}-{number}")
        number += 1
        if not path.exists() or not any(path.iterdir()):
            with contextlib.suppress(FileExistsError):  # another process was faster
                stack.enter_context(locked(path))
                return path


def check_begins(run: Run, state: TrainState | None) -> None:
    """Raises `ValueError` if a run without a state to go on from has what a new beginning would replace."""
    if state is None and (checkpoints(run.checkpoints) or (run.directory / "metrics.json").exists()):
        raise ValueError(
            f"{run.directory} must have a whole checkpoint to go on from. Received: none. A training that begins anew "
            "needs another run directory."
        )


def check_same(run: Run, config: Mapping[str, Any]) -> None:
    """Raises `ValueError` unless a run is of the same model, recipe, data, seed and versions.

    It may have more epochs where the learning rate is constant: other schedules end with the epochs.
    """
    expected, received = _flat(run.config), _flat(json.loads(json.dumps(config)))
    differences = _differing(expected, received)
    about = read_json(run.directory / "environment.json", {"backend": "text", "versions": "an object"})
    now = environment.record()
    kept = ("kzoo", "keras", "numpy", *([now["backend"]] if now["backend"] == about["backend"] else ()))
    for package in kept:
        before = about["versions"].get(package)
        if before != now["versions"].get(package):
            differences[f"version of {package}"] = (before, now["versions"].get(package))
    if now["backend"] != about["backend"]:
        warnings.warn(
            f"{run.directory} began on {about['backend']} and goes on on {now['backend']}: to the same result within "
            f"rounding, not to the byte (KERAS_BACKEND={about['backend']}).",
            stacklevel=2,
        )
    before, after = differences.get("recipe.epochs", (0, 0))
    if after > before and received["recipe.schedule"] == "constant" and received["recipe.warmup"] == 0:
        del differences["recipe.epochs"]
    if differences:
        listed = "\n".join(
            f"  {name}: {_short(before)}, now {_short(after)}"
            for name, (before, after) in [*differences.items()][:_SHOWN]
        )
        if len(differences) > _SHOWN:
            listed += f"\n  and {len(differences) - _SHOWN:,} more"
        raise ValueError(f"{run.directory} must go on as it began. Received:\n{listed}")


def _as_recorded(config: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """Returns a configuration without what the run does not record: it may be from before kzoo recorded that."""
    recorded = run.config["model"]
    return {**config, "model": {name: value for name, value in config["model"].items() if name in recorded}}


def training_fingerprint(config: Mapping[str, Any]) -> str:
    """Returns what a training is known by, however many epochs it has: a hash of 16 hexadecimal digits."""
    content = json.loads(json.dumps(config))
    del content["recipe"]["epochs"]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys((*before, *after))
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _flat(content: Any, name: str = "") -> dict[str, Any]:
    """Returns what is in nested dictionaries and lists by names such as `recipe.epochs`."""
    if not isinstance(content, dict | list) or not content:
        return {name: content}
    items = content.items() if isinstance(content, dict) else enumerate(content)
    inner = [_flat(value, f"{name}.{key}" if name else str(key)) for key, value in items]
    return {key: value for one in inner for key, value in one.items()}
