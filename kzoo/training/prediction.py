"""Classifies image files with a run's model."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kzoo import arguments
from kzoo.evaluation import log_probabilities, log_softmax


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model sees in a file: the likeliest classes, best first, with their probabilities.

    Attributes:
        file: String, path of the file.
        classes: Names of the likeliest classes, best first.
        probabilities: Their probabilities.

    Example:
        >>> PIL.Image.new("RGB", (32, 32)).save("black.png")
        >>> (found,) = kzoo.predict_files(kzoo.Preset("digits/resnet20"), "black.png", top=2)
        >>> len(found.classes)
        2
    """

    file: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


class Predictor(Protocol):
    """A `kzoo.Run` or a `kzoo.Preset`."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """One name a class."""

    def load_model(self, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Returns the model."""

    def decoding(self, model: Any) -> Any:
        """Returns how files become what the model takes."""


def predict_files(
    run: Predictor,
    files: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    top: int = 1,
    *,
    custom_objects: Mapping[str, Any] | None = None,
) -> list[Prediction]:
    """Classifies image files of any size and mode that Pillow reads, decoded and resized as in the training.

    The probabilities of a preset that has a temperature are scaled by it; that changes no order.

    Args:
        run: The `Run` or `Preset` whose model to use.
        files: Paths of image files, or one.
        top: Integer, how many classes to name, 1 or larger; all where there are not so many. Defaults to `1`.
        custom_objects: As of `Run.load_model`. Defaults to `None`.

    Returns:
        One `Prediction` a file.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If a file is not a readable image, the model predicts NaN for it, `top` is below 1, or the run does
            not name as many classes as its model has.

    Example:
        >>> PIL.Image.new("RGB", (32, 32)).save("black.png")
        >>> (found,) = kzoo.predict_files(kzoo.Preset("digits/resnet20"), "black.png")
        >>> found.file
        'black.png'
    """
    top = arguments.integer(top, "top", least=1)
    arguments.objects(custom_objects)
    if not hasattr(run, "load_model"):
        raise ValueError(
            f"`run` must be a kzoo.Run or a kzoo.Preset, such as `kzoo.Run(directory)`. Received: run={run!r}."
        )
    if not isinstance(files, Iterable | os.PathLike):
        raise ValueError(f"`files` must be paths of image files, or one. Received: files={files!r}.")
    files = [arguments.path(file, "files") for file in ([files] if isinstance(files, str | os.PathLike) else files)]
    if folders := [os.fspath(file) for file in files if Path(file).is_dir()]:
        raise ValueError(f"`files` must be image files. Received: {folders[0]!r}, a folder.")
    if not files:
        return []
    model = run.load_model(custom_objects)
    decoding = run.decoding(model)
    images = np.stack([decoding.decode(Path(file).read_bytes(), os.fspath(file)) for file in files])
    temperature = getattr(run, "temperature", None) or 1.0
    probabilities = np.exp(log_softmax(log_probabilities(model, images) / temperature))
    names = run.class_names or ()
    if len(names) != probabilities.shape[1]:
        raise ValueError(f"{run} must name {probabilities.shape[1]} classes. Received: {len(names)} names.")
    predictions = []
    for file, values in zip(files, probabilities, strict=True):
        if np.isnan(values).any():
            raise ValueError(f"The model must predict numbers. Received: NaN for {os.fspath(file)}.")
        best = np.argsort(-values, kind="stable")[:top]
        predictions.append(
            Prediction(os.fspath(file), tuple(names[i] for i in best), tuple(float(values[i]) for i in best))
        )
    return predictions
