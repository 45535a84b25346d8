"""Residual networks for small images: He et al. 2015, He et al. 2016 (v2), Zagoruyko & Komodakis 2016 (wide)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

import keras

from kzoo.arguments import boolean, integer, text
from kzoo.blocks import convolution, norm, relu, residual_stage
from kzoo.choices import Normalization, Order, Shortcut
from kzoo.initializers import HeNormal
from kzoo.layers import PixelNormalization
from kzoo.models.arguments import Arguments, check_arguments
from kzoo.models.model import Model
from kzoo.models.preset import Preset, with_preset
from kzoo.presets.construction import Construction
from kzoo.presets.folder import load_tensors
from kzoo.presets.loading import load_weights
from kzoo.streams import check_seed

SMALLEST_INPUT = 8
MOST_DEPTH = 10_000  # more is a slip of the finger: the deepest of the papers has 1,202
STAGE_FILTERS = (16, 32, 64)


def resnet(depth: int, **arguments: Unpack[Arguments]) -> keras.Model:
    """Builds a CIFAR ResNet of any depth 6n + 2: a stem, three stages of n blocks at 16, 32 and 64 filters, a head.

    Args:
        depth: Integer, 6n + 2: 20, 32, 44, 56, 110, ...
        weights: Name of a preset (`kzoo.list_presets()`), the data of one for this model (`"digits"`), the path of its
            folder, `"hf://owner/name"`, the path of a `.weights.h5` file, or `None` for initial weights. A preset
            decides what `input_shape`, `classes` and `shortcut` default to. Its classifier is left out without the top,
            its input normalization without preprocessing. Defaults to `None`.
        include_top: Boolean, whether to end with pooling and the classifier. Defaults to `True`.
        input_shape: `(height, width, channels)`, at least 8x8 pixels; `None` for a height or width of any size.
            Defaults to `(32, 32, 3)`.
        pooling: Without the top: `None` for feature maps, `"avg"` or `"max"` for a vector. Defaults to `None`.
        classes: Integer, number of outputs. Defaults to `10`.
        classifier_activation: Activation of the outputs, such as `"softmax"`. Defaults to `None`, logits.
        include_preprocessing: Boolean, whether the model takes pixels in [0, 255] and normalizes them itself.
            Defaults to `True`.
        order: `"classic"` (v1), `"preact"` (v2) or `"additive"`, see `kzoo.residual_block`. Defaults to `"classic"`.
        shortcut: `"pad"` (option A), `"projection"` (option B) or `"none"`. Defaults to `"pad"` for `"classic"` and
            `"additive"`, to `"projection"` for `"preact"`.
        normalization: `"batch"`, or `None` for biases instead. Defaults to `"batch"`.
        dropout: Float in [0, 1), the fraction dropped inside each block. Defaults to `0.0`.
        zero_init_residual: Boolean, whether each block starts as its shortcut alone, see `kzoo.residual_block`.
            Defaults to `False`.
        seed: Integer, 0 or larger, from which initial weights and dropout masks are drawn. Defaults to `0`.
        name: String, the model's name. Defaults to `"resnet{depth}"`, with `"_v2"` for `"preact"`.

    Returns:
        A functional `keras.Model` from images `(batch, height, width, channels)` to logits `(batch, classes)`.

    Raises:
        ValueError: If an argument is not one of those above (the message suggests the nearest), or the weights are not
            of this model.

    Example:
        >>> kzoo.resnet(26, classes=100).output_shape
        (None, 100)

    References:
        - [He et al., 2015](https://arxiv.org/abs/1512.03385), section 4.2
        - [He et al., 2016](https://arxiv.org/abs/1603.05027), section 4
    """
    check_arguments(arguments)
    depth = _checked_depth(depth)
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"`depth` must be 6n + 2. Received: depth={depth}.")
    preact = arguments.get("order") == "preact"
    arguments.setdefault("name", f"resnet{depth}_v2" if preact else f"resnet{depth}")
    return _build("resnet", (depth,), blocks, **with_preset("resnet", (depth,), arguments))


def wide_resnet(depth: int, width: int, **arguments: Unpack[Arguments]) -> keras.Model:
    """Builds a wide residual network of depth 6n + 4: pre-activation, projections, `width` times the filters.

    Args:
        depth: Integer, 6n + 4: 16, 22, 28, 40, ...
        width: Integer, factor on the filters of the stages (not of the stem).
        **arguments: As for `resnet`. `order` defaults to `"preact"`, `name` to `"wide_resnet{depth}_{width}"`.

    Returns:
        A functional `keras.Model`, as `resnet`.

    Raises:
        ValueError: If `depth` is not 6n + 4, `width` is below 1, or an argument is none of those of `resnet`.

    Example:
        >>> kzoo.wide_resnet(10, 1, classes=100).output_shape
        (None, 100)

    Reference:
        - [Zagoruyko & Komodakis, 2016](https://arxiv.org/abs/1605.07146), table 1
    """
    check_arguments(arguments)
    depth, width = _checked_depth(depth), integer(width, "width", least=1)
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ValueError(f"`depth` must be 6n + 4. Received: depth={depth}.")
    arguments.setdefault("name", f"wide_resnet{depth}_{width}")
    arguments.setdefault("order", "preact")
    sizes = (depth, width)
    return _build("wide_resnet", sizes, blocks, width, **with_preset("wide_resnet", sizes, arguments))


def _checked_depth(value: int) -> int:
    depth = integer(value, "depth")
    if depth > MOST_DEPTH:
        raise ValueError(f"`depth` must be at most {MOST_DEPTH:,}. Received: depth={depth}.")
    return depth


def _build(
    constructor: str,
    sizes: tuple[int, ...],
    blocks: int,
    width: int = 1,
    *,
    weights: Preset | Path | None = None,
    include_top: bool = True,
    input_shape: Sequence[int | None] = (32, 32, 3),
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 10,
    classifier_activation: str | None = None,
    include_preprocessing: bool = True,
    order: Order = "classic",
    shortcut: Shortcut | None = None,
    normalization: Normalization = "batch",
    dropout: float = 0.0,
    zero_init_residual: bool = False,
    seed: int = 0,
    name: str,
) -> keras.Model:
    shape = _checked_shape(input_shape)
    if pooling not in (None, "avg", "max"):
        raise ValueError(f"`pooling` must be None, 'avg' or 'max'. Received: pooling={pooling!r}.")
    include_top = boolean(include_top, "include_top")
    include_preprocessing = boolean(include_preprocessing, "include_preprocessing")
    _check_activation(classifier_activation)
    text(name, "name")
    classes = integer(classes, "classes", least=1) if include_top else 0
    seed = check_seed(seed)
    form: dict[str, Any] = {
        "order": order,
        "shortcut": shortcut if shortcut is not None else ("projection" if order == "preact" else "pad"),
        "normalization": normalization,
        "dropout": dropout,
        "seed": seed,
    }
    images = keras.Input(shape, name="image")
    x = (
        PixelNormalization(**neutral_pixels(shape[-1]), name="normalization")(images)
        if include_preprocessing
        else images
    )
    stages = [width * filters for filters in STAGE_FILTERS]
    x = feature_map(x, STAGE_FILTERS[0], stages, blocks, zero_init_residual=zero_init_residual, **form)  # 8x8x64
    if include_top:
        x = classifier(x, classes, seed, activation=classifier_activation)
    elif pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(data_format="channels_last", name="pool")(x)
    model = Model(images, x, name=name)
    model.construction = Construction(
        constructor,
        sizes,
        {
            "include_top": include_top,
            "input_shape": shape,
            "pooling": pooling,
            "classes": classes or 10,
            "classifier_activation": classifier_activation,
            "include_preprocessing": include_preprocessing,
            "name": name,
            **form,  # not `zero_init_residual`: a preset has weights
            "dropout": float(dropout),
        },
    )
    if isinstance(weights, Preset):
        load_tensors(model, weights.folder, weights.config)
        model.class_names = weights.class_names if include_top else None
    elif weights is not None:
        load_weights(model, weights, optional=_optional(blocks, include_top, include_preprocessing))
    return model


def feature_map(
    x: Any,
    stem: int,
    stages: Sequence[int],
    blocks: int,
    *,
    order: Order,
    normalization: Normalization,
    seed: int,
    **form: Any,
) -> Any:
    """Puts stem and stages of residual blocks behind images, and returns the last feature map.

    Args:
        x: Keras tensor of shape `(batch, height, width, channels)`.
        stem: Integer, filters of the first convolution.
        stages: Filters of each stage; all but the first halve height and width.
        blocks: Integer, blocks of a stage.
        order: As of `kzoo.residual_block`, and so are `normalization` and `seed`.
        **form: Further arguments of `kzoo.residual_block`.
    """
    x = convolution(x, stem, use_bias=normalization is None, seed=seed, name="stem_conv")
    if order != "preact":
        x = relu(norm(x, normalization, name="stem_norm"), name="stem_relu")
    form |= {"order": order, "normalization": normalization, "seed": seed}
    for stage, filters in enumerate(stages, start=1):
        x = residual_stage(x, filters, blocks, stride=1 if stage == 1 else 2, name=f"stage{stage}", **form)
    return relu(norm(x, normalization, name="head_norm"), name="head_relu") if order == "preact" else x


def classifier(x: Any, classes: int, seed: int, activation: str | None = None) -> Any:
    """Puts global average pooling and a dense layer behind a feature map, and returns the outputs."""
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(x)
    kernel = HeNormal(seed, "classifier/kernel")
    return keras.layers.Dense(classes, activation=activation, kernel_initializer=kernel, name="classifier")(x)


def _optional(blocks: int, include_top: bool, include_preprocessing: bool) -> list[str]:
    """Groups of a weights file that may be there or not: dropout only counts, the others are left out on request."""
    groups = ["layers/dropout", *(f"layers/dropout_{i}" for i in range(1, 3 * blocks))]
    groups += [] if include_top else ["layers/dense"]
    return groups + ([] if include_preprocessing else ["layers/pixel_normalization"])


def _check_activation(activation: Any) -> None:
    try:
        keras.activations.get(activation)
    except (TypeError, ValueError):
        raise ValueError(
            "`classifier_activation` must be None or what `keras.activations.get` takes, such as 'softmax'. "
            f"Received: classifier_activation={activation!r}."
        ) from None


def _checked_shape(input_shape: Any) -> tuple[int | None, int | None, int]:
    try:
        height, width = (None if size is None else integer(size, "input_shape") for size in input_shape[:2])
        (channels,) = (integer(size, "input_shape") for size in input_shape[2:])
    except (TypeError, ValueError):
        raise ValueError(
            f"`input_shape` must be (height, width, channels). Received: input_shape={input_shape!r}."
        ) from None
    if min(SMALLEST_INPUT if size is None else size for size in (height, width)) < SMALLEST_INPUT or channels < 1:
        raise ValueError(
            f"`input_shape` must be at least {SMALLEST_INPUT}x{SMALLEST_INPUT} pixels with a channel. "
            f"Received: input_shape={(height, width, channels)}."
        )
    return height, width, channels


def neutral_pixels(channels: int) -> dict[str, Any]:
    """Returns neutral statistics for images that are not RGB, whose channels CIFAR-10 says nothing of."""
    return {} if channels == 3 else {"mean": (0.5,) * channels, "std": (0.25,) * channels}
