"""Builds residual blocks of every form from the layers."""

from typing import Any, get_args

import keras

from kzoo.arguments import boolean, integer, number, text
from kzoo.choices import Normalization, Order, Shortcut, check_choice
from kzoo.initializers import HeNormal
from kzoo.layers import Add, BatchNorm, Conv2D, Dropout, ReLU, ZeroPadShortcut


def convolution(
    x: Any,
    filters: int,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    use_bias: bool,
    zero: bool = False,
    seed: int,
    name: str,
) -> Any:
    """Adds one convolution, its kernel drawn from `(seed, name)`, or zero."""
    initializer = keras.initializers.Zeros() if zero else HeNormal(seed, f"{name}/kernel")
    return Conv2D(filters, kernel_size, stride, use_bias=use_bias, kernel_initializer=initializer, name=name)(x)


def norm(x: Any, normalization: Normalization, *, zero: bool = False, name: str) -> Any:
    """Adds batch normalization, its scale 1 or zero, or nothing."""
    return BatchNorm(gamma_initializer="zeros" if zero else "ones", name=name)(x) if normalization else x


def relu(x: Any, *, name: str) -> Any:
    """Adds a rectifier."""
    return ReLU(name=name)(x)


def residual_block(
    x: Any,
    filters: int,
    *,
    stride: int = 1,
    order: Order = "classic",
    shortcut: Shortcut = "pad",
    normalization: Normalization = "batch",
    dropout: float = 0.0,
    zero_init_residual: bool = False,
    seed: int = 0,
    name: str,
) -> Any:
    """Adds two 3x3 convolutions, and a shortcut around them.

    With `x` the input, `f` the convolutions with what is between them, and `s` the shortcut:

    | order | output | after |
    |---|---|---|
    | `"classic"` | `relu(s(x) + norm(conv(relu(norm(conv(x))))))` | He et al., 2015 |
    | `"preact"` | `s(x) + conv(relu(norm(conv(relu(norm(x))))))` | He et al., 2016 |
    | `"additive"` | `s(x) + relu(norm(conv(relu(norm(conv(x))))))` | the first form: the sum follows the activation |

    Where the shape does not change the shortcut is the identity. Dropout stands before the second convolution.

    Args:
        x: Keras tensor of shape `(batch, height, width, channels)`.
        filters: Integer, output channels.
        stride: Integer, step of the first convolution in pixels. Defaults to `1`.
        order: `"classic"`, `"preact"` or `"additive"`. Defaults to `"classic"`.
        shortcut: What to do where the shape changes: `"pad"` (option A: subsample, pad channels with zeros) or
            `"projection"` (option B: a 1x1 convolution, which in a preact block takes the activated input and has no
            norm). `"none"` leaves the shortcut out, everywhere. Defaults to `"pad"`.
        normalization: `"batch"`, or `None` for biases instead. Defaults to `"batch"`.
        dropout: Float in [0, 1), the fraction to drop. Defaults to `0.0`, no layer.
        zero_init_residual: Boolean, whether the block starts as its shortcut alone: the scale of the last norm is 0 at
            first, or the last convolution's kernel where no norm comes after it (`"preact"`, and without
            normalization). Not with `"additive"`, whose last ReLU has no gradient at 0, nor without a shortcut.
            Defaults to `False`.
        seed: Integer from which weights and masks are drawn. Defaults to `0`.
        name: String, what the names of the layers start with.

    Returns:
        Keras tensor of shape `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: If an argument is not one of those above.

    Example:
        >>> kzoo.residual_block(keras.Input((32, 32, 16)), 32, stride=2, order="preact", name="block").shape
        (None, 16, 16, 32)

    References:
        - [He et al., 2015](https://arxiv.org/abs/1512.03385), section 3
        - [He et al., 2016](https://arxiv.org/abs/1603.05027), section 4
        - [Zagoruyko & Komodakis, 2016](https://arxiv.org/abs/1605.07146), section 2.4 (dropout)
        - [Goyal et al., 2017](https://arxiv.org/abs/1706.02677), section 5.1 (scale of 0)
    """
    check_choice("order", order, get_args(Order))
    check_choice("shortcut", shortcut, get_args(Shortcut))
    if normalization not in ("batch", None):
        raise ValueError(f"`normalization` must be one of 'batch', None. Received: normalization={normalization!r}.")
    filters, stride = integer(filters, "filters", least=1), integer(stride, "stride", least=1)
    dropout, name = number(dropout, "dropout"), text(name, "name")
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be at least 0 and below 1. Received: dropout={dropout}.")
    if boolean(zero_init_residual, "zero_init_residual") and (order == "additive" or shortcut == "none"):
        raise ValueError(
            "`zero_init_residual` must be False with order='additive', whose last ReLU has no gradient at 0, and with "
            f"shortcut='none', where nothing is left of a block. Received: order={order!r}, shortcut={shortcut!r}."
        )
    if len(getattr(x, "shape", ())) != 4:
        raise ValueError(f"`x` must be a Keras tensor of shape (batch, height, width, channels). Received: x={x!r}.")
    use_bias = normalization is None
    skipped = y = x
    if order == "preact":
        y = relu(norm(x, normalization, name=f"{name}_norm1"), name=f"{name}_relu1")
        skipped = y if shortcut == "projection" else x

    y = convolution(y, filters, stride=stride, use_bias=use_bias, seed=seed, name=f"{name}_conv1")
    last = 2 if order == "preact" else 1
    y = relu(norm(y, normalization, name=f"{name}_norm{last}"), name=f"{name}_relu{last}")
    if dropout:
        y = Dropout(dropout, seed=seed, name=f"{name}_dropout")(y)
    ends_with_norm = order != "preact" and normalization is not None
    zero_kernel = zero_init_residual and not ends_with_norm
    y = convolution(y, filters, use_bias=use_bias, zero=zero_kernel, seed=seed, name=f"{name}_conv2")
    if ends_with_norm:
        y = norm(y, normalization, zero=zero_init_residual, name=f"{name}_norm2")
    if order == "additive":
        y = relu(y, name=f"{name}_relu2")

    if shortcut != "none":
        if stride == 1 and x.shape[-1] == filters:
            skipped = x
        elif shortcut == "pad":
            skipped = ZeroPadShortcut(filters, stride, name=f"{name}_shortcut")(skipped)
        else:
            skipped = convolution(
                skipped,
                filters,
                kernel_size=1,
                stride=stride,
                use_bias=use_bias,
                seed=seed,
                name=f"{name}_shortcut_conv",
            )
            if order != "preact":
                skipped = norm(skipped, normalization, name=f"{name}_shortcut_norm")
        y = Add(name=f"{name}_add")([skipped, y])
    return relu(y, name=f"{name}_relu2") if order == "classic" else y


def residual_stage(x: Any, filters: int, blocks: int, *, stride: int = 1, name: str, **form: Any) -> Any:
    """Adds blocks in a row, of which the first takes the stride.

    Args:
        x: Keras tensor of shape `(batch, height, width, channels)`.
        filters: Integer, output channels of every block.
        blocks: Integer, number of blocks.
        stride: Integer, step of the first block in pixels. Defaults to `1`.
        name: String, what the names of the layers start with.
        **form: Further arguments of `residual_block`.

    Returns:
        Keras tensor of shape `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: If an argument is not one of those above.

    Example:
        >>> kzoo.residual_stage(keras.Input((32, 32, 16)), 32, 3, stride=2, name="stage2").shape
        (None, 16, 16, 32)
    """
    name = text(name, "name")
    for block in range(1, integer(blocks, "blocks", least=1) + 1):
        x = residual_block(x, filters, stride=stride if block == 1 else 1, name=f"{name}_block{block}", **form)
    return x
