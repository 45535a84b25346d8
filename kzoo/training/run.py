"""The run directory: all that a training leaves behind, and all that later steps read."""

import csv
import dataclasses
import inspect
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from kzoo import environment
from kzoo.acceleration.registry import acceleration_report
from kzoo.arguments import path
from kzoo.bounded import read_bytes
from kzoo.data import Dataset, Decoding, load_dataset
from kzoo.durable import written_file
from kzoo.ops import precision
from kzoo.rebuilding import rebuilt
from kzoo.recursion import deep_recursion
from kzoo.training.json_files import read_json, write_json
from kzoo.training.kinds import CONFIG, METRICS, SOURCE, check_kinds
from kzoo.training.lock import check_empty, locked
from kzoo.training.recipe_files import read_recipe_of_run
from kzoo.training.recipes import Recipe

_HISTORY_BYTES = 1 << 26
_SPLITS_BYTES = 1 << 28
SPLITS = dict.fromkeys(("train", "validation", "test"), "a list of names")


class Run:
    """A run directory.

    | file | content |
    |---|---|
    | `config.json` | model, data, recipe, seed: everything needed to repeat the run; `pixel_statistics` as they were |
    | `environment.json` | versions, backend, device, what accelerates kzoo here and what is off |
    | `splits.json` | which files of a folder or zip were trained on, validated and tested |
    | `history.csv` | one row an epoch; empty where an epoch has no such value |
    | `history.png` | the learning curves |
    | `model.weights.h5` | the weights that the training ended with: of the best epoch, with early stopping |
    | `metrics.json` | the result; written last, so a run that has it is whole |

    In `metrics.json`, `best_epoch` is the epoch whose weights the model ended with, whatever chose it: `null` if they
    are those of no epoch's end, as averages are. `epochs_run` is the number of the last epoch, also where a callback
    went on with an earlier training, and `stopped_early` tells whether steps of the recipe are missing.

    Args:
        directory: Path of an existing run directory.

    Raises:
        FileNotFoundError: If there is no run in that directory.

    Example:
        >>> kzoo.Run("runs/mine").metrics["test_accuracy"]  # doctest: +SKIP
        0.9972
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = path(directory, "directory")
        if not (self.directory / "config.json").is_file():
            raise FileNotFoundError(f"Expected a run directory, with a config.json. Received: {self.directory}.")

    @classmethod
    def create(
        cls,
        directory: str | os.PathLike[str],
        config: Mapping[str, Any],
        splits: Mapping[str, Sequence[str]] | None = None,
    ) -> "Run":
        """Makes a run directory that holds its `config.json`, `environment.json` and perhaps `splits.json`.

        Raises:
            FileExistsError: If the directory exists and is not empty.
        """
        with locked(Path(directory)):
            return cls.fill(directory, config, splits)

    @classmethod
    def fill(
        cls,
        directory: str | os.PathLike[str],
        config: Mapping[str, Any],
        splits: Mapping[str, Sequence[str]] | None,
    ) -> "Run":
        """Does what `create` does in a directory that is locked."""
        directory = Path(directory)
        check_empty(directory)
        about = {**environment.record(), "acceleration": _accelerations()}
        write_json(directory / "environment.json", about)
        if splits is not None:
            write_json(directory / "splits.json", splits)
        write_json(directory / "config.json", config)
        return cls(directory)

    def __repr__(self) -> str:
        return f"Run({str(self.directory)!r})"

    @property
    def weights_path(self) -> Path:
        """Path of the weights file."""
        return self.directory / "model.weights.h5"

    @property
    def checkpoints(self) -> Path:
        """Path of the folder of checkpoints."""
        return self.directory / "checkpoints"

    @property
    def config(self) -> dict[str, Any]:
        """Content of `config.json`.

        Raises:
            ValueError: If it is none that a training wrote.
        """
        return self._read("config.json", CONFIG)

    @property
    def metrics(self) -> dict[str, Any]:
        """Content of `metrics.json`.

        Raises:
            FileNotFoundError: If the training has not ended.
            ValueError: If it is none that a training wrote.
        """
        return self._read("metrics.json", METRICS)

    @property
    def history(self) -> list[dict[str, float]]:
        """Rows of `history.csv`, one an epoch, with the epoch counted from 1, without what an epoch has no value of.

        Raises:
            FileNotFoundError: If no epoch has ended.
            ValueError: If it is damaged.
        """
        path = self._existing("history.csv")
        try:
            text = io.StringIO(read_bytes(path, _HISTORY_BYTES).decode(), newline="")
            return [_numbers(row) for row in csv.DictReader(text, strict=True)]
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path} must have a number or nothing in each column of each row. {error}") from error

    @property
    def recipe(self) -> Recipe:
        """The recipe that the run was trained by.

        Raises:
            ValueError: If `config.json` holds none.
        """
        return read_recipe_of_run(self.directory)

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name a class."""
        return tuple(self.config["data"]["class_names"])

    def decoding(self, model: keras.Model) -> Decoding:
        """Returns how image files become what the run's `model` takes; `ValueError` if the config does not say it."""
        source = self.config["data"]["source"] or {}
        options = {name: source[name] for name in ("resize", "background") if name in source}
        *size, channels = model.input_shape[1:]
        image_size = source.get("image_size") if None in size else size  # of a model of any size, as it was trained
        try:
            return Decoding(image_size, channels=channels, **options)
        except ValueError as error:
            raise ValueError(f"{self.directory / 'config.json'} must say how to decode images. {error}") from error

    def check_classes(self, dataset: Dataset) -> None:
        """Raises `ValueError` unless a `dataset` has the classes that the run was trained on, in their order."""
        dataset.check_class_names(self.class_names, self.directory)

    def load_model(self, custom_objects: Mapping[str, Any] | None = None) -> keras.Model:
        """Returns the model, built anew, with the run's weights, on any backend.

        The run may be a stranger's: nothing in it is imported or called but layers of Keras and kzoo that are known to
        run no code of others, and no more memory is taken than its weights need. The model is not compiled. It has the
        precision that it was trained in; that of the process stays as it is.

        Args:
            custom_objects: Name to class or function: what else the model may consist of, as for
                `keras.saving.load_model`. Defaults to `None`.

        Raises:
            FileNotFoundError: If the run has no weights.
            ValueError: If the model consists of anything else, or the weights are not its own.
        """
        from kzoo.presets import load_weights

        with precision(self.config["recipe"]["precision"]):
            model = self._built(custom_objects)
            with deep_recursion():
                load_weights(model, self.weights_path)
        if hasattr(model, "class_names") and len(self.class_names) == model.output_shape[-1]:
            model.class_names = self.class_names
        return model

    def _built(self, custom_objects: Mapping[str, Any] | None) -> keras.Model:
        architecture = self.config["model"]["architecture"]
        weights_bytes = self._existing(self.weights_path.name).stat().st_size
        try:
            return rebuilt(architecture, weights_bytes=weights_bytes, custom_objects=custom_objects)
        except ValueError as error:
            raise ValueError(f"{self.directory / 'config.json'} does not hold a model: {error}") from error

    def save_preset(self, directory: str | os.PathLike[str], dataset: Dataset | None = None, **about: Any) -> Path:
        """Saves the run's model as a preset, with a card of all that is known of its training.

        The validation and test images are evaluated once more: the card has the accuracy, also class by class, and the
        calibration error before and after a temperature that is fitted on the validation images.

        Args:
            directory: Path of the folder, new, empty or of a preset, which is replaced.
            dataset: The `Dataset` of the training. Defaults to `None`, to load it as `load_dataset` does; of a dataset
                that was made in a program, the card has what the training has measured.
            **about: `measure`, `False` to measure nothing anew; `precision`, if the preset shall compute in another one
                than the training; `description` and `licence` (an SPDX identifier), strings for the card.

        Returns:
            The path of the folder.

        Raises:
            FileNotFoundError: If the training has not ended, or its data are not there.
            FileExistsError: If the folder has other content.
            ValueError: If the model is not one that a constructor of kzoo built, or the data are others.
        """
        from kzoo.training.publishing import save_run

        return save_run(self, directory, dataset, **about)

    def load_dataset(
        self,
        name_or_path: str | os.PathLike[str] | None = None,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        cache: bool = True,
        custom_objects: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """Loads the dataset that the run was trained on, split as it was, or another one, decoded as that was.

        Args:
            name_or_path: Another dataset, as of `kzoo.load_dataset`. Defaults to `None`.
            data_dir: Path of the folder of prepared datasets, for another dataset. Defaults to `None`.
            cache: As of `kzoo.load_dataset`. Defaults to `True`.
            custom_objects: As of `load_model`, for another dataset. Defaults to `None`.

        Returns:
            A `kzoo.Dataset`.

        Raises:
            ValueError: If the run was trained on a dataset that `load_dataset` did not load, and no other is named.
        """
        source = self.config["data"]["source"]
        if name_or_path is not None:
            decoding = dataclasses.asdict(self.decoding(self._built(custom_objects)))
            return load_dataset(name_or_path, data_dir=data_dir, cache=cache, **decoding)
        if source is None:
            raise ValueError(f"{self.directory} was trained on a dataset made in a program; name another one.")
        check_kinds(self.directory / "config.json", source, SOURCE)
        if others := source.keys() - inspect.signature(load_dataset).parameters.keys():
            raise ValueError(f"{self.directory / 'config.json'} must say how to load data. Received: {sorted(others)}.")
        source = {name: value for name, value in source.items() if value is not None}
        listed = self.directory / "splits.json"
        splits = read_json(listed, SPLITS, _SPLITS_BYTES) if listed.exists() else None
        cache = cache or (splits is None and source.get("skip_unreadable", False))
        return load_dataset(**source, splits=splits, cache=cache)

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Writes `history.csv`, whole, of `rows` from column to number, one an epoch."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
        with written_file(self.directory / "history.csv") as aside:
            aside.write_bytes(text.getvalue().encode())

    def _existing(self, name: str) -> Path:
        path = self.directory / name
        if not path.is_file():
            raise FileNotFoundError(f"{self.directory} has no {name}: the training has not ended.")
        return path

    def _read(self, name: str, kinds: Mapping[str, str]) -> dict[str, Any]:
        return read_json(self._existing(name), kinds)


def _numbers(row: dict[str, str]) -> dict[str, float]:
    """Returns a row's values that are not empty; the reader puts `None` where columns are missing or too many."""
    if None in row or None in row.values():
        raise ValueError(
            f"Received: a row of another length, {[value for value in row.values() if value is not None]}."
        )
    return {name: float(value) for name, value in row.items() if value}


def _accelerations() -> dict[str, str]:
    """Returns, for each acceleration, `"on"` or why it is off."""
    return {one["name"]: "on" if one["active"] else f"off: {one['reason']}" for one in acceleration_report()}
