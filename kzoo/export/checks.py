"""What a model, its images and its card must be like to be exported."""

import dataclasses
import datetime
import json
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kzoo.arguments import instance
from kzoo.choices import check_choice
from kzoo.data.images import Decoding
from kzoo.export.class_names import check_name
from kzoo.export.signatures import FORMATS, INPUTS, OUTPUTS

BATCHES = (1, 7)
_INPUTS = {1: "grey", 3: "RGB", 4: "RGB and opacity"}


def checked_formats(given: Any) -> tuple[str, ...]:
    """Returns the formats as a tuple: one name, or several different ones.

    Raises:
        ValueError: If they are none.
    """
    names = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    for name in names or (given,):
        check_choice("format", name, FORMATS)
    if len(set(names)) != len(names):
        raise ValueError(f"`format` must be different formats. Received: format={given!r}.")
    return names


def card_of(
    model: keras.Model, name: str, version: int, formats: Sequence[str], precision: str, decoding: Decoding
) -> dict[str, Any]:
    """Returns what `card.json` says before anything is measured."""
    from kzoo import __version__

    return {
        "name": name,
        "version": version,
        "format": formats[0],
        "precision": precision,
        "model": model.name,
        "parameters": model.count_params(),
        "input": f"{_INPUTS[decoding.channels]} in [0, 255], (batch, height, width, channels)",
        "image_size": list(model.input_shape[1:3]),
        "decoding": dataclasses.asdict(decoding),
        "signatures": INPUTS if "saved_model" in formats else {"serving_default": INPUTS["serving_default"]},
        "outputs": list(OUTPUTS),
        "batch_norm": any("BatchNorm" in type(layer).__name__ for layer in model.layers),
        "source_backend": keras.backend.backend(),
        "keras": keras.__version__,
        "kzoo": __version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def decoding_to(shape: Sequence[int], decoding: Decoding | None) -> Decoding:
    """Returns how files become what the model takes.

    Raises:
        ValueError: If `decoding` gives something else.
    """
    height, width, channels = shape
    decoding = Decoding((height, width), channels=channels) if decoding is None else decoding
    instance(decoding, "decoding", Decoding, "a kzoo.Decoding")
    if (decoding.image_size, decoding.channels) != ((height, width), channels):
        raise ValueError(
            f"`decoding` must give what the model takes, {height}x{width} pixels of {channels} channels. "
            f"Received: {decoding}."
        )
    return decoding


def checked_card(card: Any) -> dict[str, Any]:
    """Returns what else the card should say.

    Raises:
        ValueError: If JSON cannot say it.
    """
    try:
        json.dumps(given := dict(card or {}))
    except (TypeError, ValueError):
        raise ValueError(f"`card` must be what JSON can say, by its names. Received: card={card!r}.") from None
    return given


def digits(decoding: Decoding) -> npt.NDArray[np.uint8]:
    """Returns handwritten digits, to verify with where there are no other images."""
    from kzoo.data import load_dataset

    return load_dataset("digits", **dataclasses.asdict(decoding)).test.read(np.arange(max(BATCHES)))


def check_model(model: keras.Model, name: str) -> None:
    """Raises a `ValueError` unless a model classifies images, and may be called that."""
    check_name(name)
    shapes = model.input_shape, model.output_shape
    if not (_is_image(shapes[0]) and isinstance(shapes[1], tuple) and len(shapes[1]) == 2):
        raise ValueError(
            "`model` must map images (batch, height, width, channels) of a known size, of 1, 3 or 4 channels, to "
            f"classes (batch, classes). Received: input_shape={shapes[0]}, output_shape={shapes[1]}."
        )


def _is_image(shape: Any) -> bool:
    return isinstance(shape, tuple) and len(shape) == 4 and None not in shape[1:] and shape[-1] in _INPUTS


def check_images(images: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    """Raises a `ValueError` unless there are enough images of what the model takes."""
    if images.dtype != np.uint8 or images.shape[1:] != tuple(shape) or len(images) < max(BATCHES):
        raise ValueError(
            f"`images` must be at least {max(BATCHES)} uint8 images of shape {tuple(shape)}. "
            f"Received: shape={images.shape}, dtype={images.dtype}."
        )
