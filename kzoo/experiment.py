"""From names to results: what the command line and programs do with models, data and runs together."""

import os
from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args

import keras

from kzoo.arguments import boolean, instance, objects, path
from kzoo.choices import SplitName, TestTimeAugmentation, check_choice
from kzoo.data import Dataset
from kzoo.evaluation import Evaluation
from kzoo.evaluation import evaluate as evaluate_model
from kzoo.models import Preset, create_model
from kzoo.models.arguments import check_arguments
from kzoo.ops import precision
from kzoo.training import Recipe, Run, fit, set_pixel_statistics
from kzoo.training.keeper import Interval
from kzoo.training.known_recipes import find_recipe
from kzoo.workers.teams import divide_cpu


def train(
    model: str,
    dataset: Dataset,
    recipe: Recipe | str | os.PathLike[str] = "default",
    callbacks: Any = (),
    *,
    seed: int = 0,
    run_dir: str | os.PathLike[str] | None = None,
    verbose: Any = "auto",
    resume: bool = False,
    checkpoint_every: str | int = "60s",
    teacher: keras.Model | Run | str | os.PathLike[str] | None = None,
    devices: int | str | None = None,
    **arguments: Any,
) -> Run:
    """Builds a new model for a dataset in the recipe's precision, fits its input normalization, and trains it.

    The precision of the process is afterwards what it was before.

    Args:
        model: Name of a model, one of `kzoo.list_models()`.
        dataset: The `Dataset`; its image shape and number of classes become the model's.
        recipe: As for `kzoo.fit`. Defaults to `"default"`.
        callbacks: As for `kzoo.fit`. Defaults to `()`.
        seed: Integer, 0 or larger, of weights, batches and masks. Defaults to `0`.
        run_dir: As for `kzoo.fit`.
        verbose: As for `kzoo.fit`.
        resume: As for `kzoo.fit`.
        checkpoint_every: As for `kzoo.fit`.
        teacher: As for `kzoo.fit`.
        devices: As for `kzoo.fit`. A CPU is divided into as many, if nothing has been computed yet.
        **arguments: Further arguments of the model, such as `dropout`.

    Returns:
        The `Run`.

    Raises:
        ValueError: If model, dataset and recipe do not go together, or the model has no such argument.
        FileExistsError: If `run_dir` has content.

    Example:
        >>> short = kzoo.recipe("default").override(epochs=1, patience=0)
        >>> run = kzoo.train("resnet20", kzoo.load_dataset("digits", image_size=8), short, verbose=0)
        >>> run.metrics["epochs_run"]
        1
    """
    check_arguments(arguments, without=("input_shape", "classes", "seed"))
    recipe = find_recipe(recipe)
    instance(dataset, "dataset", Dataset, "a kzoo.Dataset, such as `kzoo.load_dataset` returns")
    resume = boolean(resume, "resume")
    Interval.parse(checkpoint_every)
    if run_dir is not None:
        run_dir = path(run_dir, "run_dir")
    if recipe.zero_init_residual:
        arguments = {"zero_init_residual": True, **arguments}
    divide_cpu(devices)
    with precision(recipe.precision):
        built = create_model(model, input_shape=dataset.image_shape, classes=dataset.classes, seed=seed, **arguments)
        set_pixel_statistics(built, dataset, recipe)
        going: Any = {"run_dir": run_dir, "resume": resume, "checkpoint_every": checkpoint_every, "teacher": teacher}
        going["devices"] = devices
        return fit(built, dataset, recipe, callbacks, seed=seed, verbose=verbose, arguments=arguments, **going)


def evaluate_saved(
    run: str | os.PathLike[str] | None = None,
    *,
    model: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    preset: str | os.PathLike[str] | None = None,
    dataset: Dataset | None = None,
    split: str = "test",
    tta: str | None = None,
    custom_objects: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Evaluates a run, a preset, or a model of the zoo with weights.

    Args:
        run: Path of a run directory.
        model: Name of a model, instead of a run; needs `weights` and `dataset`.
        weights: Its weights, as of `kzoo.resnet`.
        preset: A preset, as of `kzoo.Preset`, instead of a run; needs `dataset`.
        dataset: The `Dataset`, of the run's classes. Defaults to the run's own.
        split: `"train"`, `"validation"` or `"test"`. Defaults to `"test"`.
        tta: As for `kzoo.evaluate`. A dataset with `flip=False` is refused: its classes may change in a mirror.
            Defaults to `None`.
        custom_objects: As of `Run.load_model`. Defaults to `None`.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If neither a run nor a preset and a dataset nor model, weights and dataset are given, or they do not
            go together: a run or a preset and data of other classes, also where the run's own have others by now.

    Example:
        >>> kzoo.evaluate_saved("runs/mine", split="validation").accuracy  # doctest: +SKIP
        0.993
    """
    check_choice("split", split, get_args(SplitName))
    if tta is not None:
        check_choice("tta", tta, get_args(TestTimeAugmentation))
    instance(dataset, "dataset", (Dataset, NoneType), "a kzoo.Dataset, such as `kzoo.load_dataset` returns")
    objects(custom_objects)
    if preset is not None and dataset is not None and run is model is weights is None:
        opened_preset = Preset(preset)
        if opened_preset.class_names is not None:
            dataset.check_class_names(opened_preset.class_names, opened_preset.folder)
        built = opened_preset.load_model()
    elif run is not None and model is None and weights is None and preset is None:
        opened = Run(run)
        dataset = dataset or opened.load_dataset()
        opened.check_classes(dataset)
        built = opened.load_model(custom_objects)
    elif run is preset is None and model is not None and weights is not None and dataset is not None:
        built = create_model(
            model, weights=os.fspath(weights), input_shape=dataset.image_shape, classes=dataset.classes
        )
    else:
        raise ValueError(
            "Expected either a run, or a preset with data, or a model with weights and data. Received: "
            f"run={run}, preset={preset}, model={model}, weights={weights}, dataset={dataset and dataset.name}."
        )
    if tta == "mirror" and not dataset.flip:
        raise ValueError(
            "`tta='mirror'` needs data whose classes a mirror does not change: `load_dataset(..., flip=True)` says so. "
            f"Received: {dataset.name!r}, with flip=False."
        )
    part = getattr(dataset, split)
    return evaluate_model(built, part, class_names=dataset.class_names, tta=tta)
