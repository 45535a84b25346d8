"""Classifies image files with a run's model."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kzoo.data import decode_image
from kzoo.evaluation import log_probabilities
from kzoo.training.run import Run


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model sees in a file: the likeliest classes, best first, with their probabilities."""

    file: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


def predict_files(
    run: Run, files: Sequence[str | os.PathLike[str]] | str | os.PathLike[str], top: int = 1
) -> list[Prediction]:
    """Classifies image files of any size and mode that Pillow reads, resized to the model's input (bicubic).

    Args:
        run: The `Run` whose model to use.
        files: Paths of image files, or one.
        top: Integer, how many classes to name, 1 or larger; all where there are not so many. Defaults to `1`.

    Returns:
        One `Prediction` a file.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If a file is not a readable image, or `top` is below 1.
    """
    if top < 1:
        raise ValueError(f"`top` must be 1 or larger. Received: top={top}.")
    files = [files] if isinstance(files, str | os.PathLike) else list(files)
    if not files:
        return []
    model = run.load_model()
    height, width = model.input_shape[1:3]
    images = np.stack([decode_image(_content(Path(file)), os.fspath(file), (height, width)) for file in files])
    probabilities = np.exp(log_probabilities(model, images))
    names = run.class_names
    predictions = []
    for file, values in zip(files, probabilities, strict=True):
        best = np.argsort(-values, kind="stable")[:top]
        predictions.append(
            Prediction(os.fspath(file), tuple(names[i] for i in best), tuple(float(values[i]) for i in best))
        )
    return predictions


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise ValueError(f"{str(path)!r} must be an image file. Received: a folder.")
    return path.read_bytes()
