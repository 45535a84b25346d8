"""What a sweep leaves: its trainings, and a table of what they came to."""

import csv
import dataclasses
import io
import json
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo.arguments import path
from kzoo.durable import written_file
from kzoo.sweeps.grid import directory_name
from kzoo.training.json_files import read_json, write_json
from kzoo.training.kinds import METRICS

FILE = "sweep.json"
_KINDS = {
    "model": "text",
    "arguments": "an object",
    "data.name": "text",
    "data.fingerprint": "an object",
    "backend": "text",
    "recipe": "an object",
    "members": "a list of objects",
}
_MEASURED = ("val_accuracy", "test_accuracy")
_RESULTS = (*_MEASURED, "val_loss", "test_loss", "epochs_run", "best_epoch", "train_seconds")


@dataclasses.dataclass(frozen=True)
class Member:
    """A training of a sweep.

    Attributes:
        settings: Field of the recipe to value, where the grid has several or sets one.
        seed: Integer.
        directory: Path of its run directory.
        failure: Why it failed, or `None`.
    """

    settings: dict[str, Any]
    seed: int
    directory: Path
    failure: str | None = None

    @property
    def metrics(self) -> dict[str, Any] | None:
        """What it came to, as `Run.metrics`, or `None` where it has not ended."""
        file = self.directory / "metrics.json"
        return read_json(file, METRICS) if file.is_file() else None

    @property
    def state(self) -> str:
        """`"done"`, `"failed"`, `"begun"` or `"waiting"`."""
        if (self.directory / "metrics.json").is_file():
            return "done"
        if self.failure is not None:
            return "failed"
        return "begun" if (self.directory / "config.json").is_file() else "waiting"


class Sweep:
    """The directory of a sweep.

    | file | content |
    |---|---|
    | `sweep.json` | model, data, recipe, and each training's settings and seed |
    | `results.csv` | one row a training: settings, seed, what it came to, or why it failed |
    | `summary.csv` | one row a combination of settings: mean, standard deviation and number of trainings |
    | `<settings>-seed<n>/` | a run directory each |

    Args:
        directory: Path of an existing sweep.

    Raises:
        FileNotFoundError: If there is no sweep in that directory.
        ValueError: If its `sweep.json` is none that kzoo wrote.

    Example:
        >>> kzoo.Sweep("sweeps/mine").summary()[0]["test_accuracy_mean"]  # doctest: +SKIP
        0.9931
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = path(directory, "directory")
        file = self.directory / FILE
        if not file.is_file():
            raise FileNotFoundError(f"Expected a sweep, with a {FILE}. Received: {self.directory}.")
        self.about = read_json(file, _KINDS)
        self.members = [_member(file, one) for one in self.about["members"]]

    def __repr__(self) -> str:
        return f"Sweep({str(self.directory)!r})"

    def results(self) -> list[dict[str, Any]]:
        """Returns a row for each training: its settings, seed and state, what it came to, and why it failed."""
        fields = dict.fromkeys(field for member in self.members for field in member.settings)
        rows = []
        for member in self.members:
            metrics = member.metrics or {}
            row = {field: member.settings.get(field) for field in fields}
            row |= {"seed": member.seed, "state": member.state} | {name: metrics.get(name) for name in _RESULTS}
            rows.append(row | {"reason": member.failure if member.state == "failed" else None})
        return rows

    def summary(self) -> list[dict[str, Any]]:
        """Returns a row for each combination of settings.

        Each has the settings; `n`, how many trainings ended well; `failed` and `missing`, how many did not or have yet
        to end; and of the validation and test accuracy the mean and the standard deviation of a sample (`None` for
        fewer than two).
        """
        fields = dict.fromkeys(field for member in self.members for field in member.settings)
        groups = dict[str, list[Member]]()
        for member in self.members:
            groups.setdefault(json.dumps(member.settings, sort_keys=True), []).append(member)
        rows = []
        for members in groups.values():
            ended = [metrics for member in members if (metrics := member.metrics) is not None]
            failed = sum(member.state == "failed" for member in members)
            row = {field: members[0].settings.get(field) for field in fields}
            row |= {"n": len(ended), "failed": failed, "missing": len(members) - len(ended) - failed}
            for name in _MEASURED:
                values = [metrics[name] for metrics in ended if metrics.get(name) is not None]
                row[f"{name}_mean"] = statistics.fmean(values) if values else None
                row[f"{name}_deviation"] = statistics.stdev(values) if len(values) > 1 else None
            rows.append(row)
        return rows

    def failures(self) -> list[Member]:
        """Returns the trainings that failed."""
        return [member for member in self.members if member.state == "failed"]

    def write_tables(self) -> None:
        """Writes `results.csv` and `summary.csv`, whole."""
        _write_csv(self.directory / "results.csv", self.results())
        _write_csv(self.directory / "summary.csv", self.summary())


def write_sweep(directory: Path, about: Mapping[str, Any], members: Iterable[Member]) -> None:
    """Writes `sweep.json`, whole."""
    listed = [{"settings": one.settings, "seed": one.seed, "failure": one.failure} for one in members]
    write_json(directory / FILE, {**about, "members": listed})


def _member(file: Path, about: Mapping[str, Any]) -> Member:
    settings, seed, failure = about.get("settings"), about.get("seed", -1), about.get("failure")
    is_seed = isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**64
    if not isinstance(settings, dict) or not is_seed or not isinstance(failure, str | None):
        raise ValueError(f"{file} must have settings and a seed of each training, as kzoo wrote it. Received: others.")
    return Member(settings, seed, file.parent / directory_name(settings, seed), failure)


def _write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows(rows)
    with written_file(file) as aside:
        aside.write_bytes(text.getvalue().encode(errors="backslashreplace"))
