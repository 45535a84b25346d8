"""What must be so that several workers train as one."""

from typing import Any

import keras
import numpy as np

_RANDOM = "kzoo.Dropout, and augmentation of kzoo.Batches, count the positions of the whole batch"


def check_team(model: keras.Model, team: Any, loss: Any, optimizer: Any, recipe: Any) -> None:
    """Raises `ValueError` unless several workers can train a model to the result of one.

    Args:
        model: The `keras.Model`.
        team: The team of workers, or `None`: one can.
        loss: The loss in place of the recipe's, or `None`.
        optimizer: The optimizer in place of the recipe's, or `None`.
        recipe: The `Recipe`.
    """
    if team is None:
        return
    if not hasattr(model, "works_in"):
        raise ValueError(
            "A model that trains on several devices must be a kzoo.Model: `kzoo.Model(model.inputs, model.outputs)` "
            f"makes one of a functional model. Received: {type(model).__name__}."
        )
    for layer in _all_layers(model):
        _check_layer(layer)
    if loss is not None:
        _check_loss(loss, int(model.output_shape[-1]))
    if keras.config.backend() == "tensorflow":
        _check_gradients(optimizer, recipe)
        if recipe.distillation_weight and model.losses:
            raise ValueError(
                "On several devices of TensorFlow a model that learns from a teacher must have no regularizers: use "
                "the recipe's `weight_decay`, or JAX or PyTorch. Received: a model with regularizers."
            )


def _check_gradients(optimizer: Any, recipe: Any) -> None:
    """Raises `ValueError` if gradients are changed before they are added up, which TensorFlow does too early."""
    of_recipe = (recipe.clip_norm, recipe.global_clip_norm, recipe.clip_value, recipe.accumulate_steps > 1)
    names = ("clipnorm", "global_clipnorm", "clipvalue", "gradient_accumulation_steps")
    of_optimizer = (getattr(optimizer, name, None) for name in names)
    if any(of_recipe if optimizer is None else of_optimizer):
        raise ValueError(
            "On several devices TensorFlow clips and accumulates gradients before they are added up, which is not what "
            "one device does: use JAX or PyTorch for that. Received: an optimizer that clips or accumulates."
        )
    if optimizer is not None and (optimizer.weight_decay or getattr(optimizer, "coupled_decay", 0)):
        raise ValueError(
            "On several devices of TensorFlow weight decay must be the recipe's: what an optimizer of your own leaves "
            f"out of it cannot be known. Received: {type(optimizer).__name__} with weight decay."
        )


def _all_layers(model: keras.Model) -> list[Any]:
    found = []
    for layer in model.layers:
        found += _all_layers(layer) if hasattr(layer, "layers") else [layer]
    return found


def _check_layer(layer: Any) -> None:
    name, is_own = type(layer).__name__, type(layer).__module__.startswith("kzoo.")
    if isinstance(layer, keras.layers.BatchNormalization) or (not is_own and "BatchNorm" in name):
        raise ValueError(
            "Statistics of a batch normalization must be those of the whole batch, on all devices: kzoo.BatchNorm "
            f"computes them. Received: {layer.name!r}, a {name} of {type(layer).__module__.partition('.')[0]}."
        )
    seeded = [one for one in vars(layer).values() if isinstance(one, keras.random.SeedGenerator)]
    if seeded and not is_own:
        raise ValueError(
            f"Random layers must draw by the position in the whole batch: {_RANDOM}. "
            f"Received: {layer.name!r}, a {name}."
        )


def _check_loss(loss: Any, classes: int) -> None:
    """Raises `ValueError` unless a loss is a mean over the images of a batch."""
    if isinstance(loss, keras.losses.Loss) and loss.reduction not in ("sum_over_batch_size", "mean"):
        raise ValueError(
            "On several devices the loss must be a mean over images: reduction='sum_over_batch_size'. "
            f"Received: reduction={loss.reduction!r}."
        )
    labels = keras.ops.one_hot(np.arange(3) % classes, classes)
    answers = keras.ops.ones((3, classes)) / classes
    found = loss.call(labels, answers) if isinstance(loss, keras.losses.Loss) else loss(labels, answers)
    if tuple(found.shape) != (3,):
        raise ValueError(
            "On several devices the loss must give a number for each image, of which the mean is taken. "
            f"Received: a loss that gives the shape {tuple(found.shape)} for 3 images."
        )
