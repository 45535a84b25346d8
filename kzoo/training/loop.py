"""Trains any classifier by a recipe, and leaves a run directory."""

import contextlib
import json
import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import Any

import keras

from kzoo.arguments import boolean, instance, path
from kzoo.data import Augmentation, Batches, Dataset, Mixing
from kzoo.data.fingerprint import fingerprint
from kzoo.errors import DivergenceError
from kzoo.evaluation import even_batch_size, gives_logits
from kzoo.presets.construction import stored_construction
from kzoo.training.averaging import followers_of
from kzoo.training.checkpoint import keep_newest
from kzoo.training.checks import check_model, check_stopping, checked_callbacks, warn_of_compiled
from kzoo.training.class_weights import weighted_training_split
from kzoo.training.custom import Custom
from kzoo.training.distillation import Distillation, about_teacher, opened_teacher
from kzoo.training.finishing import explained_divergence, explained_shortage, finish
from kzoo.training.keeper import Interval
from kzoo.training.known_recipes import find_recipe
from kzoo.training.lock import write_status
from kzoo.training.memory import is_out_of_memory
from kzoo.training.named_optimizers import optimizer_for
from kzoo.training.opening import opened_run, training_fingerprint
from kzoo.training.picture import require_matplotlib
from kzoo.training.pixels import name_of_statistics, pixel_statistics
from kzoo.training.progress import Progress, ending
from kzoo.training.recipes import Recipe
from kzoo.training.recording import Clock, Recorder
from kzoo.training.run import Run
from kzoo.training.schedule import is_constant, schedule_for
from kzoo.training.session import Session
from kzoo.training.sizes import check_sizes, scales_of
from kzoo.training.together import check_same, opened_by_first, run_of_all, silence_writers
from kzoo.workers.checks import check_team
from kzoo.workers.teams import anew, team_for, trained_by, variables_of
from kzoo.workers.watching import watched

_VERBOSE = ("auto", 0, 1, 2)
_OWN_OPTIMIZERS = weakref.WeakSet[Any]()  # that `fit` made: to replace one of these needs no warning


