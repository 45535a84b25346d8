"""Recipes: everything that decides a training besides the model, the data and the seed."""

import dataclasses
from typing import Any, Literal

from kzoo.choices import EraseFill, FlipMode, Optimizer, PadMode, Precision, hint
from kzoo.training.recipe_checks import LIMITS, ClassWeights, checked

Schedule = Literal["linear", "cosine", "step", "constant"]
DecayOn = Literal["kernels", "all"]
PixelStatistics = Literal["dataset", "imagenet"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train. Use `dataclasses.replace` to change a field.

    Fields after `precision` are ingredients that are off by default. What is said here of a field is also the comment
    over it in the TOML files that `kzoo recipe show` prints.

    Attributes:
        epochs: Passes over the training split, if nothing stops earlier.
        batch_size: Images a step.
        drop_remainder: Whether an epoch leaves out a last step of fewer images; they are others in each epoch.
        learning_rate: Peak rate of the optimizer.
        momentum: Of `"sgd"`, factor of the velocity at each step, as in PyTorch: the rate is not part of the velocity.
        nesterov: Of `"sgd"`, whether to look ahead.
        weight_decay: Of `"sgd"` coupled: `weight_decay * weight` is added to the gradient before the momentum, as in
            PyTorch. Of any other optimizer as Keras has it: `rate * weight_decay * weight` is taken from the weight.
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
        optimizer: `"sgd"`, kzoo's, or one of Keras's by its name in small letters, such as `"adamw"` or `"lion"`. They
            need other values of `learning_rate` and `weight_decay` than `"sgd"`.
        optimizer_arguments: Further arguments of Keras's optimizer, for example `{ beta_2 = 0.95 }`. Not of `"sgd"`,
            whose arguments are the fields of the recipe.
        clip_norm: The largest Euclidean norm of the gradient of one weight array; longer ones are shortened to it.
        global_clip_norm: The same of all gradients together.
        clip_value: The largest absolute value within a gradient; others are cut.
        accumulate_steps: Batches whose mean gradient makes one step of the optimizer, of which the schedule is.
        bias_rate: Of `"sgd"`, factor on the rate of biases and of batch normalization's shift (beta).
        class_weights: What an image counts in the loss: a table of weights by class name (1 for one that is left out),
            or `"balanced"`, so that each class counts alike.
        flip_mode: Which images are mirrored: `"random"` draws them anew in each epoch, `"alternate"` draws them for the
            first epoch and then mirrors each image in every other one.
        erase: In [0, 1]: probability that a rectangle of an image is erased.
        erase_area: Least and largest share of the image that is erased.
        erase_aspect: Least ratio of the rectangle's shorter side to its longer.
        erase_fill: What is seen in its place: `"noise"` or `"grey"`.
        mixup: Alpha of mixup, or 0 for none; how much stays of an image is drawn from Beta(alpha, alpha).
        cutmix: Alpha of cutmix, or 0 for none. If mixup is on, too, each batch takes one of them, with equal chances.
        mix_share: In [0, 1]: share of batches that are mixed.
        image_scales: Shares of height and width that images are shrunk to, in (0, 1]: each for an equal part of the
            epochs, in turn. `()` leaves them as they are. Validation and test have the whole size.
        ema: What moving averages of weights and batch statistics keep at each step, such as 0.999 (less in the first
            steps); 0 for no averages. They, and not the weights, are validated, stopped on and saved.
        zero_init_residual: Whether each block of a new model starts as its shortcut alone, as of `kzoo.resnet`.
        distillation_weight: What the answers of a teacher count in the loss; the labels count the rest of 1. A training
            with a teacher needs one above 0, another has 0.
        temperature: What the logits of teacher and model are divided by, so that the answers are softer.
        lookahead_steps: Lookahead: after so many steps of the optimizer the weights go back, part of the way, to where
            they were so many steps before; 0 switches it off.
        lookahead_share: Share of the way that they keep.

    Example:
        >>> kzoo.Recipe(epochs=5).override(schedule="cosine").learning_rate
        0.05
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
    optimizer: Optimizer = "sgd"
    optimizer_arguments: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    clip_norm: float | None = None
    global_clip_norm: float | None = None
    clip_value: float | None = None
    accumulate_steps: int = 1
    bias_rate: float = 1.0
    class_weights: ClassWeights = dataclasses.field(default=None, hash=False)
    flip_mode: FlipMode = "random"
    erase: float = 0.0
    erase_area: tuple[float, ...] = (0.02, 0.4)
    erase_aspect: float = 0.3
    erase_fill: EraseFill = "noise"
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_share: float = 1.0
    image_scales: tuple[float, ...] = ()
    ema: float = 0.0
    zero_init_residual: bool = False
    distillation_weight: float = 0.0
    temperature: float = 4.0
    lookahead_steps: int = 0
    lookahead_share: float = 0.5

    def override(self, **changes: Any) -> "Recipe":
        """Returns a copy with changes. A `patience` of 0 means none, as `None` does.

        Raises:
            ValueError: If the recipe would not be valid, or has no such field.
        """
        known = {field.name for field in dataclasses.fields(self)}
        for name in changes:
            if name not in known:
                near = hint(name, sorted(known))
                raise ValueError(f"A recipe has the fields {', '.join(sorted(known))}. Received: {name}.{near}")
        if changes.get("patience") == 0 and changes["patience"] is not False:
            changes["patience"] = None
        return dataclasses.replace(self, **changes)

    def to_toml(self) -> str:
        """Returns a TOML file that `kzoo.recipe` reads back to the same recipe, with a comment for each field."""
        from kzoo.training.recipe_files import to_toml

        return to_toml(self)

    def record(self) -> dict[str, Any]:
        """Returns the fields as a run's `config.json` has them: those that are off are left out.

        So a run that began before there was such a field is still the same.
        """
        off = Recipe()
        always = [one.name for one in dataclasses.fields(self)]
        always = always[: always.index("precision") + 1]
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name in always or value != getattr(off, name)}

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            object.__setattr__(self, one.name, checked(one.name, one.type, getattr(self, one.name)))
        for field, expected, is_met in LIMITS:
            if not is_met(self):
                raise ValueError(f"`{field}` must be {expected}. Received: {field}={getattr(self, field)!r}.")
