"""The operations written in `keras.ops`: the definition that every fast path is tested against."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from keras import backend, config, ops

from kzoo.ops import bits

Tensor = Any


def as_floats(x: Tensor, weight: Any) -> Tensor:
    """Returns integers as floats of a weight's type, and floats as they are."""
    return x if backend.is_float_dtype(x.dtype) else ops.cast(x, weight.dtype)


def conv2d(x: Tensor, kernel: Tensor, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    """Convolves with symmetric zero padding, `(k - 1) / 2` on every side, also at stride 2.

    Keras's `padding="same"` pads `(0, 1)` at stride 2, which is not the convolution of the papers or of PyTorch.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`; integers become floats of the kernel's type.
        kernel: Tensor of shape `(k, k, channels, filters)`, `k` odd.
        stride: Integer, step in both directions. Defaults to `1`.
        bias: Optional tensor of shape `(filters,)`. Defaults to `None`.

    Returns:
        Tensor of shape `(batch, ceil(height / stride), ceil(width / stride), filters)`.
    """
    x = as_floats(x, kernel)
    pad = kernel.shape[0] // 2
    if pad:
        x = ops.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    y = ops.conv(x, kernel, strides=stride, padding="valid", data_format="channels_last")
    return y if bias is None else y + bias


def conv2d_relu(
    x: Tensor,
    kernel: Tensor,
    stride: int = 1,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    convolve: Callable[..., Tensor] = conv2d,
) -> Tensor:
    """Convolves, adds a residual and rectifies: what is left of a residual block's end in inference.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`.
        kernel: Tensor of shape `(k, k, channels, filters)`, `k` odd.
        stride: Integer, step in both directions. Defaults to `1`.
        bias: Optional tensor of shape `(filters,)`. Defaults to `None`.
        residual: Optional tensor shaped as the result. Defaults to `None`.
        convolve: The convolution, of the backend or this module's. Defaults to `conv2d`.

    Returns:
        Tensor of shape `(batch, ceil(height / stride), ceil(width / stride), filters)`.
    """
    y = convolve(x, kernel, stride, bias)
    return ops.relu(y if residual is None else y + as_floats(residual, y))


def computed_once(x: Tensor) -> Tensor:
    """Returns a tensor of any shape that several operations read; none of them need compute it again."""
    return x


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalizes each channel over the batch and space, then scales and shifts.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`, of the dtype of `gamma` or a narrower one.
        gamma: Scale, of shape `(channels,)`.
        beta: Shift, of shape `(channels,)`.
        epsilon: Float, added to the variance.

    Returns:
        `(y, mean, biased_variance)`: `y` shaped as `x`, the statistics of shape `(channels,)`. The variance comes from
        centred values and divides by the number of values. All are computed in the dtype of `gamma` and have it; where
        a backend reads and writes narrower values itself, `y` has the dtype of `x`.

    Reference:
        - [Ioffe & Szegedy, 2015](https://arxiv.org/abs/1502.03167), algorithm 1
    """
    x = ops.cast(x, gamma.dtype)
    mean = ops.mean(x, axis=(0, 1, 2))
    centred = x - mean
    variance = ops.mean(ops.square(centred), axis=(0, 1, 2))
    return centred * (gamma * ops.rsqrt(variance + epsilon)) + beta, mean, variance


def masked_batch_norm(
    x: Tensor, mask: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Does what `batch_norm` does, with the statistics of the pixels that a mask keeps.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`.
        mask: Tensor of shape `(batch, height, width)`, or one that can be repeated to it; true where a pixel counts.
        gamma: Scale, of shape `(channels,)`.
        beta: Shift, of shape `(channels,)`.
        epsilon: Float, added to the variance.

    Returns:
        `(y, mean, biased_variance)`, as `batch_norm`; all pixels are normalized. Where no pixel counts both statistics
        are 0.
    """
    x = ops.cast(x, gamma.dtype)
    kept = ops.broadcast_to(ops.expand_dims(ops.cast(mask, "bool"), -1), (*ops.shape(x)[:3], 1))
    count = ops.maximum(ops.sum(ops.cast(kept, x.dtype)), 1)
    mean = ops.sum(ops.where(kept, x, 0), axis=(0, 1, 2)) / count
    centred = x - mean
    variance = ops.sum(ops.square(ops.where(kept, centred, 0)), axis=(0, 1, 2)) / count
    return centred * (gamma * ops.rsqrt(variance + epsilon)) + beta, mean, variance


def scale_shift(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Scales and shifts each channel.

    Args:
        x: Tensor of shape `(..., channels)`, of the dtype of `scale` or a narrower one, or of integers.
        scale: Tensor of shape `(channels,)`.
        shift: Tensor of shape `(channels,)`.

    Returns:
        Tensor shaped as `x`, in the dtype of `scale`; or that of `x`, as `batch_norm`.
    """
    scale, shift = ops.convert_to_tensor(scale), ops.convert_to_tensor(shift)
    return ops.cast(x, scale.dtype) * scale + shift


def subsample(x: Tensor, stride: int) -> Tensor:
    """Takes every pixel at a multiple of the stride.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`.
        stride: Integer, step in both directions.

    Returns:
        Tensor of shape `(batch, ceil(height / stride), ceil(width / stride), channels)`.
    """
    return x[:, ::stride, ::stride, :]


def pad_channels(x: Tensor, before: int, after: int) -> Tensor:
    """Adds channels of zeros at both ends.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`.
        before: Integer, how many come first.
        after: Integer, how many come last.

    Returns:
        Tensor of shape `(batch, height, width, before + channels + after)`.
    """
    return ops.pad(x, [[0, 0], [0, 0], [0, 0], [before, after]])


def update_average(average: Any, value: Tensor, momentum: float) -> None:
    """Moves a running average: `average = momentum * average + (1 - momentum) * value`.

    Args:
        average: Keras variable.
        value: Tensor shaped as `average`, through which no gradient flows.
        momentum: Float in [0, 1], what the average keeps.
    """
    average.assign(average * momentum + ops.stop_gradient(value) * (1 - momentum))


def sgd_step(
    weights: Sequence[Any],
    velocities: Sequence[Any] | None,
    gradients: Sequence[Tensor],
    rate: Tensor,
    *,
    momentum: float,
    nesterov: bool,
    decay: Sequence[float],
    factors: Sequence[float],
) -> bool:
    """Moves all weights by a step of `kzoo.SGD`, where that is faster than weight by weight; here it is not.

    Args:
        weights: Sequence of variables, Keras's or the backend's, changed in place.
        velocities: Sequence of Keras variables shaped as `weights`, changed in place; `None` without momentum.
        gradients: Sequence of tensors shaped as `weights`.
        rate: Scalar tensor.
        momentum: Float.
        nesterov: Boolean.
        decay: Sequence of floats, the weight decay of each weight.
        factors: Sequence of floats, the factor on the rate of each weight.

    Returns:
        Whether it moved them. If not, nothing has changed.
    """
    return False


def move_averages(averages: Sequence[Any], values: Sequence[Tensor], weight: float) -> None:
    """Moves running averages: `average = average + weight * (value - average)`, exact where both are equal.

    Args:
        averages: Sequence of Keras variables, changed in place.
        values: Sequence of tensors shaped as `averages`.
        weight: Float in [0, 1], of the values.
    """
    for average, value in zip(averages, values, strict=True):
        average.assign(average + (value - average) * weight)


def divide(x: Tensor, divisor: Tensor) -> Tensor:
    """Divides, rounded as IEEE 754 says: the same to the bit on every backend.

    Compilers like to multiply by the reciprocal instead, which may differ in the last bit.

    Args:
        x: Tensor of shape `(..., channels)`.
        divisor: Tensor of shape `(channels,)`, made from a variable: TensorFlow replaces division by a constant.

    Returns:
        Tensor shaped as `x`.
    """
    return x / divisor


def normalize(
    x: Tensor, largest: Tensor, mean: Tensor, std: Tensor, *, divide: Callable[..., Tensor] = divide
) -> Tensor:
    """Maps pixels to `(x / largest - mean) / std`, channel by channel, each operation rounded on its own.

    Args:
        x: Float tensor of shape `(..., width, channels)`.
        largest: Tensor of shape `(channels,)`, the largest value of a pixel.
        mean: Tensor of shape `(channels,)`, of pixels in [0, 1].
        std: Tensor of shape `(channels,)`, of pixels in [0, 1].
        divide: The division, of the backend or this module's. Defaults to `divide`.

    Returns:
        Tensor shaped as `x`.
    """
    return divide(divide(x, largest) - mean, std)


def dropout_key(key_words: tuple[int, int], step: Tensor) -> tuple[Tensor, Tensor]:
    """Derives the key of one layer's mask at one step.

    Args:
        key_words: Two signed 32-bit integers, the key of (seed, layer).
        step: Integer scalar tensor, the number of masks drawn before.

    Returns:
        Two int32 scalar tensors.
    """
    step = ops.cast(step, "int32")
    first, second = (ops.convert_to_tensor(word, dtype="int32") for word in key_words)
    return bits.threefry2x32((first, second), (step, ops.zeros_like(step)))


def dropout_mask(key: tuple[Tensor, Tensor], shape: tuple[int | Tensor, ...], rate: float) -> Tensor:
    """Draws which elements to keep, the same to the bit on every backend.

    One 32-bit hash serves two elements, 16 bits each, so the rate is met to within 1 / 131,072.

    Args:
        key: Two int32 scalar tensors, from `dropout_key`.
        shape: Shape of the mask; entries may be scalar tensors.
        rate: Float in [0, 1), the fraction to drop.

    Returns:
        Boolean tensor of `shape`, true where the element is kept.
    """
    size = math.prod(shape)
    pairs = (size + 1) // 2
    hashed = bits.keyed_hash(key, ops.arange(pairs, dtype="int32"))
    halves = ops.concatenate([hashed & 0xFFFF, bits.shift_right(hashed, 16)])
    return ops.reshape(halves[:size] >= round(rate * 0x10000), shape)


def look_up(table: Any, index: Any, kept: dict[Any, Any]) -> Tensor:
    """Returns one of many numbers.

    Args:
        table: NumPy array of shape `(n,)`.
        index: Integer tensor without axes.
        kept: Dictionary of the table's owner, in which a form may keep the table as a tensor.

    Returns:
        Tensor without axes, in Keras's float type.
    """
    return ops.take(ops.convert_to_tensor(table, dtype=config.floatx()), index)
