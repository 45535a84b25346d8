"""Trains any classifier by a recipe, and leaves a run directory."""

import dataclasses
import json
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kzoo.data import Augmentation, Batches, Dataset
from kzoo.evaluation import evaluate, even_batch_size, gives_logits
from kzoo.training.callbacks import CallbackList
from kzoo.training.optimizer import optimizer_for
from kzoo.training.picture import plot_history, require_matplotlib
from kzoo.training.recipes import Recipe
from kzoo.training.recipes import recipe as named_recipe
from kzoo.training.run import Run, new_run_directory, write_json
from kzoo.training.schedule import schedule_for

_MONITORS = ("loss", "accuracy", "val_loss", "val_accuracy")


def fit(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe | str = "default",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    *,
    seed: int = 0,
    run_dir: str | os.PathLike[str] | None = None,
    verbose: Any = "auto",
    from_logits: bool | None = None,
) -> Run:
    """Compiles and trains a classifier, evaluates it once on the test split, and records the run.

    With `patience` in the recipe, `keras.callbacks.EarlyStopping` watches `val_loss` and the model ends with the
    weights of the best epoch (the last one better than all before by `min_delta`); without, with those of the last.

    Args:
        model: A `keras.Model` from images in [0, 255] to logits or probabilities.
        dataset: A `Dataset` of as many classes.
        recipe: A `Recipe` or the name of one. Defaults to `"default"`.
        callbacks: Further Keras callbacks. Defaults to `()`.
        seed: Integer, 0 or larger, from which order and augmentation of the images are drawn. Defaults to `0`.
        run_dir: Path of the run directory, new or empty. Defaults to `runs/<model>-<data>-<backend>-seed<seed>`, with a
            number appended if that is taken.
        verbose: As for `keras.Model.fit`. Defaults to `"auto"`, a progress bar.
        from_logits: Boolean, whether the model gives logits. Defaults to `None`, to see it by what the model answers to
            a few images, as `kzoo.evaluate` does.

    Returns:
        The `Run`.

    Raises:
        ValueError: If model, dataset and recipe do not go together, the model's answers contradict `from_logits`, or an
            `EarlyStopping` watches what is not measured.
        FileExistsError: If `run_dir` has content.

    Example:
        >>> run = kzoo.fit(kzoo.resnet20(), kzoo.load_dataset("digits"), "default")
        >>> run.metrics["test_accuracy"]
    """
    recipe = named_recipe(recipe) if isinstance(recipe, str) else recipe
    _check(model, dataset, recipe)
    require_matplotlib()
    from_logits = gives_logits(model, dataset.image_shape, from_logits)
    run_dir = run_dir or new_run_directory(f"{model.name}-{dataset.name}-{keras.backend.backend()}-seed{seed}")
    train = training_batches(dataset, recipe, seed)
    clock = _Clock(train)
    stopping = early_stopping(recipe)
    given = [callback for callback in callbacks if isinstance(callback, keras.callbacks.EarlyStopping)]
    _check_stopping([*stopping, *given], recipe.epochs)

    run = Run.create(run_dir, _config(model, dataset, recipe, seed))
    compile_model(model, recipe, train.batches_per_epoch, from_logits=from_logits)
    recorder = _Recorder(run, clock, schedule_for(recipe, train.batches_per_epoch).rates)
    started = time.perf_counter()
    every = CallbackList(
        [clock, *callbacks, *stopping, recorder],
        add_history=True,
        add_progbar=verbose != 0,
        verbose=verbose,
        epochs=recipe.epochs,
        steps=len(train),
        model=model,
    )
    validation = Batches(dataset.validation, dataset.classes, batch_size=even_batch_size(len(dataset.validation)))
    model.fit(train, validation_data=validation, epochs=recipe.epochs, shuffle=False, verbose=verbose, callbacks=every)
    train_seconds = time.perf_counter() - started
    watched = model.evaluate(validation, verbose=0, return_dict=True)
    _finish(run, model, dataset, recorder, stopping, watched, train_seconds, seed, from_logits)
    return run


def training_batches(dataset: Dataset, recipe: Recipe, seed: int) -> Batches:
    """Returns the shuffled and augmented batches that a recipe trains on."""
    augmentation = Augmentation(
        crop_padding=recipe.crop_padding, flip=recipe.flip and dataset.flip, pad_mode=recipe.pad_mode
    )
    return Batches(
        dataset.train,
        dataset.classes,
        batch_size=recipe.batch_size,
        drop_remainder=recipe.drop_remainder,
        seed=seed,
        shuffle=True,
        augmentation=augmentation,
    )


def compile_model(model: keras.Model, recipe: Recipe, steps_per_epoch: int, *, from_logits: bool | None = None) -> None:
    """Compiles a classifier with the optimizer and the loss of a recipe."""
    from_logits = gives_logits(model) if from_logits is None else from_logits
    loss = keras.losses.CategoricalCrossentropy(from_logits=from_logits, label_smoothing=recipe.label_smoothing)
    model.compile(optimizer=optimizer_for(recipe, steps_per_epoch), loss=loss, metrics=["accuracy"])


