"""Fits the input normalization of a new model."""

import keras

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
    """
    mean, std = dataset.pixel_mean, dataset.pixel_std
    if recipe.pixel_statistics == "imagenet":
        mean, std = IMAGENET_MEAN, IMAGENET_STD
    for layer in model.layers:
        if hasattr(layer, "set_statistics"):
            layer.set_statistics(mean, std)
