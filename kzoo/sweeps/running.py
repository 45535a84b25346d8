"""Runs a sweep."""

import dataclasses
import gc
import json
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import keras

from kzoo import environment
from kzoo.arguments import boolean, instance, path
from kzoo.data import Dataset
from kzoo.data.fingerprint import fingerprint
from kzoo.errors import DivergenceError, OutOfMemoryError, TrainingInterrupted
from kzoo.experiment import train
from kzoo.models.arguments import check_arguments
from kzoo.models.registry import create_model
from kzoo.sweeps.grid import MOST_TRAININGS, directory_name, seeds_of, settings_of, told
from kzoo.sweeps.progress import Bar, Epochs
from kzoo.sweeps.record import FILE, Member, Sweep, write_sweep
from kzoo.training import Recipe
from kzoo.training.known_recipes import find_recipe
from kzoo.training.recipe_files import changed

_FORESEEN = (ValueError, DivergenceError, OutOfMemoryError)  # after which the other trainings may go well


def sweep(
    model: str,
    dataset: Dataset,
    recipe: Recipe | str | os.PathLike[str] = "default",
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    seeds: int | Sequence[int] = 3,
    directory: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    verbose: Any = "auto",
    **arguments: Any,
) -> Sweep:
    """Trains a model by each combination of a grid's settings with each seed, one after another.

    All seeds of the first combination come first. Where the directory has a sweep already this goes on with it: what is
    done stays, what was interrupted goes on from its last checkpoint, and settings and seeds may be added. A training
    that fails stays in the table with the reason, and the rest goes on.

    Args:
        model: Name of a model, one of `kzoo.list_models()`.
        dataset: The `Dataset`.
        recipe: As for `kzoo.fit`. Defaults to `"default"`.
        grid: Field of the recipe to the values that it is to have, for example `{"learning_rate": [0.1, 0.2]}`.
            Defaults to `None`, the recipe as it is.
        seeds: Integer, how many seeds (0, 1, ...), or the seeds. Defaults to `3`.
        directory: Path of the sweep's directory. Defaults to `sweeps/<model>-<data>-<backend>`.
        retry_failed: Boolean, whether to try again what failed in an earlier go. Defaults to `False`.
        verbose: `"auto"`, one bar with the time left if standard error is a terminal, else a line a training; `0`,
            nothing; `1`, the bar; `2`, the lines. Defaults to `"auto"`.
        **arguments: Further arguments of the model, as for `kzoo.train`.

    Returns:
        The `Sweep`.

    Raises:
        ValueError: If a combination makes no valid recipe, or the directory has another sweep.
        FileExistsError: If the directory has other content.
        TrainingInterrupted: After SIGINT or SIGTERM: the same call goes on.

    Example:
        >>> found = kzoo.sweep(
        ...     "resnet20", kzoo.load_dataset("digits"), grid={"learning_rate": [0.05, 0.1]}, seeds=5
        ... )  # doctest: +SKIP
        >>> found.summary()[0]["test_accuracy_mean"]  # doctest: +SKIP
        0.9931
    """
    recipe = find_recipe(recipe)
    instance(dataset, "dataset", Dataset, "a kzoo.Dataset, such as `kzoo.load_dataset` returns")
    check_arguments(arguments, without=("input_shape", "classes", "seed"))
    create_model(model, input_shape=dataset.image_shape, classes=dataset.classes, **arguments)  # or tells what is wrong
    instance(grid, "grid", (Mapping, NoneType), "a dictionary of fields and their values, or None")
    retry_failed = boolean(retry_failed, "retry_failed")
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(f"`verbose` must be one of 'auto', 0, 1, 2. Received: verbose={verbose!r}.")
    backend = keras.backend.backend()
    folder = Path("sweeps", f"{model}-{dataset.name}-{backend}") if directory is None else path(directory, "directory")
    settings = settings_of(grid or {}, recipe)
    wanted = [Member(one, seed, folder / directory_name(one, seed)) for one in settings for seed in seeds_of(seeds)]
    if len(wanted) > MOST_TRAININGS:
        raise ValueError(f"A sweep must have at most {MOST_TRAININGS:,} trainings. Received: {len(wanted):,}.")
    about = {
        "model": model,
        "arguments": json.loads(json.dumps(arguments, default=str)),
        "data": {"name": dataset.name, "fingerprint": fingerprint(dataset)},
        "backend": backend,
        "recipe": json.loads(json.dumps(recipe.record())),
    }
    going = _Going(folder, about, _joined(folder, about, wanted, retry_failed))
    going.run([one.directory.name for one in wanted], dataset, recipe, verbose, arguments)
    return Sweep(folder)