def _check(model: keras.Model, dataset: Dataset, recipe: Recipe) -> None:
    if model.output_shape != (None, dataset.classes):
        raise ValueError(
            f"The model must have one output for each of the {dataset.classes} classes of {dataset.name!r}. "
            f"Received: output_shape={model.output_shape}."
        )
    expected = tuple(model.input_shape[1:])
    if any(size not in (None, given) for size, given in zip(expected, dataset.image_shape, strict=True)):
        raise ValueError(
            f"The images of {dataset.name!r} must have the model's input shape, {expected}. "
            f"Received: {dataset.image_shape}."
        )
    policy = model.dtype_policy.name
    if policy != recipe.precision:
        raise ValueError(
            f"The model must have been built in the recipe's precision, {recipe.precision!r}: call "
            f"`kzoo.set_precision({recipe.precision!r})` before. Received: a model in {policy!r}."
        )


def early_stopping(recipe: Recipe) -> list[keras.callbacks.EarlyStopping]:
    """Returns the callback that a recipe stops with, in a list; an empty one where it has no patience."""
    if recipe.patience is None:
        return []
    return [
        keras.callbacks.EarlyStopping(
            monitor="val_loss",
            patience=recipe.patience,
            min_delta=recipe.min_delta,
            mode="min",
            restore_best_weights=True,
            verbose=1,
        )
    ]


def _check_stopping(callbacks: Sequence[keras.callbacks.EarlyStopping], epochs: int) -> None:
    for callback in callbacks:
        if callback.monitor not in _MONITORS:
            raise ValueError(
                f"EarlyStopping must watch one of {', '.join(_MONITORS)}: Keras would only warn, and train to the end. "
                f"Received: monitor={callback.monitor!r}."
            )
        if callback.start_from_epoch + callback.patience >= epochs - 1:
            warnings.warn(
                f"EarlyStopping with a patience of {callback.patience} cannot stop before the last of {epochs} epochs.",
                stacklevel=3,
            )


class _Clock(keras.callbacks.Callback):
    """Tells the batches which epoch it is, and measures how long an epoch's steps take."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches
        self.step_seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches.start_at(epoch)
        self._began = time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:
        # Validation follows the epoch's last step. Reading its count waits for it: JAX and GPUs compute behind Python.
        keras.ops.convert_to_numpy(self.model.optimizer.iterations)
        self.step_seconds.append(time.perf_counter() - self._began)

    @property
    def images_per_second(self) -> float:
        """Training speed over the epochs after the first, which compiles; over the first if it is the only one."""
        seconds = self.step_seconds[1:] or self.step_seconds
        images = min(len(self.batches.split), self.batches.batches_per_epoch * self.batches.batch_size)
        return len(seconds) * images / sum(seconds)


class _Recorder(keras.callbacks.Callback):
    """Writes a row of `history.csv` after each epoch."""

    def __init__(self, run: Run, clock: _Clock, rates: npt.NDArray[np.float64]) -> None:
        super().__init__()
        self.run = run
        self.clock = clock
        self.rates = rates
        self.rows: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        rate = float(self.rates[int(self.model.optimizer.iterations) - 1])
        values = {name: float(value) for name, value in (logs or {}).items()}
        seconds = self.clock.step_seconds[-1]
        self.rows.append({"epoch": epoch + 1, **values, "learning_rate": rate, "seconds": round(seconds, 3)})
        self.run.write_history(self.rows)


def _config(model: keras.Model, dataset: Dataset, recipe: Recipe, seed: int) -> dict[str, Any]:
    return {
        "model": {"name": model.name, "architecture": json.loads(model.to_json())},
        "data": {
            "name": dataset.name,
            "source": dataset.source,
            "class_names": dataset.class_names,
            "images": {"train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.test)},
        },
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
    }


def _finish(
    run: Run,
    model: keras.Model,
    dataset: Dataset,
    recorder: _Recorder,
    stopping: Sequence[keras.callbacks.EarlyStopping],
    watched: Mapping[str, float],
    train_seconds: float,
    seed: int,
    from_logits: bool,
) -> None:
    from kzoo.weights import save_weights

    save_weights(model, run.weights_path)
    plot_history(recorder.rows, run.directory / "history.png", title=f"{model.name} on {dataset.name}")
    test = evaluate(model, dataset.test.images, dataset.test.labels, from_logits=from_logits)
    best = stopping[0].best_epoch + 1 if stopping else len(recorder.rows)
    write_json(
        run.directory / "metrics.json",
        {
            "model": model.name,
            "data": dataset.name,
            "backend": keras.backend.backend(),
            "seed": seed,
            "epochs_run": len(recorder.rows),
            "best_epoch": best,
            "stopped_early": len(recorder.rows) < run.config["recipe"]["epochs"],
            "val_loss": watched["loss"],  # as early stopping saw it, with the recipe's label smoothing
            "val_accuracy": watched["accuracy"],
            "test_loss": test.loss,
            "test_accuracy": test.accuracy,
            "train_seconds": round(train_seconds, 3),
            "images_per_second": round(recorder.clock.images_per_second, 2),
        },
    )
