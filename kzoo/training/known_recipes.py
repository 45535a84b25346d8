"""The recipes that have a name."""

from kzoo.choices import check_choice
from kzoo.training.recipes import Recipe

RECIPES = {
    # One cycle: a short warm-up to a high rate, then linearly to 0; weight decay on the kernels alone. Label smoothing
    # keeps the validation loss from being low by luck at the high rate, which would stop a training too early.
    "default": Recipe(),
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
}


def list_recipes() -> list[str]:
    """Returns the names of the recipes that kzoo has."""
    return list(RECIPES)


def recipe(name: str) -> Recipe:
    """Returns a recipe by name: `"default"`, `"akamaster"` or `"he2015"`.

    Raises:
        ValueError: If there is none of that name.
    """
    check_choice("name", name, RECIPES)
    return RECIPES[name]
