"""From encoded image files to uint8 RGB arrays of one size."""

import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from kzoo.data.dataset import Images


def decode_image(data: bytes, name: str, image_size: tuple[int, int] | None = None) -> Images:
    """Decodes one image file of any format and mode that Pillow reads.

    The EXIF orientation is applied, 16-bit grey is reduced to its high byte, transparency is dropped, and every other
    mode is converted by Pillow.

    Args:
        data: Bytes of the file.
        name: String, what to call the file in an error.
        image_size: `(height, width)` in pixels to resize to (bicubic), or `None` to keep its own. Defaults to `None`.

    Returns:
        uint8 array of shape `(height, width, 3)`.

    Raises:
        ValueError: If the file is not an image, is truncated or corrupt.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):  # Pillow's own conversion clips at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if "transparency" in image.info:
                image = image.convert("RGBA")
            image = image.convert("RGB")
            if image_size is not None:
                image = image.resize((image_size[1], image_size[0]), Image.Resampling.BICUBIC)
            return np.asarray(image)
    except MemoryError:
        raise
    except Exception as error:  # which exceptions a decoder raises on broken data is nowhere specified
        raise ValueError(f"{name!r} must be a readable image file. Received: {error} ({len(data)} bytes).") from error


def decode_images(
    files: Iterable[tuple[str, bytes]], count: int, image_size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Decodes `count` image files into one array.

    Args:
        files: Iterable of `count` pairs (name for errors, bytes of the file).
        count: Integer, how many images to expect; 1 or more.
        image_size: `(height, width)` in pixels to resize to (bicubic), or `None` when all have the same size already.
            Defaults to `None`.

    Returns:
        uint8 array of shape `(count, height, width, 3)`.

    Raises:
        ValueError: If a file cannot be read as an image, or has another size than the first.
    """
    images: Images | None = None
    first = ""
    # One thread: at 32x32 pixels two take 1.7 times as long, because Pillow's work is mostly Python's.
    for index, (name, data) in enumerate(files):
        image = decode_image(data, name, image_size)
        if images is None:
            images, first = np.empty((count, *image.shape), np.uint8), name
        if image.shape != images.shape[1:]:
            raise ValueError(
                f"{name!r} must have the size of {first!r}, {images.shape[2]}x{images.shape[1]} pixels "
                "(width x height); pass `image_size=(height, width)` to resize every image. "
                f"Received: {image.shape[1]}x{image.shape[0]}."
            )
        images[index] = image
    assert images is not None
    return images
