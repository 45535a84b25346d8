"""What a split is made of: labelled images that are read some at a time, wherever they are kept."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kzoo.data.images import Images

Indices = npt.NDArray[np.intp]

_CHUNK_BYTES = 1 << 24


class Examples(Protocol):
    """Images of one size that are read by their number, from any thread."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""

    def __len__(self) -> int: ...

    def read(self, indices: Indices) -> Images:
        """Returns the images at `indices`, in that order: uint8 of shape `(len(indices), height, width, channels)`."""

    def totals(self, indices: Indices) -> npt.NDArray[np.uint64]:
        """Returns, for each channel, the sum of the pixels of some images and of their squares, `(channels, 2)`."""


class ArrayExamples:
    """Images in memory.

    Args:
        images: uint8 array of shape `(n, height, width, channels)`.
    """

    def __init__(self, images: Images) -> None:
        self.images = images

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: Indices) -> Images:
        """Returns copies of the images at `indices`."""
        return self.images[indices]

    def totals(self, indices: Indices) -> npt.NDArray[np.uint64]:
        """Returns sums and sums of squares, as `Examples` says."""
        return sum_in_chunks(self, indices)


def chunk_size(image_shape: Sequence[int]) -> int:
    """Returns how many images of a shape are read at once where all have to be gone through."""
    return max(1, _CHUNK_BYTES // int(np.prod(image_shape)))


def sums_of(images: Images) -> npt.NDArray[np.uint64]:
    """Returns, for each channel, the sum of the pixels of one or more images and of their squares, `(channels, 2)`.

    They are whole numbers, so that statistics depend on the order and width of no summation. How often each level
    occurs is counted first, which takes a fifth of the time of adding up.
    """
    levels = np.arange(256)
    counts = [np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(images.shape[-1])]
    return (np.stack(counts) @ np.stack([levels, levels**2], axis=-1)).astype(np.uint64)


def sum_in_chunks(examples: Any, indices: Indices) -> npt.NDArray[np.uint64]:
    """Does what `Examples.totals` says by reading all of them."""
    size = chunk_size(examples.image_shape)
    totals = np.zeros((examples.image_shape[-1], 2), np.uint64)
    for start in range(0, len(indices), size):
        totals += sums_of(examples.read(indices[start : start + size]))
    return totals
