"""The recipes that have a name, and how any other is found."""

import os
from pathlib import Path
from typing import Any

from kzoo.choices import hint
from kzoo.training.recipe_files import read_recipe_of_run, read_toml
from kzoo.training.recipes import Recipe

RECIPES = {
    # One cycle: a short warm-up to a high rate, then linearly to 0; weight decay on the kernels alone. Label smoothing
    # keeps the validation loss from being low by luck at the high rate, which would stop a training too early.
    "default": Recipe(),
    # Searched with ResNet-20 on the validation split of cifar10-jpeg (docs/recipes.md): the default with larger batches
    # at a rate that is high for them, less decay, and no early stopping.
    "fast": Recipe(epochs=30, batch_size=128, learning_rate=0.4, weight_decay=2e-4, patience=None),
    # akamaster/pytorch_resnet_cifar10, trainer.py: 200 epochs, rate 0.1 divided by 10 after 100 and 150, decay 1e-4 on
    # everything, black padding, ImageNet's statistics. (It trains on all 50,000 images and picks the best epoch on the
    # test set; here a part of them is for validation and the last epoch counts.)
    "akamaster": Recipe(
        epochs=200,
        batch_size=128,
        drop_remainder=False,
        learning_rate=0.1,
        nesterov=False,
        weight_decay=1e-4,
        decay_on="all",
        schedule="step",
        warmup=0.0,
        milestones=(0.5, 0.75),
        pad_mode="constant",
        pixel_statistics="imagenet",
        label_smoothing=0.0,
        patience=None,
    ),
    # He et al., 2015, section 4.2: 45,000 images for training; 64,000 steps are 182 epochs, the last one not whole;
    # the rate is divided by 10 after 32,000 and 48,000. For depth 110 the paper first runs some 400 steps at 0.01.
    # (The paper subtracts the mean image; here the mean colour is subtracted and divided by the deviation.)
    "he2015": Recipe(
        epochs=182,
        batch_size=128,
        drop_remainder=False,
        learning_rate=0.1,
        nesterov=False,
        weight_decay=1e-4,
        decay_on="all",
        schedule="step",
        warmup=0.0,
        milestones=(32_000 / 64_064, 48_000 / 64_064),
        pad_mode="constant",
        label_smoothing=0.0,
        patience=None,
    ),
    # chenyaofo/image-classification-codebase, conf/cifar10.conf, by which pytorch-cifar-models were trained: 200
    # epochs, rate 0.1 along a cosine, decay 5e-4 on everything, black padding. (It trains on all 50,000 images and
    # keeps the best epoch on the test set; its networks have projection shortcuts.)
    "chenyaofo": Recipe(
        epochs=200,
        batch_size=256,
        drop_remainder=False,
        learning_rate=0.1,
        decay_on="all",
        schedule="cosine",
        warmup=0.0,
        pad_mode="constant",
        label_smoothing=0.0,
        patience=None,
    ),
}


def list_recipes() -> list[str]:
    """Returns the names of the recipes that kzoo has.

    Example:
        >>> kzoo.list_recipes()[0]
        'default'
    """
    return list(RECIPES)


def recipe(name: str | os.PathLike[str]) -> Recipe:
    """Returns a recipe by its name, or reads it from a file or a run.

    Args:
        name: `"default"`, `"fast"`, `"akamaster"`, `"he2015"` or `"chenyaofo"`; or the path of a TOML file, which ends
            in `.toml`, as `kzoo recipe show` prints and docs/recipes.md describes; or that of a run directory.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there is no recipe of that name, or the file does not hold one.

    Example:
        >>> kzoo.recipe("default").epochs
        20
    """
    return find_recipe(name, "name")


def find_recipe(given: Any, argument: str = "recipe") -> Recipe:
    """Returns what a caller means by a recipe: a `Recipe`, or what `recipe` takes.

    Args:
        given: What was given.
        argument: String, what the caller's argument is called. Defaults to `"recipe"`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is neither.
    """
    if isinstance(given, Recipe):
        return given
    if isinstance(given, str) and given in RECIPES:
        return RECIPES[given]
    path = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if isinstance(path, str) and path.endswith(".toml"):
        return read_toml(path, RECIPES)
    if isinstance(path, str) and path and Path(path, "config.json").is_file():
        return read_recipe_of_run(path)
    raise ValueError(
        f"`{argument}` must be one of {', '.join(RECIPES)}, a file that ends in .toml, or a run directory. "
        f"Received: {argument}={given!r}.{hint(given, RECIPES)}"
    )
