"""Smaller images for the first epochs of a training, by the mean of the pixels that each new one covers."""

import functools

import numpy as np
import numpy.typing as npt

from kzoo.data.images import Images


def shrink(images: Images, height: int, width: int) -> Images:
    """Returns smaller copies of images: each pixel is the mean over its area, of parts of pixels too, rounded.

    The parts are whole numbers, and so is every sum of them, which floats hold exactly: the bytes are the same whatever
    order they are added in.

    Args:
        images: uint8 array of shape `(batch, height, width, channels)`.
        height: Integer, the new height, no more than the old.
        width: Integer, the new width, no more than the old.

    Returns:
        uint8 array of shape `(batch, height, width, channels)`.
    """
    count, rows, columns, channels = images.shape
    dtype, whole = (np.float32, np.int32) if 255 * rows * columns < 2**24 else (np.float64, np.int64)
    down = _parts(rows, height).astype(dtype)
    across = np.kron(_parts(columns, width).T, np.eye(channels)).astype(dtype)  # for each channel alone
    sums = down @ images.reshape(count, rows, -1).astype(dtype)
    sums = sums.reshape(count * height, -1) @ across
    area = rows * columns
    means = (sums.astype(whole) + area // 2) // area
    return means.astype(np.uint8).reshape(count, height, width, channels)


@functools.lru_cache(maxsize=16)
def _parts(size: int, smaller: int) -> npt.NDArray[np.float64]:
    """Returns how many parts of each of `size` pixels are in each of `smaller` ones, of shape `(smaller, size)`."""
    edges = np.arange(smaller + 1)[:, None] * size
    own = np.arange(size) * smaller
    begins, ends = np.maximum(edges[:-1], own), np.minimum(edges[1:], own + smaller)
    return np.maximum(ends - begins, 0).astype(np.float64)
