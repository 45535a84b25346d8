"""Image files that wait to be decoded."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from kzoo.data.examples import Indices, sum_in_chunks
from kzoo.data.images import Decoding, Images


@dataclasses.dataclass
class Item:
    """An image file to decode.

    Args:
        name: String, what to call it in messages.
        stamp: Two integers that change with the content, for example its size and time.
        read: Returns its bytes, from any thread.
        label: Integer, its label, where that is known only when it has been read. Defaults to `-1`.
    """

    name: str
    stamp: tuple[int, int]
    read: Callable[[], bytes]
    label: int = -1


class FileExamples:
    """Images that are decoded each time they are read.

    Args:
        items: An `Item` a file.
        decoding: The `Decoding`.
        image_shape: `(height, width, channels)`, which all must have.
    """

    def __init__(self, items: Sequence[Item], decoding: Decoding, image_shape: tuple[int, int, int]) -> None:
        self._items, self._decoding, self._shape = items, decoding, image_shape

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        return self._shape

    def __len__(self) -> int:
        return len(self._items)

    def read(self, indices: Indices) -> Images:
        """Returns the images at `indices`.

        Raises:
            ValueError: If one cannot be read, or has another size.
        """
        images = np.empty((len(indices), *self.image_shape), np.uint8)
        for image, index in zip(images, indices.tolist(), strict=True):
            item = self._items[index]
            pixels = self._decoding.decode(item.read(), item.name)
            if pixels.shape != self.image_shape:
                raise ValueError(f"{other_size(item.name, pixels.shape, 'the first image', self.image_shape)}.")
            image[...] = pixels
        return images

    def totals(self, indices: Indices) -> npt.NDArray[np.uint64]:
        """Returns sums and sums of squares, as `Examples` says."""
        return sum_in_chunks(self, indices)


def first_shape(source: str, items: Sequence[Item], decoding: Decoding) -> tuple[tuple[int, int, int], dict[int, str]]:
    """Returns the shape of the first image that can be read, and why those before could not."""
    unreadable: dict[int, str] = {}
    for position, item in enumerate(items):
        try:
            height, width, channels = decoding.decode(item.read(), item.name).shape
        except ValueError as error:
            unreadable[position] = str(error)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), item.name) from error
        else:
            return (height, width, channels), unreadable
    raise ValueError(f"{source} must have images that can be read. Received: {len(items)} files; {unreadable[0]}")


def other_size(name: str, shape: Sequence[int], first: str, expected: Sequence[int]) -> str:
    """Returns a message on an image that has not the size of the first, without a period."""
    return (
        f"{name!r} must have the size of {first!r}, {expected[1]}x{expected[0]} pixels (width x height); pass "
        "`image_size=(height, width)` (--image-size) to resize every image. "
        f"Received: {shape[1]}x{shape[0]}"
    )
