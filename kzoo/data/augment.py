"""Random crops and mirror images, of a whole batch at once."""

import dataclasses
from typing import get_args

import numpy as np

from kzoo.arguments import boolean, integer
from kzoo.choices import PadMode, check_choice
from kzoo.data.images import Images


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Pads, crops at random back to the size, and mirrors half of the images.

    Args:
        crop_padding: Integer, pixels added on every side before the crop; 0 for no crop. Defaults to `4`.
        flip: Boolean, whether to mirror left and right with probability 1/2. Defaults to `True`.
        pad_mode: `"constant"` pads with black (0), `"reflect"` with the mirrored border. Defaults to `"constant"`.

    Call arguments:
        images: uint8 array of shape `(batch, height, width, channels)`.
        random: `numpy.random.RandomState` to draw from.

    Returns:
        uint8 array of the same shape.

    Raises:
        ValueError: If `crop_padding` is negative or `pad_mode` unknown.

    Example:
    >>> augmentation = Augmentation(flip=dataset.flip)
    >>> batch = augmentation(dataset.train.images[:128], stream(0, "augment", epoch, index))

    Reference:
        - [He et al., 2015](https://arxiv.org/abs/1512.03385), section 4.2
    """

    crop_padding: int = 4
    flip: bool = True
    pad_mode: PadMode = "constant"

    def __post_init__(self) -> None:
        object.__setattr__(self, "crop_padding", integer(self.crop_padding, "crop_padding"))
        if self.crop_padding < 0:
            raise ValueError(f"`crop_padding` must be 0 or larger. Received: crop_padding={self.crop_padding}.")
        object.__setattr__(self, "flip", boolean(self.flip, "flip"))
        check_choice("pad_mode", self.pad_mode, get_args(PadMode))

    def __call__(self, images: Images, random: np.random.RandomState) -> Images:
        count, height, width, _ = images.shape
        padding = self.crop_padding
        # Every draw is made whatever the settings, so that switching one off leaves the others as they were.
        top, left = random.randint(0, 2 * padding + 1, (2, count))
        mirrored = random.randint(0, 2, (count, 1, 1, 1)) == 1
        if padding:
            padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode=self.pad_mode)
            windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
            images = windows[np.arange(count), top, left].transpose(0, 2, 3, 1)
        if self.flip:
            images = np.where(mirrored, images[:, :, ::-1], images)
        return np.ascontiguousarray(images)
