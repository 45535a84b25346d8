"""Recipes: everything that decides a training besides the model, the data and the seed."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal, get_args

from kzoo.arguments import boolean, integer, number
from kzoo.choices import PadMode, Precision, check_choice, hint

Schedule = Literal["linear", "cosine", "step", "constant"]
DecayOn = Literal["kernels", "all"]
PixelStatistics = Literal["dataset", "imagenet"]

MOST_EPOCHS = 100_000  # more is a slip of the finger: the longest recipe has 200


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train. Use `dataclasses.replace` to change a field.

    Attributes:
        epochs: Passes over the training split, if nothing stops earlier.
        batch_size: Images a step.
        drop_remainder: Whether an epoch leaves out a last step of fewer images; they are others in each epoch.
        learning_rate: Peak rate of stochastic gradient descent.
        momentum: Factor of the velocity at each step, as in PyTorch: the rate is not part of the velocity.
        nesterov: Whether to look ahead.
        weight_decay: Coupled: `weight_decay * weight` is added to the gradient before the momentum, as in PyTorch.
        decay_on: `"kernels"` (weights of two axes or more) or `"all"`.
        schedule: After the warm-up: `"linear"` or `"cosine"` to 0, `"step"`, or `"constant"`. Set each step.
        warmup: Fraction of all steps in which the rate climbs linearly from `warmup_start` times its peak.
        warmup_start: Fraction of the peak.
        milestones: For `"step"`: fractions of all steps at which the rate is multiplied by `gamma`.
        gamma: For `"step"`.
        label_smoothing: In [0, 1): mass of the one-hot label that is spread evenly over all classes.
        crop_padding: Pixels added on every side before a random crop back to size; 0 switches the crop off.
        pad_mode: What the padding shows: `"constant"`, black, or `"reflect"`.
        flip: Whether to mirror images at random, where the data set allows it.
        pixel_statistics: What a new model normalizes with: those of the training split (`"dataset"`) or `"imagenet"`.
        patience: Epochs without improvement of the validation loss after which to stop, or `None` to train to the end.
        min_delta: The least change of the validation loss that counts as an improvement.
        precision: Dtype policy that the model must have been built with.
        ema: What moving averages of weights and batch statistics keep at each step, such as 0.999 (less in the first
            steps); 0 for no averages. They, and not the weights, are validated, stopped on and saved.
    """

    epochs: int = 20
    batch_size: int = 32
    drop_remainder: bool = True
    learning_rate: float = 0.05
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decay_on: DecayOn = "kernels"
    schedule: Schedule = "linear"
    warmup: float = 0.15
    warmup_start: float = 0.0
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    label_smoothing: float = 0.1
    crop_padding: int = 4
    pad_mode: PadMode = "reflect"
    flip: bool = True
    pixel_statistics: PixelStatistics = "dataset"
    patience: int | None = 5
    min_delta: float = 0.02
    precision: Precision = "float32"
    ema: float = 0.0

    def override(self, **changes: Any) -> "Recipe":
        """Returns a copy with the changes that are not `None`; a `patience` of 0 means none.

        Raises:
            ValueError: If the recipe would not be valid, or has no such field.
        """
        known = {field.name for field in dataclasses.fields(self)}
        for name in changes:
            if name not in known:
                near = hint(name, sorted(known))
                raise ValueError(f"A recipe has the fields {', '.join(sorted(known))}. Received: {name}.{near}")
        given = {name: value for name, value in changes.items() if value is not None}
        if given.get("patience") == 0 and given["patience"] is not False:
            given["patience"] = None
        return dataclasses.replace(self, **given)

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            if check := _KINDS.get(one.type):
                object.__setattr__(self, one.name, check(one.name, getattr(self, one.name)))
        for field, choices in (
            ("schedule", get_args(Schedule)),
            ("decay_on", get_args(DecayOn)),
            ("precision", get_args(Precision)),
            ("pixel_statistics", get_args(PixelStatistics)),
            ("pad_mode", get_args(PadMode)),
        ):
            check_choice(field, getattr(self, field), choices)
        for field, valid, expected in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("epochs", self.epochs <= MOST_EPOCHS, f"at most {MOST_EPOCHS:,}"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("learning_rate", self.learning_rate > 0, "above 0"),
            ("momentum", 0 <= self.momentum < 1, "at least 0 and below 1"),
            ("nesterov", self.momentum > 0 or not self.nesterov, "false without momentum"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("warmup", 0 <= self.warmup < 1, "at least 0 and below 1"),
            ("warmup_start", 0 <= self.warmup_start <= 1, "between 0 and 1"),
            ("milestones", list(self.milestones) == sorted(self.milestones), "in ascending order"),
            ("milestones", all(0 < milestone < 1 for milestone in self.milestones), "fractions between 0 and 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "at least 0 and below 1"),
            ("gamma", self.gamma >= 0, "at least 0"),
            ("crop_padding", self.crop_padding >= 0, "at least 0"),
            ("patience", self.patience is None or self.patience >= 1, "at least 1, or None"),
            ("min_delta", self.min_delta >= 0, "at least 0"),
            ("ema", 0 <= self.ema < 1, "at least 0 and below 1"),
        ):
            if not valid:
                raise ValueError(f"`{field}` must be {expected}. Received: {field}={getattr(self, field)!r}.")


def _as_integer(field: str, value: Any) -> int:
    return integer(value, field)


def _as_integer_or_none(field: str, value: Any) -> int | None:
    return None if value is None else _as_integer(field, value)


def _as_number(field: str, value: Any) -> float:
    return number(value, field)


def _as_numbers(field: str, values: Any) -> tuple[float, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"`{field}` must be a tuple of numbers. Received: {field}={values!r}.")
    return tuple(number(value, field) for value in values)


def _as_boolean(field: str, value: Any) -> bool:
    return boolean(value, field)


# A field's type -> what turns NumPy's scalars into Python's, and refuses the rest.
_KINDS: dict[Any, Any] = {
    int: _as_integer,
    int | None: _as_integer_or_none,
    float: _as_number,
    tuple[float, ...]: _as_numbers,
    bool: _as_boolean,
}

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


def recipe(name: str) -> Recipe:
    """Returns a recipe by name: `"default"`, `"akamaster"` or `"he2015"`.

    Raises:
        ValueError: If there is none of that name.
    """
    check_choice("name", name, RECIPES)
    return RECIPES[name]
