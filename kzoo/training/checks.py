"""What a training needs, looked at before it starts."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from kzoo.data import Dataset
from kzoo.training.recipes import Recipe

_MONITORS = ("loss", "accuracy", "val_loss", "val_accuracy")
_SET_THE_RATE = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)


def check_model(model: keras.Model, dataset: Dataset, recipe: Recipe) -> None:
    """Raises `ValueError` unless a model can be trained on a dataset by a recipe, written down, and built again."""
    if not isinstance(dataset, Dataset):
        raise ValueError(
            "`dataset` must be a kzoo.Dataset (`kzoo.load_dataset`, `kzoo.Dataset.from_arrays`): a run records its "
            "images and splits. A loader or generator of your own goes to Keras's `model.fit`. "
            f"Received: {type(dataset).__name__}."
        )
    if not isinstance(model, keras.Model) or not hasattr(model, "output_shape"):
        raise ValueError(
            "`model` must be a functional keras.Model, or a Sequential one with an Input: others cannot be built again "
            f"from a run. Received: {model!r}."
        )
    if model.output_shape != (None, dataset.classes):
        raise ValueError(
            f"The model must have one output for each of the {dataset.classes} classes of {dataset.name!r}. "
            f"Received: output_shape={model.output_shape}."
        )
    if not takes_images(model.input_shape, dataset.image_shape):
        raise ValueError(
            f"The images of {dataset.name!r} must have the model's input shape, {model.input_shape[1:]}. "
            f"Received: {dataset.image_shape}."
        )
    if recipe.zero_init_residual and not _starts_at_zero(model):
        raise ValueError(
            "With `zero_init_residual` in the recipe the model must have been built so: kzoo.create_model(..., "
            f"zero_init_residual=True), or `kzoo.train`. Received: {model.name!r}, without a scale of 0."
        )
    policy = model.dtype_policy.name
    if policy != recipe.precision:
        raise ValueError(
            f"The model must have been built in the recipe's precision, {recipe.precision!r}: call "
            f"`kzoo.set_precision({recipe.precision!r})` before. Received: a model in {policy!r}."
        )


def takes_images(input_shape: Any, image_shape: Sequence[int]) -> bool:
    """Returns whether a model with that `input_shape` takes images of that shape."""
    if not isinstance(input_shape, tuple) or len(input_shape) != 4:
        return False
    return all(size in (None, given) for size, given in zip(input_shape[1:], image_shape, strict=True))


def _starts_at_zero(model: keras.Model) -> bool:
    initializers = [
        getattr(layer, name, None) for layer in model.layers for name in ("gamma_initializer", "kernel_initializer")
    ]
    return any(isinstance(initializer, keras.initializers.Zeros) for initializer in initializers)


def checked_callbacks(
    callbacks: keras.callbacks.Callback | Iterable[keras.callbacks.Callback] | None,
    recipe: Recipe,
    resume: bool = False,
    *,
    may_set_rate: bool,
) -> list[keras.callbacks.Callback]:
    """Returns callbacks as a list.

    Args:
        callbacks: What the caller gave.
        recipe: The `Recipe`.
        resume: Whether the training goes on from a checkpoint.
        may_set_rate: Whether all steps have one rate, unless a callback sets another.

    Raises:
        ValueError: If one is no callback, sets the learning rate that the recipe sets each step, or would go on from a
            backup of its own where the training is to go on from a checkpoint, with `resume`.
    """
    if callbacks is None:
        return []
    given = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for callback in given:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ValueError(f"`callbacks` must be instances of keras.callbacks.Callback. Received: {callback!r}.")
        if resume and isinstance(callback, keras.callbacks.BackupAndRestore):
            raise ValueError(
                "A training must go on from one place: with `resume`, from kzoo's checkpoints. Received: "
                f"{type(callback).__name__}, which goes on from a backup of its own."
            )
        if recipe.ema and isinstance(callback, keras.callbacks.BackupAndRestore):
            raise ValueError(
                "With `ema` in the recipe a training must go on from kzoo's checkpoints, by `resume`. Received: "
                f"{type(callback).__name__}, which keeps the averages and not the weights."
            )
        if isinstance(callback, _SET_THE_RATE) and not may_set_rate:
            raise ValueError(
                f"{type(callback).__name__} cannot set the learning rate, which the recipe sets each step: change its "
                "`schedule`, `warmup`, `milestones` and `gamma`, or leave the rate to the callback by "
                "`override(schedule='constant', warmup=0)`. "
                f"Received: schedule={recipe.schedule!r}, warmup={recipe.warmup}."
            )
    return given


def check_stopping(callbacks: Sequence[keras.callbacks.Callback], epochs: int) -> None:
    """Raises `ValueError` if an `EarlyStopping` watches what is not measured; warns of one that cannot stop."""
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.EarlyStopping):
            continue
        if callback.monitor not in _MONITORS:
            raise ValueError(
                f"EarlyStopping must watch one of {', '.join(_MONITORS)}: Keras says so late, or only warns. "
                f"Received: monitor={callback.monitor!r}."
            )
        if callback.start_from_epoch + callback.patience >= epochs - 1:
            warnings.warn(
                f"EarlyStopping with a patience of {callback.patience} cannot stop before the last of {epochs} epochs.",
                stacklevel=3,
            )


def warn_of_compiled(model: keras.Model, own: Any) -> None:
    """Warns where a model comes compiled with an optimizer, if it is none of `own`: the recipe's takes its place."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer not in own:
        warnings.warn(
            f"The model comes compiled with {type(optimizer).__name__}: `kzoo.fit` replaces optimizer, loss and "
            "metrics by the recipe's.",
            stacklevel=3,
        )