def fit(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe | str | os.PathLike[str] = "default",
    callbacks: keras.callbacks.Callback | Iterable[keras.callbacks.Callback] | None = (),
    *,
    seed: int = 0,
    run_dir: str | os.PathLike[str] | None = None,
    verbose: Any = "auto",
    arguments: Mapping[str, Any] | None = None,
    from_logits: bool | None = None,
    resume: bool = False,
    checkpoint_every: str | int | Interval = "60s",
    optimizer: keras.optimizers.Optimizer | None = None,
    schedule: keras.optimizers.schedules.LearningRateSchedule | None = None,
    loss: keras.losses.Loss | Callable[..., Any] | None = None,
    teacher: keras.Model | Run | str | os.PathLike[str] | None = None,
    devices: int | str | None = None,
) -> Run:
    """Compiles and trains a classifier, evaluates it once on the test split, and records the run.

    With `patience` in the recipe, `keras.callbacks.EarlyStopping` watches `val_loss` and the model ends with the
    weights of the best epoch (the last one better than all before by `min_delta`); without, with those of the last.

    The model's input normalization stays as it is, and the run says what it was (`set_pixel_statistics` sets it).

    Args:
        model: A functional `keras.Model`, or a Sequential one with an Input, from images in [0, 255] to logits or
            probabilities. If it comes compiled, a warning names the optimizer that is replaced.
        dataset: A `Dataset` of as many classes.
        recipe: A `Recipe`, or what `kzoo.recipe` takes: a name, or the path of a TOML file or a run. Defaults to
            `"default"`.
        callbacks: Further Keras callbacks, or one. Those that set the learning rate need a recipe with
            `schedule="constant"` and `warmup=0`. Defaults to `()`.
        seed: Integer, 0 or larger, from which order and augmentation of the images are drawn. Defaults to `0`.
        run_dir: Path of the run directory, new or empty. Defaults to `runs/<model>-<data>-<backend>-seed<seed>`, with a
            number appended if that is taken.
        verbose: `"auto"`, a line an epoch on stdout that shows how far it is if that is a terminal; `0`, nothing; `1`,
            as if it were a terminal; `2`, as if not. Defaults to `"auto"`.
        arguments: What the model was built with, to be recorded in `config.json`. Defaults to `None`.
        from_logits: Boolean, whether the model gives logits. Defaults to `None`, to see it by what the model answers to
            a few images, as `kzoo.evaluate` does.
        resume: Boolean, whether to go on with the training in `run_dir` from its last checkpoint, to the same result
            as if it had never been left; where there is none it begins. Recipe, data, model, seed and versions must be
            the same; with a constant learning rate it may have more epochs. Defaults to `False`.
        checkpoint_every: String, seconds between checkpoints such as `"60s"`, or integer, steps. Defaults to `"60s"`.
        optimizer: A new `keras.optimizers.Optimizer` in place of the recipe's, whose fields for it do not count then.
            Defaults to `None`.
        schedule: A `LearningRateSchedule` of batches in place of the recipe's, for its optimizer. Defaults to `None`.
        loss: A `keras.losses.Loss`, or a function of one-hot labels and the model's answers, in place of the recipe's.
            Defaults to `None`.
        teacher: A trained `keras.Model`, a `Run` or the path of one, or a preset as of `kzoo.Preset`, whose answers the
            model learns beside the labels, as `distillation_weight` and `temperature` of the recipe say. The model must
            be a `kzoo.Model`. Defaults to `None`.
        devices: Integer, how many devices train together, to the result of one; `"auto"`, all that there are. See
            docs/devices.md. Defaults to `None`, one, or those of all processes that `kzoo.join_workers` has joined.

    Returns:
        The `Run`.

    Raises:
        ValueError: If there are not so many devices, or model, dataset, recipe, callbacks and what is given in place
            of the recipe's parts do not go together, the model's answers contradict `from_logits`, an `EarlyStopping`
            watches what is not measured, or callbacks left no epoch to train.
        FileExistsError: If `run_dir` has content, or another process trains there.
        DivergenceError: If the loss, of training or validation, is not a finite number. The last good weights are kept.
        OutOfMemoryError: If memory is too short for a batch; the message says which batch size fits.
        TrainingInterrupted: After the first SIGINT or SIGTERM, with a checkpoint written: a `KeyboardInterrupt`.

    Example:
        >>> short = kzoo.recipe("default").override(epochs=1, patience=0)
        >>> model = kzoo.resnet(8, input_shape=(8, 8, 3))
        >>> run = kzoo.fit(model, kzoo.load_dataset("digits", image_size=8), short, verbose=0)
        >>> sorted(run.metrics)[:3]
        ['backend', 'best_epoch', 'data']
    """
    recipe = find_recipe(recipe)
    if verbose not in _VERBOSE:
        raise ValueError(f"`verbose` must be one of {_VERBOSE}. Received: verbose={verbose!r}.")
    directory = None if run_dir is None else path(run_dir, "run_dir")
    if boolean(resume, "resume") and directory is None:
        raise ValueError("`resume` needs a run to go on with, `run_dir` (--run). Received: none.")
    instance(arguments, "arguments", (Mapping, NoneType), "a dictionary or None")
    check_model(model, dataset, recipe)
    taught_by = opened_teacher(teacher, dataset, model, recipe)
    require_matplotlib()
    from_logits = gives_logits(model, dataset.image_shape, from_logits)
    custom = Custom(optimizer, schedule, loss)
    custom.check(from_logits, resume)
    given = checked_callbacks(callbacks, recipe, resume, may_set_rate=custom.may_set_rate(recipe))
    interval = Interval.parse(checkpoint_every)
    train = training_batches(dataset, recipe, seed)
    check_sizes(model, train, recipe.epochs)
    per_epoch = train.batches_per_epoch
    of_recipe = None if optimizer or schedule or is_constant(recipe) else schedule_for(recipe, per_epoch)
    own_optimizer = optimizer or optimizer_for(recipe, per_epoch, model.trainable_variables, schedule)
    stopping = early_stopping(recipe)
    # Nobody has asked for the patience that every recipe has by default.
    check_stopping([*(stopping if recipe.patience != Recipe.patience else []), *given], recipe.epochs)
    team = team_for(devices)
    check_team(model, team, loss, optimizer, recipe)
    warn_of_compiled(model, _OWN_OPTIMIZERS)
    config = _config(model, dataset, recipe, seed, arguments) | ({"custom": own} if (own := custom.record()) else {})
    if taught_by is not None:
        check_sizes(taught_by, train, recipe.epochs)
        config["teacher"] = about_teacher(taught_by)
    size = even_batch_size(len(dataset.validation), recipe.batch_size)
    validation = Batches(dataset.validation, dataset.classes, batch_size=size)
    check_same(team, config, model)
    if team is not None and team.rank != 0:
        verbose = 0
        silence_writers(given)

    name = f"{model.name}-{dataset.name}-{keras.backend.backend()}-seed{seed}"
    opened = opened_run(directory, name, config, dataset.file_names, resume=resume)
    with (
        watched(team),
        opened_by_first(team, opened, lambda path: Run.fill(path, config, dataset.file_names)) as (run, state),
        trained_by(team, model, [train, validation]) as model,
        contextlib.ExitStack() as learning,
    ):
        if taught_by is not None:
            taught = Distillation.by(recipe, taught_by, dataset, from_logits=from_logits)
            learning.enter_context(model.learns_from(taught))
        with variables_of(team):
            if team is not None and team.copies_models:
                own_optimizer = anew(optimizer) or optimizer_for(recipe, per_epoch, model.trainable_variables, schedule)
            compile_model(model, recipe, per_epoch, from_logits=from_logits, optimizer=own_optimizer, loss=loss)
            model.optimizer.build(model.trainable_variables)
        if verbose and (run.directory / "metrics.json").is_file():
            print(f"{run.directory} was done already.")  # noqa: T201
        recorder = Recorder(run, clock := Clock(train, of_recipe))
        shown = [Progress({"auto": None, 1: True, 2: False}[verbose])] if verbose else []
        session = Session(
            [clock, *given, *stopping, recorder, *shown],
            model=model,
            train=train,
            validation=validation,
            epochs=recipe.epochs,
            training=training_fingerprint(run.config),
            folder=run.checkpoints,
            interval=interval,
            followers=followers_of(model, recipe),
            team=team,
        )
        try:
            session.go_on(state)
        except DivergenceError as error:
            explained = explained_divergence(error, run, model, train, of_recipe)
            write_status(run.directory, ended=str(explained))
            raise explained from error
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            shortage = explained_shortage(error, run, model, train)
            write_status(run.directory, ended=str(shortage))
            raise shortage from error
        if not recorder.rows:
            raise ValueError(f"The callbacks left none of the {recipe.epochs} epochs to train. Received: {given}.")
        metrics = finish(run, model, dataset, recorder, validation, from_logits)
        keep_newest(run.checkpoints, 1)  # from which it can be made longer
    if shown and (said := ending(metrics, recipe.epochs)):
        print(said)  # noqa: T201
    return run_of_all(run)


