"""The operations that concern a whole batch, where each of several workers computes a part of it.

Their results are those of the definitions in `generic.py` on the whole batch, but for the order of sums.
"""

import math
from typing import Any

from keras import ops

from kzoo.ops import bits
from kzoo.shards import Part

Tensor = Any

_LARGEST = 2**31  # positions that int32 counts


def batch_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float, part: Part, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Does what `kzoo.ops.generic.batch_norm` does, or with a mask `masked_batch_norm`, on a part of a batch.

    Args:
        x: Tensor of shape `(rows, height, width, channels)`.
        gamma: Scale, of shape `(channels,)`.
        beta: Shift, of shape `(channels,)`.
        epsilon: Float, added to the variance.
        part: The `Part`.
        mask: Tensor of shape `(rows, height, width)`, true where a pixel counts, or one that can be repeated to it.
            Defaults to `None`, all of them.

    Returns:
        `(y, mean, biased_variance)`, the statistics of the whole batch.
    """
    x = ops.cast(x, gamma.dtype)
    kept = None if part.kept is None else ops.reshape(ops.cast(part.kept, "bool"), (-1, 1, 1, 1))
    if mask is not None:
        counts = ops.expand_dims(ops.cast(mask, "bool"), -1)
        kept = counts if kept is None else ops.logical_and(kept, counts)
    if kept is not None:
        kept = ops.broadcast_to(kept, (*ops.shape(x)[:3], 1))

    def total(values: Tensor) -> Tensor:
        return part.all_sum(ops.sum(values if kept is None else ops.where(kept, values, 0), axis=(0, 1, 2)))

    if mask is None:
        height, width = ops.shape(x)[1:3]
        count = ops.cast(part.total * height * width, x.dtype)
    else:
        count = ops.maximum(part.all_sum(ops.sum(ops.cast(kept, x.dtype))), 1)
    mean = total(x) / count
    centred = x - mean
    variance = total(ops.square(centred)) / count
    return centred * (gamma * ops.rsqrt(variance + epsilon)) + beta, mean, variance


def dropout_mask(key: tuple[Tensor, Tensor], shape: tuple[int | Tensor, ...], rate: float, part: Part) -> Tensor:
    """Draws a part of the mask that `kzoo.ops.generic.dropout_mask` draws for the whole batch.

    Args:
        key: Two int32 scalar tensors, from `dropout_key`.
        shape: Shape of the part of the mask, whose first axis is the batch's.
        rate: Float in [0, 1), the fraction to drop.
        part: The `Part`.

    Returns:
        Boolean tensor of `shape`, true where the element is kept.

    Raises:
        ValueError: If the whole mask has more elements than can be counted.
    """
    of_one = math.prod(shape[1:])
    if isinstance(part.total, int) and isinstance(of_one, int) and part.total * of_one >= _LARGEST:
        raise ValueError(
            f"Dropout must have fewer than {_LARGEST:,} elements in a batch. Received: {part.total * of_one:,}."
        )
    pairs = (part.total * of_one + 1) // 2
    position = ops.cast(part.first * of_one, "int32") + ops.arange(shape[0] * of_one, dtype="int32")
    is_first = position < pairs
    hashed = bits.keyed_hash(key, ops.where(is_first, position, position - pairs))
    half = ops.where(is_first, hashed & 0xFFFF, bits.shift_right(hashed, 16))
    return ops.reshape(half >= round(rate * 0x10000), shape)
