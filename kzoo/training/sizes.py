"""Trainings whose images grow."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np

from kzoo.data import Batches
from kzoo.training.recipes import Recipe


def scales_of(recipe: Recipe) -> tuple[float, ...]:
    """Returns the scale of the images of each epoch."""
    scales, epochs = recipe.image_scales, recipe.epochs
    return tuple(scales[epoch * len(scales) // epochs] for epoch in range(epochs)) if scales else ()


def ends_of_sizes(batches: Batches, epochs: int) -> list[int]:
    """Returns the epochs, counted from 1, after which images have another size, and the last one."""
    sizes = [batches.image_size(epoch) for epoch in range(epochs + 1)]
    return [epoch for epoch in range(1, epochs) if sizes[epoch] != sizes[epoch - 1]] + [epochs]


@contextlib.contextmanager
def any_size(model: keras.Model) -> Iterator[None]:
    """Lets a model take images of any size for a while, whatever size it was built for."""
    expected = model.input_spec
    shape = (None, None, None, model.input_shape[-1])
    model.input_spec = [keras.layers.InputSpec(shape=shape, allow_last_axis_squeeze=True)]
    try:
        yield
    finally:
        model.input_spec = expected


def check_sizes(model: keras.Model, batches: Batches, epochs: int) -> None:
    """Raises `ValueError` unless a model takes the smallest images that a training has."""
    size = min(batches.image_size(epoch) for epoch in range(epochs))
    if size != batches.split.image_shape[:2]:
        try:
            with any_size(model):
                model(np.zeros((1, *size, batches.split.image_shape[-1]), np.uint8), training=False)
        except Exception as error:  # of any layer
            raise ValueError(
                f"With `image_scales` the model must take images of other sizes. Received: {size[0]}x{size[1]}, and "
                f"{model.name}: {error}"
            ) from error