def training_batches(dataset: Dataset, recipe: Recipe, seed: int) -> Batches:
    """Returns the shuffled, augmented and perhaps mixed batches that a recipe trains on."""
    augmentation = Augmentation(
        crop_padding=recipe.crop_padding,
        flip=recipe.flip and dataset.flip,
        pad_mode=recipe.pad_mode,
        flip_mode=recipe.flip_mode,
        erase=recipe.erase,
        erase_area=recipe.erase_area,
        erase_aspect=recipe.erase_aspect,
        erase_fill=recipe.erase_fill,
    )
    mixes = recipe.mix_share and (recipe.mixup or recipe.cutmix)
    return Batches(
        weighted_training_split(dataset, recipe.class_weights),
        dataset.classes,
        batch_size=recipe.batch_size,
        drop_remainder=recipe.drop_remainder,
        seed=seed,
        shuffle=True,
        augmentation=augmentation,
        mixing=Mixing(recipe.mixup, recipe.cutmix, recipe.mix_share) if mixes else None,
        scales=scales_of(recipe),
    )


def compile_model(
    model: keras.Model,
    recipe: Recipe,
    steps_per_epoch: int,
    *,
    from_logits: bool | None = None,
    optimizer: Any = None,
    loss: Any = None,
) -> None:
    """Compiles a classifier with the optimizer and the loss of a recipe, or those that are given."""
    from_logits = gives_logits(model) if from_logits is None else from_logits
    if loss is None:
        loss = keras.losses.CategoricalCrossentropy(from_logits=from_logits, label_smoothing=recipe.label_smoothing)
    if optimizer is None:
        optimizer = optimizer_for(recipe, steps_per_epoch, model.trainable_variables)
    _OWN_OPTIMIZERS.add(optimizer)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])


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
        )
    ]


def _config(
    model: keras.Model, dataset: Dataset, recipe: Recipe, seed: int, arguments: Mapping[str, Any] | None
) -> dict[str, Any]:
    normalization = pixel_statistics(model)
    architecture = json.loads(model.to_json())
    architecture.pop("compile_config", None)  # of an earlier training, if any
    return {
        "model": {
            "name": model.name,
            "arguments": None if arguments is None else json.loads(json.dumps(dict(arguments), default=str)),
            "construction": stored_construction(model),
            "pixel_normalization": normalization,
            "architecture": architecture,
        },
        "data": {
            "name": dataset.name,
            "source": dataset.source,
            "class_names": dataset.class_names,
            "images": {"train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.test)},
            "fingerprint": fingerprint(dataset),
        },
        # `fit` leaves the normalization alone, so what the recipe asks for need not be so.
        "recipe": recipe.record() | {"pixel_statistics": name_of_statistics(normalization, dataset)},
        "seed": seed,
    }
