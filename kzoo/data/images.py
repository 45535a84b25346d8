"""From an encoded image file to pixels: the one decoder of training, evaluation, prediction, export and serving."""

import contextlib
import dataclasses
import importlib.metadata
import io
import math
import struct
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from kzoo import arguments
from kzoo.choices import ResizeMode, check_choice

Images = npt.NDArray[np.uint8]

LARGEST = arguments.LARGEST_IMAGE
WHITE = 255
# EXIF orientation to what makes the image upright (CIPA DC-008, section 4.6.4).
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
SIDEWAYS = (5, 6, 7, 8)  # where width and height change places
_PIXELS_AT_ONCE = 1 << 20
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# Kinds of file that not every Pillow reads, by the brand in their header, with the package that does.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), ("HEIC", "'kzoo[heif]'")),
    **dict.fromkeys((b"avif", b"avis"), ("AVIF", "--upgrade pillow")),
}


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How image files become pixels. A run keeps it, and predictions, exports and servers decode as it was trained.

    Args:
        image_size: `(height, width)` in pixels, an integer for a square, or `None` to keep each image's own.
        resize: How another size becomes that: `"stretch"` changes the proportions, `"crop"` keeps them and cuts off
            what is too much on both sides, `"pad"` keeps them and adds background on both sides. All are bicubic.
        channels: Integer, 1 for grey, 3 for RGB, 4 for RGB with transparency. Defaults to `3`.
        background: Integer, grey level in [0, 255] of what lies behind transparent pixels and beside padded images.
            Defaults to white, `255`.

    Raises:
        ValueError: If an argument is something else.

    Example:
        >>> image = PIL.Image.new("RGB", (300, 200))
        >>> kzoo.Decoding((32, 32), resize="crop").pixels(image).shape
        (32, 32, 3)
    """

    image_size: tuple[int, int] | None = None
    resize: ResizeMode = "stretch"
    channels: int = 3
    background: int = WHITE

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", arguments.image_size(self.image_size))
        check_choice("resize", self.resize, get_args(ResizeMode))
        for name in ("channels", "background"):
            object.__setattr__(self, name, arguments.integer(getattr(self, name), name))
        if self.channels not in _MODES:
            raise ValueError(f"`channels` must be 1, 3 or 4. Received: channels={self.channels}.")
        if not 0 <= self.background <= WHITE:
            raise ValueError(f"`background` must be 0 to 255. Received: background={self.background}.")

    def decode(self, data: bytes, name: str) -> Images:
        """Decodes one image file; what follows the first picture of an animation is left alone.

        The EXIF orientation is applied. Of 16 bits the high byte is kept, floating point in [0, 1] becomes 0 to 255.

        Args:
            data: Bytes of the file. Its content says what kind it is, never its name.
            name: String, what to call the file in an error.

        Returns:
            uint8 array of shape `(height, width, channels)`.

        Raises:
            ValueError: If the file is no image, truncated, corrupt, too large, or has pixels of an unknown range.
        """
        try:
            with opened_image(data) as image:
                _check_size(image)
                return self.pixels(image)
        except MemoryError:
            raise
        except Exception as error:  # which exceptions a decoder raises on broken data is nowhere specified
            raise ValueError(
                f"{name!r} must be a readable image file. Received: {told(error)} ({len(data)} bytes)."
            ) from error

    def pixels(self, image: Any) -> Images:
        """Returns the pixels of a Pillow image, as `decode` does of a file.

        Args:
            image: `PIL.Image.Image`.
        """
        from PIL import Image

        from kzoo.data.modes import eight_bits

        drawn = image.tile[0][1] if getattr(image, "format", None) == "GIF" and image.tile else None
        image.load()
        orientation = orientation_of(image)
        image = eight_bits(image)
        if drawn and drawn != (0, 0, *image.size):  # the first picture need not cover the canvas
            canvas = Image.new("RGBA", image.size)
            canvas.paste(image.crop(drawn), drawn)
            image = canvas
        if orientation in _UPRIGHT:
            image = image.transpose(Image.Transpose[_UPRIGHT[orientation]])
        mode = _MODES[self.channels]
        if image.mode in ("LA", "RGBA") and self.channels != 4:
            image = _opaque(image, mode, self.background)
        if image.mode != mode:  # a copy would be as large as the image
            image = image.convert(mode)
        if self.image_size is not None and image.size[::-1] != self.image_size:
            image = self._resized(image, self.image_size)
        pixels = np.asarray(image)
        return pixels if pixels.ndim == 3 else pixels[..., None]

    def _resized(self, image: Any, image_size: tuple[int, int]) -> Any:
        """Resizes an image: the width first, then the height, whatever order this version of Pillow takes."""
        from PIL import Image

        box, (height, width), (top, left) = self.placement(image.size[::-1])
        if image.height * width > LARGEST:
            raise ValueError(f"an image less extreme than {image.width}x{image.height} is expected")
        bands = []
        for name in image.getbands():  # each by itself, so that opacity is a channel like the others
            band = image.getchannel(name)
            narrow = _scaled(band, (width, band.height), (box[0][1], 0, box[1][1], band.height))
            resized = _scaled(narrow, (width, height), (0, box[0][0], width, box[1][0]))
            bands.append(resized)
        if (height, width) != image_size:
            fill = [0 if self.channels == 4 and number == 3 else self.background for number in range(self.channels)]
            framed = [Image.new("L", image_size[::-1], color) for color in fill]
            for frame, band in zip(framed, bands, strict=True):
                frame.paste(band, (left, top))
            bands = framed
        return Image.merge(_MODES[self.channels], bands)

    def placement(self, given: tuple[int, int]) -> tuple[Any, tuple[int, int], tuple[int, int]]:
        """Returns what of an image is shown, at which size, and where.

        Args:
            given: `(height, width)` of the image in pixels.

        Returns:
            `((top, left), (bottom, right))` of the part that is shown, which need not be whole pixels; the size
            `(height, width)` that it gets; and the `(top, left)` of where that is put.
        """
        assert self.image_size is not None
        (rows, columns), (height, width) = given, self.image_size
        whole = ((0.0, 0.0), (float(rows), float(columns)))
        if self.resize == "stretch" or rows * width == columns * height:
            return whole, (height, width), (0, 0)
        if self.resize == "crop":  # the largest part of those proportions, from the middle
            cut = (
                (rows, rows * width / height)
                if columns * height > rows * width
                else (columns * height / width, columns)
            )
            top, left = (rows - cut[0]) / 2, (columns - cut[1]) / 2
            return ((top, left), (top + cut[0], left + cut[1])), (height, width), (0, 0)
        scale = min(height / rows, width / columns)
        fitted = (max(1, math.floor(rows * scale + 0.5)), max(1, math.floor(columns * scale + 0.5)))
        return whole, fitted, ((height - fitted[0]) // 2, (width - fitted[1]) // 2)


def _opaque(image: Any, mode: str, background: int) -> Any:
    """Puts an image before a background, some rows at a time: whole copies of large images would fill the memory."""
    from PIL import Image

    width, height = image.size
    rows = max(1, _PIXELS_AT_ONCE // width)
    opaque = Image.new(mode, image.size)
    for top in range(0, height, rows):
        part = image.crop((0, top, width, min(top + rows, height))).convert("RGBA")
        behind = Image.new("RGBA", part.size, (background,) * 3 + (255,))
        opaque.paste(Image.alpha_composite(behind, part).convert(mode), (0, top))
    return opaque


def _scaled(band: Any, size: tuple[int, int], box: tuple[float, float, float, float]) -> Any:
    from PIL import Image

    same = band.size == size and tuple(box) == (0, 0, *size)
    return band if same else band.resize(size, Image.Resampling.BICUBIC, box)


def orientation_of(image: Any) -> int | None:
    """Returns how the camera was held; where that cannot be read nothing, as every viewer does."""
    with contextlib.suppress(SyntaxError, ValueError, TypeError, OSError, struct.error):
        found: int | None = image.getexif().get(0x0112)
        return found
    return None


def decode_image(data: bytes, name: str, image_size: arguments.ImageSize | None = None, **options: Any) -> Images:
    """Decodes one image file of any format and mode that Pillow reads.

    Args:
        data: Bytes of the file.
        name: String, what to call the file in an error.
        image_size: `(height, width)` in pixels to resize to, or an integer for a square. Defaults to `None`, to keep
            the image's own.
        **options: `resize`, `channels` and `background`, as of `kzoo.Decoding`.

    Returns:
        uint8 array of shape `(height, width, channels)`.

    Raises:
        ValueError: If the file is no image, truncated, corrupt, too large, or has pixels of an unknown range.
    """
    return Decoding(image_size, **options).decode(data, name)  # type: ignore[arg-type]


def decoder_versions() -> dict[str, str]:
    """Returns the versions of what decides how a file becomes pixels."""
    import PIL
    from PIL import features

    there = {name for name in features.get_supported() if name in ("jpg", "webp", "avif", "libtiff", "libjpeg_turbo")}
    parts = {name: features.version(name) or "unknown" for name in sorted(there)}
    parts["pillow_heif"] = "none"
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        parts["pillow_heif"] = importlib.metadata.version("pillow-heif")
    return {"kzoo decoder": "3", "pillow": PIL.__version__, **parts}


def opened_image(data: bytes) -> Any:
    """Opens an image file with Pillow, or says what it needs.

    Raises:
        ValueError: If it is no image, or one that needs another package.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data))
        if image.format == "PNG" and "transparency" in image.info:
            image.info["transparency"] = _scaled_transparency(data, image.info["transparency"])
        return image
    except UnidentifiedImageError:
        kind, package = _BRANDS.get(data[8:12], ("", "")) if data[4:8] == b"ftyp" else ("", "")
        if kind == "HEIC":
            try:
                import pillow_heif
            except ImportError:
                pass
            else:
                file = pillow_heif.open_heif(io.BytesIO(data))
                _check_size(file)
                return file.to_pillow()
        if kind:
            raise ValueError(f"a {kind} file, which needs: pip install {package}") from None
        raise ValueError("no image that Pillow knows") from None


def _scaled_transparency(data: bytes, clear: Any) -> Any:
    """Returns which color of a PNG is transparent, in the eight bits that Pillow makes of its pixels, and not of this.

    Of 16 bits a channel the high bytes decide, for nothing else is left of the pixels.
    """
    depth, color = data[24:26]
    if color == 0 and depth in (2, 4):
        return (clear & (2**depth - 1)) * 255 // (2**depth - 1)
    if color == 2 and depth == 16:
        return tuple(level >> 8 for level in clear)
    return clear


def _check_size(image: Any) -> None:
    width, height = image.size
    if width * height > LARGEST:
        raise ValueError(f"at most {LARGEST:,} pixels are expected, and it has {width}x{height}")


def told(error: Exception) -> str:
    """Returns what an error says, without a period, which follows in the message."""
    return str(error).rstrip(".") or type(error).__name__