def _joined(folder: Path, about: Mapping[str, Any], wanted: Iterable[Member], retry_failed: bool) -> dict[str, Member]:
    """Returns the trainings of a directory, with those that are wanted, by the names of their folders."""
    known = dict[str, Member]()
    if (folder / FILE).exists():
        before = Sweep(folder)
        if other := [name for name in about if before.about[name] != about[name]]:
            raise ValueError(
                f"{folder} must be of the same {', '.join(other)}: another sweep needs another directory. "
                f"Received: {about[other[0]]!r}, before {before.about[other[0]]!r}."
            )
        known = {member.directory.name: member for member in before.members}
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"A sweep needs a new or empty directory. Received: {folder}, which has content.")
    for member in wanted:
        if retry_failed or member.directory.name not in known:
            known[member.directory.name] = member
    return known


class _Going:
    """A sweep that goes on.

    Args:
        folder: Path of its directory.
        about: What all of its trainings have in common.
        members: Name of a training's folder to the `Member`.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], members: dict[str, Member]) -> None:
        self.folder, self.about, self.members = folder, about, members
        folder.mkdir(parents=True, exist_ok=True)
        self.write()

    def write(self) -> None:
        write_sweep(self.folder, self.about, self.members.values())
        Sweep(self.folder).write_tables()

    def run(
        self, names: Sequence[str], dataset: Dataset, recipe: Recipe, verbose: Any, arguments: Mapping[str, Any]
    ) -> None:
        """Runs the trainings of some names, but for those that are done or have failed."""
        recipes = {name: changed(recipe, self.members[name].settings) for name in names}
        bar, before = Bar(sum(one.epochs for one in recipes.values()), verbose), 0
        try:
            with bar.shown():
                for number, name in enumerate(names, start=1):
                    member = self.members[name]
                    if member.state in ("done", "failed"):
                        bar.skip_to(before + recipes[name].epochs)
                    else:
                        bar.start(f"{number}/{len(names)}  {told(member.settings)}, seed {member.seed}")
                        self._train(member, dataset, recipes[name], Epochs(bar, before), arguments)
                        bar.reach(before + recipes[name].epochs)
                    before += recipes[name].epochs
        except KeyboardInterrupt as interruption:
            states = [member.state for member in self.members.values()]
            raise TrainingInterrupted(
                f"The sweep was ended: {states.count('done')} of its {len(states)} trainings are done. To go on, the "
                f"same again: {environment.command()}",
                getattr(interruption, "signal", signal.SIGINT),
            ) from None

    def _train(
        self, member: Member, dataset: Dataset, recipe: Recipe, watch: Epochs, arguments: Mapping[str, Any]
    ) -> None:
        going: Any = {"run_dir": member.directory, "resume": True, "verbose": 0}
        try:
            train(self.about["model"], dataset, recipe, [watch], seed=member.seed, **going, **arguments)
        except _FORESEEN as error:
            failed = dataclasses.replace(member, failure=f"{type(error).__name__}: {error}")
            self.members[member.directory.name] = failed
        self.write()
        gc.collect()  # a model and its optimizer refer to each other
