"""Fits the input normalization of a new model."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kzoo.arguments import instance
from kzoo.data import Dataset
from kzoo.data.published import IMAGENET_MEAN, IMAGENET_STD
from kzoo.training.recipes import Recipe


def set_pixel_statistics(model: keras.Model, dataset: Dataset, recipe: Recipe) -> None:
    """Sets a new model's input normalization to the recipe's choice.

    Not for a model with trained weights: those go with the normalization that they were trained with.

    Args:
        model: A `keras.Model`; one without a `PixelNormalization` layer is left as it is.
        dataset: The `Dataset` whose training split is measured.
        recipe: The `Recipe`, of which `pixel_statistics` decides.

    Example:
        >>> model = kzoo.resnet(8)
        >>> kzoo.set_pixel_statistics(model, kzoo.load_dataset("digits"), kzoo.recipe("default"))
    """
    instance(model, "model", keras.Model, "a keras.Model, such as `kzoo.create_model` returns")
    instance(dataset, "dataset", Dataset, "a kzoo.Dataset, such as `kzoo.load_dataset` returns")
    instance(recipe, "recipe", Recipe, "a kzoo.Recipe")
    mean, std = dataset.pixel_mean, dataset.pixel_std
    if recipe.pixel_statistics == "imagenet":
        mean, std = IMAGENET_MEAN, IMAGENET_STD
    for layer in _normalizations(model):
        layer.set_statistics(mean, std)


def pixel_statistics(model: keras.Model) -> dict[str, list[float]] | None:
    """Returns mean and deviation that a model normalizes its pixels with; `None` if it has no `PixelNormalization`."""
    for layer in _normalizations(model):
        values = (keras.ops.convert_to_numpy(weight) for weight in (layer.pixel_mean, layer.pixel_std))
        # Each as the shortest number that is this float32.
        mean, std = ([float(str(number)) for number in value] for value in values)
        return {"mean": mean, "std": std}
    return None


def name_of_statistics(found: dict[str, list[float]] | None, dataset: Dataset) -> str | None:
    """Returns the recipe's name of what `pixel_statistics` found, or `None` if it is no choice of a recipe's."""
    if found is None:
        return None
    known = {"imagenet": (IMAGENET_MEAN, IMAGENET_STD), "dataset": (dataset.pixel_mean, dataset.pixel_std)}
    given = (found["mean"], found["std"])
    return next(
        (
            name
            for name, values in known.items()
            if np.array_equal(np.array(values, np.float32), np.array(given, np.float32))
        ),
        None,
    )


def _normalizations(model: Any) -> Iterator[Any]:
    """Yields the layers that normalize pixels, also of models within the model."""
    for layer in model.layers:
        if hasattr(layer, "set_statistics"):
            yield layer
        elif hasattr(layer, "layers"):
            yield from _normalizations(layer)
