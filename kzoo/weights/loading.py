"""Weights between a model and a `.weights.h5` file."""

import os
import warnings
from pathlib import Path

import keras


def load_weights(model: keras.Model, path: str | Path) -> None:
    """Loads a `.weights.h5` file into a built model of the same architecture.

    Args:
        model: A built `keras.Model`.
        path: Path of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no weights file, or not of this architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a weights file. Received: {path}, which does not exist.")
    if not path.name.endswith(".weights.h5"):
        raise ValueError(f"Expected a file named *.weights.h5. Received: {path}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Keras only warns of layers that it finds no weights for
            model.load_weights(path)
    except (OSError, KeyError, ValueError, UserWarning) as error:
        raise ValueError(f"{path} does not hold weights of {model.name!r}: {error}") from error


def save_weights(model: keras.Model, path: str | Path) -> None:
    """Saves a model's weights: written aside first, so that a file of that name is whole or as it was."""
    path = Path(path)
    aside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        model.save_weights(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
