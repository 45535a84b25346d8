"""Random crops, mirror images and erased rectangles, of a whole batch at once."""

import dataclasses
from typing import get_args

import numpy as np
import numpy.typing as npt

from kzoo.arguments import boolean, integer, number, pair
from kzoo.choices import EraseFill, FlipMode, PadMode, check_choice
from kzoo.data.examples import Indices
from kzoo.data.images import Images

_GREY = 128


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Pads, crops at random back to the size, mirrors half of the images, and perhaps erases a rectangle of some.

    Args:
        crop_padding: Integer, pixels added on every side before the crop; 0 for no crop. Defaults to `4`.
        flip: Boolean, whether to mirror left and right with probability 1/2. Defaults to `True`.
        pad_mode: `"constant"` pads with black (0), `"reflect"` with the mirrored border. Defaults to `"constant"`.
        flip_mode: `"random"` draws anew in each epoch which images are mirrored; `"alternate"` draws it for the first
            epoch, and then mirrors each image in every other epoch. Defaults to `"random"`.
        erase: Float in [0, 1], the probability that a rectangle of an image is erased. Defaults to `0.0`.
        erase_area: Two floats in (0, 1], the least and the largest share of the image that is erased. Defaults to
            `(0.02, 0.4)`.
        erase_aspect: Float in (0, 1], the least ratio of the rectangle's shorter side to its longer. Defaults to `0.3`.
        erase_fill: What is seen in its place: `"noise"`, a random value for each pixel and channel, or `"grey"`, 128.
            Defaults to `"noise"`.

    Call arguments:
        images: uint8 array of shape `(batch, height, width, channels)`.
        random: `numpy.random.RandomState` to draw from.
        mirrored: Booleans of shape `(batch,)`, which images are mirrored if there is `flip`; needed by
            `flip_mode="alternate"`, since it depends on the image and the epoch. Defaults to `None`, drawn at random.

    Returns:
        uint8 array of the same shape.

    Raises:
        ValueError: If an argument is not one of those above.

    Example:
        >>> augmentation = kzoo.Augmentation(flip=True)
        >>> augmentation(np.zeros((4, 32, 32, 3), "uint8"), np.random.RandomState(0)).shape
        (4, 32, 32, 3)

    References:
        - [He et al., 2015](https://arxiv.org/abs/1512.03385), section 4.2 (crop and mirror image)
        - [Jordan, 2024](https://arxiv.org/abs/2404.00498), section 3.6 (alternating mirror images)
        - [Zhong et al., 2017](https://arxiv.org/abs/1708.04896), section 3.2 (erased rectangles)
    """

    crop_padding: int = 4
    flip: bool = True
    pad_mode: PadMode = "constant"
    flip_mode: FlipMode = "random"
    erase: float = 0.0
    erase_area: tuple[float, ...] = (0.02, 0.4)
    erase_aspect: float = 0.3
    erase_fill: EraseFill = "noise"

    def __post_init__(self) -> None:
        object.__setattr__(self, "crop_padding", integer(self.crop_padding, "crop_padding"))
        if self.crop_padding < 0:
            raise ValueError(f"`crop_padding` must be 0 or larger. Received: crop_padding={self.crop_padding}.")
        object.__setattr__(self, "flip", boolean(self.flip, "flip"))
        check_choice("pad_mode", self.pad_mode, get_args(PadMode))
        check_choice("flip_mode", self.flip_mode, get_args(FlipMode))
        check_choice("erase_fill", self.erase_fill, get_args(EraseFill))
        for name in ("erase", "erase_aspect"):
            object.__setattr__(self, name, number(getattr(self, name), name))
        object.__setattr__(self, "erase_area", pair(self.erase_area, "erase_area"))
        least, largest = self.erase_area
        for name, valid, expected in (
            ("erase", 0 <= self.erase <= 1, "between 0 and 1"),
            ("erase_area", 0 < least <= largest <= 1, "two shares above 0, up to 1, in ascending order"),
            ("erase_aspect", 0 < self.erase_aspect <= 1, "above 0, up to 1"),
        ):
            if not valid:
                raise ValueError(f"`{name}` must be {expected}. Received: {name}={getattr(self, name)!r}.")

    def __call__(
        self, images: Images, random: np.random.RandomState, mirrored: npt.NDArray[np.bool_] | None = None
    ) -> Images:
        count, height, width, _ = images.shape
        # Every draw is made whatever the settings, so that switching one off leaves the others as they were.
        top, left = random.randint(0, 2 * self.crop_padding + 1, (2, count, 1))
        drawn = np.asarray(random.randint(0, 2, count), bool)
        if self.flip_mode == "random":
            mirrored = drawn
        elif mirrored is None:
            raise ValueError("`mirrored` must say which images are mirrored in this epoch. Received: mirrored=None.")
        if self.crop_padding or self.flip:
            rows, columns = np.arange(height), np.arange(width)
            if self.flip:
                columns = np.where(mirrored[:, None], columns[::-1], columns)
            images = self._crops(images, top + rows, left + columns)
        else:
            images = np.array(images, order="C")
        if self.erase:
            self._erase(images, random)
        return images

    def _crops(self, images: Images, rows: Indices, columns: Indices) -> Images:
        """Returns `images[i, rows[i, y], columns[i, x]]` of the padded images, as a new array."""
        padding, (count, height, width, channels) = self.crop_padding, images.shape
        if padding and self.pad_mode == "reflect":  # the border is in the images already
            rows = np.pad(np.arange(height), padding, mode="reflect")[rows]
            columns = np.pad(np.arange(width), padding, mode="reflect")[columns]
        elif padding:
            images = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
            height, width = images.shape[1:3]
        # Pixels are taken whole, as bytes without a type: four times as fast as channel by channel.
        pixels = np.ascontiguousarray(images).reshape(-1, channels).view(f"V{channels}")[:, 0]
        rows = rows + height * np.arange(count)[:, None]
        taken = pixels.take(rows[:, :, None] * width + columns[:, None, :])
        return taken.view(np.uint8).reshape(*taken.shape, channels)

    def _erase(self, images: Images, random: np.random.RandomState) -> None:
        """Erases a rectangle, which lies wholly within the image, in some of the images."""
        count, height, width, channels = images.shape
        chosen, area, ratio, lies, top, left = random.random_sample((6, count))
        least, largest = self.erase_area
        area = (least + area * (largest - least)) * (height * width)
        ratio = self.erase_aspect + ratio * (1 - self.erase_aspect)
        short, long = np.sqrt(area * ratio), np.sqrt(area / ratio)
        heights = _rounded(np.where(lies < 0.5, short, long), height)
        widths = _rounded(np.where(lies < 0.5, long, short), width)
        tops, lefts = (top * (height - heights + 1)).astype(int), (left * (width - widths + 1)).astype(int)
        erased = np.flatnonzero(chosen < self.erase)
        ends = np.cumsum(heights[erased] * widths[erased] * channels)
        size = int(ends.max(initial=0))
        grey = self.erase_fill == "grey"
        filling = np.full(size, _GREY, np.uint8) if grey else np.frombuffer(random.bytes(size), np.uint8)
        for i, end in zip(erased, ends, strict=True):
            rectangle = images[i, tops[i] : tops[i] + heights[i], lefts[i] : lefts[i] + widths[i]]
            rectangle[:] = filling[end - rectangle.size : end].reshape(rectangle.shape)


def _rounded(sides: npt.NDArray[np.float64], largest: int) -> npt.NDArray[np.int64]:
    """Returns sides of rectangles in whole pixels, at least one and no more than the image has."""
    return np.clip(np.rint(sides), 1, largest).astype(np.int64)
