"""From every mode that Pillow has to eight bits a channel: grey or RGB, with or without transparency."""

from collections.abc import Callable
from typing import Any

import numpy as np

_SIXTEEN_BITS = 65535


def eight_bits(image: Any) -> Any:
    """Returns a Pillow image in mode L, LA, RGB or RGBA.

    Of 16 bits the high byte is kept. Floating point must be in [0, 1]. 32-bit integers, whose range no file states, are
    taken only where the format has 16 bits (PNG, PGM).

    Args:
        image: A `PIL.Image.Image` of any mode.

    Raises:
        ValueError: If nothing says which number is white, or Pillow cannot convert the mode.
    """
    if image.mode.startswith("I;16"):
        values, clear = np.asarray(image), image.info.get("transparency")
        grey = _grey(values >> 8)
        if isinstance(clear, int):
            grey.putalpha(_grey(255 * (values != clear)))
        return grey
    if image.mode in _BY_VALUES:
        return _BY_VALUES[image.mode](image)
    if image.mode in ("LA", "RGBA"):
        return image
    if "transparency" in image.info or image.mode in ("PA", "RGBa", "La"):
        return image.convert({"La": "LA"}.get(image.mode, "RGBA"))
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _grey(values: Any) -> Any:
    from PIL import Image

    return Image.fromarray(values.astype(np.uint8))


def _of_integers(image: Any) -> Any:
    values = np.asarray(image)
    if image.format not in ("PNG", "PPM") or values.min() < 0 or values.max() > _SIXTEEN_BITS:
        raise ValueError(
            "pixels of 8 or 16 bits are expected; of 32-bit integers nothing says which number is white, "
            f"and these go from {values.min()} to {values.max()}"
        )
    return _grey(values >> 8)


def _of_floats(image: Any) -> Any:
    values = np.asarray(image)
    if not (values.min() >= 0 and values.max() <= 1):  # NaN is neither
        raise ValueError(
            f"floating-point pixels are expected in [0, 1], and these go from {values.min()} to {values.max()}"
        )
    return _grey(np.rint(values.astype(np.float64) * 255))


_BY_VALUES: dict[str, Callable[[Any], Any]] = {"I": _of_integers, "F": _of_floats}
