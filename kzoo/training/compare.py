"""Compares runs: what they reached, and what differs in how they were made."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo.training.kinds import METRICS
from kzoo.training.picture import plot_comparison
from kzoo.training.run import Run


def find_runs(paths: Iterable[str | os.PathLike[str]]) -> tuple[list[Run], list[Path]]:
    """Opens run directories, and all finished ones in the folders that are none.

    Args:
        paths: Paths of run directories, or of folders of them.

    Returns:
        The runs, and the directories of those in folders whose training has not ended.

    Raises:
        FileNotFoundError: If a path is neither a run directory nor a folder with one.
    """
    runs, unfinished = list[Run](), list[Path]()
    for path in map(Path, paths):
        inside = [] if (path / "config.json").is_file() else sorted(file.parent for file in path.glob("*/config.json"))
        unfinished += [folder for folder in inside if not (folder / "metrics.json").is_file()]
        runs += [Run(folder) for folder in inside if folder not in unfinished] if inside else [Run(path)]
    return runs, unfinished


def compare_runs(runs: Sequence[Run], picture: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Tabulates the results of runs, and draws their learning curves over each other.

    Args:
        runs: At least one `Run`.
        picture: Path of the PNG to write.

    Returns:
        One row a run: its directory, what it reached, and the settings that are not the same in all: of the recipe as
        `recipe.epochs`, of the data as `data.source.image_size`, the model's arguments as `arguments.dropout`.

    Raises:
        FileNotFoundError: If a training has not ended.
        ValueError: If there is no run.
    """
    if not runs:
        raise ValueError("`runs` must be one run or more whose training has ended. Received: none.")
    rows = [{"run": str(run.directory)} | {name: run.metrics.get(name) for name in METRICS} for run in runs]
    settings = [dict(settings_of(run.config)) for run in runs]
    names = dict.fromkeys(name for one in settings for name in one)
    differing = [name for name in names if any(one.get(name) != settings[0].get(name) for one in settings)]
    plot_comparison({str(run.directory): run.history for run in runs}, os.fspath(picture))
    return [row | {name: one.get(name) for name in differing} for row, one in zip(rows, settings, strict=True)]


def settings_of(config: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Yields how a run was made; of the architecture a digest without its seeds. Name and seed are in every row."""
    yield from _flat("recipe", config["recipe"])
    yield from _flat("arguments", config["model"].get("arguments"))
    architecture = json.dumps(_without_seeds(config["model"]["architecture"]), sort_keys=True)
    yield "architecture", hashlib.sha256(architecture.encode()).hexdigest()[:8]
    yield from _flat("pixel_normalization", config["model"].get("pixel_normalization"))
    yield from _flat("data", {name: value for name, value in config["data"].items() if name != "name"})


def _flat(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield name, value
        return
    for key, inner in value.items():
        yield from _flat(f"{name}.{key}", inner)


def _without_seeds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_seeds(inner) for key, inner in value.items() if key != "seed"}
    return [_without_seeds(inner) for inner in value] if isinstance(value, list) else value
