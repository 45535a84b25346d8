"""The run directory: all that a training leaves behind, and all that later steps read."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from kzoo import environment
from kzoo.acceleration.registry import acceleration_report
from kzoo.data import Dataset, load_dataset
from kzoo.ops import precision
from kzoo.recursion import deep_recursion

_OF_CONFIG = (
    "model.name",
    "model.architecture",
    "data.name",
    "data.source",
    "data.class_names",
    "recipe.precision",
    "seed",
)
_OF_METRICS = (
    "model",
    "data",
    "backend",
    "seed",
    "epochs_run",
    "best_epoch",
    "val_loss",
    "val_accuracy",
    "test_accuracy",
    "images_per_second",
)


class Run:
    """A run directory.

    | file | content |
    |---|---|
    | `config.json` | model, data, recipe, seed: everything needed to repeat the run |
    | `environment.json` | versions, backend, device, what accelerates kzoo here and what is off |
    | `history.csv` | one row an epoch |
    | `history.png` | the learning curves |
    | `model.weights.h5` | the weights that the training ended with: of the best epoch, with early stopping |
    | `metrics.json` | the result; written last, so a run that has it is whole |

    Args:
        directory: Path of an existing run directory.

    Raises:
        FileNotFoundError: If there is no run in that directory.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        if not (self.directory / "config.json").is_file():
            raise FileNotFoundError(f"Expected a run directory, with a config.json. Received: {self.directory}.")

    @classmethod
    def create(cls, directory: str | os.PathLike[str], config: Mapping[str, Any]) -> "Run":
        """Makes a run directory that holds its `config.json` and `environment.json`.

        Raises:
            FileExistsError: If the directory exists and is not empty.
        """
        directory = Path(directory)
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise FileExistsError(f"A run needs a new or empty directory. Received: {directory}, which has content.")
        directory.mkdir(parents=True, exist_ok=True)
        about = {**environment.record(), "acceleration": _accelerations()}
        write_json(directory / "environment.json", about)
        write_json(directory / "config.json", config)
        return cls(directory)

    def __repr__(self) -> str:
        return f"Run({str(self.directory)!r})"

    @property
    def weights_path(self) -> Path:
        """Path of the weights file."""
        return self.directory / "model.weights.h5"

    @property
    def config(self) -> dict[str, Any]:
        """Content of `config.json`.

        Raises:
            ValueError: If it is none that a training wrote.
        """
        return self._read("config.json", _OF_CONFIG)

    @property
    def metrics(self) -> dict[str, Any]:
        """Content of `metrics.json`.

        Raises:
            FileNotFoundError: If the training has not ended.
            ValueError: If it is none that a training wrote.
        """
        return self._read("metrics.json", _OF_METRICS)

    @property
    def history(self) -> list[dict[str, float]]:
        """Rows of `history.csv`, one an epoch, with the epoch counted from 1.

        Raises:
            FileNotFoundError: If the training has not ended.
            ValueError: If a row is damaged.
        """
        path = self._existing("history.csv")
        with path.open(newline="", encoding="utf-8") as file:
            names, *rows = [row for row in csv.reader(file) if row] or [[]]
        return [_history_row(path, number, names, row) for number, row in enumerate(rows, start=1)]

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name a class."""
        return tuple(self.config["data"]["class_names"])

    def load_model(self) -> keras.Model:
        """Builds the model anew and loads the run's weights, on any backend.

        The model has the precision that it was trained in; that of the process stays as it is.
        """
        from kzoo.weights import load_weights

        config = self.config
        with precision(config["recipe"]["precision"]), deep_recursion():
            model = keras.models.model_from_json(json.dumps(config["model"]["architecture"]))
            load_weights(model, self.weights_path)
        return model

    def load_dataset(self) -> Dataset:
        """Loads the dataset that the run was trained on, split as it was.

        Raises:
            ValueError: If the run was trained on a dataset that `load_dataset` did not load.
        """
        source = self.config["data"]["source"]
        if source is None:
            raise ValueError(f"{self.directory} was trained on a dataset made in a program; name another one.")
        return load_dataset(**source)

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Writes `history.csv`, whole."""
        aside = self.directory / ".history.csv"
        with aside.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        aside.replace(self.directory / "history.csv")

    def _existing(self, name: str) -> Path:
        path = self.directory / name
        if not path.is_file():
            raise FileNotFoundError(f"{self.directory} has no {name}: the training has not ended.")
        return path

    def _read(self, name: str, needed: Sequence[str]) -> dict[str, Any]:
        return read_json(self._existing(name), needed)


def _accelerations() -> dict[str, str]:
    """Returns, for each acceleration, `"on"` or why it is off."""
    return {one["name"]: "on" if one["active"] else f"off: {one['reason']}" for one in acceleration_report()}


def new_run_directory(name: str, parent: str | os.PathLike[str] = "runs") -> Path:
    """Returns `parent/name`, or with `-2`, `-3`, ... appended if that is taken."""
    path, number = Path(parent, name), 1
    while path.exists():
        number += 1
        path = Path(parent, f"{name}-{number}")
    return path


def _history_row(path: Path, number: int, names: Sequence[str], row: Sequence[str]) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in zip(names, row, strict=True)}
    except ValueError as error:
        raise ValueError(
            f"{path} must have {len(names)} numbers a row. Received: {','.join(row)!r} in row {number}."
        ) from error


def read_json(path: Path, needed: Sequence[str]) -> dict[str, Any]:
    """Reads a JSON file that kzoo wrote.

    Args:
        path: Path of the file.
        needed: What must be in it, for example `"recipe.precision"`.

    Raises:
        ValueError: If it is no JSON, or something needed is not in it.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON, as kzoo wrote it. Received: {error}.") from error
    for name in needed:
        inner = content
        for key in name.split("."):
            if not isinstance(inner, dict) or key not in inner:
                raise ValueError(f"{path} must have {name!r}, as kzoo wrote it. Received: none.")
            inner = inner[key]
    return dict(content)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file aside, then renames it."""
    aside = path.with_name(f".{path.name}")
    aside.write_text(json.dumps(content, indent=2) + "\n")
    aside.replace(path)
