"""What a dataset is here: uint8 images in memory, integer labels, and the names of the classes."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo import arguments
from kzoo.streams import stream

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels, for example the training part of a dataset.

    Args:
        images: uint8 array of shape `(n, height, width, 3)`, RGB in [0, 255].
        labels: Integers, an array or a list, of shape `(n,)` or `(n, 1)`, indices into the class names; 0 or larger.
            They become an int64 array of shape `(n,)`.

    Raises:
        ValueError: If a dtype or shape is another, the lengths differ, there is no image, or a label is negative.
    """

    images: Images
    labels: Labels

    def __post_init__(self) -> None:
        images, labels = arguments.image_array(self.images, None), arguments.class_labels(self.labels)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            received = arguments.described(images)
            raise ValueError(f"`images` must be uint8 of shape (n, height, width, 3). Received: {received}.")
        if len(images) != len(labels):
            raise ValueError(
                "`images` and `labels` must have the same length. "
                f"Received: {len(images)} images and {len(labels)} labels."
            )
        if images.size == 0:
            raise ValueError(f"`images` must not be empty. Received: shape={images.shape}.")
        if labels.min() < 0:
            raise ValueError(f"`labels` must be 0 or larger. Received: {labels.min()}.")
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.intp]) -> "Split":
        """Returns a new split of the items at `indices`, in that order."""
        return Split(self.images[indices], self.labels[indices])


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """A dataset as it is stored, where a validation split may be missing.

    Args:
        name: String, what to call it.
        class_names: Tuple of strings, one a class; the position is the label.
        train: `Split`.
        validation: `Split`, or `None` where none is stored.
        test: `Split`.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split | None
    test: Split


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits of labelled images and the names of their classes.

    Args:
        name: String, what to call it in reports, for example `"cifar10"`.
        class_names: Strings, one a class; the position is the label. They become a tuple.
        train: `Split` to fit on.
        validation: `Split` to choose by (early stopping, settings); no part of `train` or `test`.
        test: `Split` to report on, once.
        flip: Boolean, whether the mirror image of an item is as good an example of its class: of animals it is, of
            digits, letters and traffic signs it is not.
        source: Arguments of `load_dataset` that load it again, or `None` where it was made otherwise. Defaults to
            `None`.

    Raises:
        ValueError: If a class name is no string, empty or given twice, a part is no `Split`, a label has no name, or
            the splits' image shapes differ.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    flip: bool
    source: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        names = self.class_names
        are_strings = not isinstance(names, str) and all(isinstance(name, str) and name for name in names)
        if not names or not are_strings or len(set(names)) < len(names):
            raise ValueError(f"`class_names` must be different strings, not empty. Received: class_names={names!r}.")
        object.__setattr__(self, "class_names", tuple(names))
        for part in ("train", "validation", "test"):
            split: Split = getattr(self, part)
            if not isinstance(split, Split):
                raise ValueError(f"`{part}` must be a kzoo.Split. Received: {type(split).__name__}.")
            if split.images.shape[1:] != self.image_shape:
                raise ValueError(
                    f"`{part}` must have images of shape {self.image_shape}, as `train` has. "
                    f"Received: {split.images.shape[1:]}."
                )
            if split.labels.max() >= self.classes:
                raise ValueError(f"`{part}` must have labels below {self.classes}. Received: {split.labels.max()}.")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(height, width, 3)`."""
        _, height, width, channels = self.train.images.shape
        return height, width, channels

    def summary(self) -> dict[str, Any]:
        """Returns name, sizes of the splits, classes, image shape and pixel statistics, for showing."""
        return {
            "name": self.name,
            "images": {part: len(getattr(self, part)) for part in ("train", "validation", "test")},
            "class_names": list(self.class_names),
            "image_shape": list(self.image_shape),
            "pixel_mean": list(self.pixel_mean),
            "pixel_std": list(self.pixel_std),
            "flip": self.flip,
        }

    @property
    def pixel_mean(self) -> tuple[float, ...]:
        """Mean of each channel over the training images, in [0, 1] units."""
        return self._pixel_statistics[0]

    @property
    def pixel_std(self) -> tuple[float, ...]:
        """Standard deviation (biased) of each channel over the training images, in [0, 1] units."""
        return self._pixel_statistics[1]

    @functools.cached_property
    def _pixel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        # Counts and Python integers are exact, so the result does not depend on the order or width of any summation.
        images = self.train.images
        histogram = np.zeros((images.shape[-1], 256), np.int64)
        for start in range(0, len(images), 1024):  # bincount copies to 8 bytes a pixel: a chunk at a time
            for channel, counts in enumerate(histogram):
                counts += np.bincount(images[start : start + 1024, ..., channel].ravel(), minlength=256)
        pixels = int(histogram[0].sum())
        means, deviations = [], []
        for times in histogram.tolist():
            total = sum(value * count for value, count in enumerate(times))
            squares = sum(value * value * count for value, count in enumerate(times))
            means.append(total / (255 * pixels))
            deviations.append(math.sqrt((pixels * squares - total * total) / (255 * pixels) ** 2))
        return tuple(means), tuple(deviations)


def carve_validation(split: Split, fraction: float, seed: int = 0) -> tuple[Split, Split]:
    """Divides a split in two, taking the same fraction out of every class.

    Args:
        split: `Split` to divide.
        fraction: Float between 0 and 1 (exclusive), the part of each class that is taken out: `round(fraction * n)` of
            its n items, but at least one, and at least one is left. A class of one item is left whole.
        seed: Integer, 0 or larger; decides which items. Defaults to `0`.

    Returns:
        `(rest, taken)`, two `Split`s, each in the order of `split`.

    Raises:
        ValueError: If `fraction` is not between 0 and 1, or no class has two items.
    """
    seed = arguments.integer(seed, "seed", least=0)
    if not 0 < fraction < 1:
        raise ValueError(f"`fraction` must be between 0 and 1 (exclusive). Received: fraction={fraction}.")
    taken = np.zeros(len(split), bool)
    for label in np.unique(split.labels).tolist():
        members = np.flatnonzero(split.labels == label)
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        taken[stream(seed, "validation", label).permutation(members)[:count]] = True
    if not taken.any():
        raise ValueError(f"`split` must have a class of two items or more. Received: {len(split)} items, each alone.")
    return split.take(np.flatnonzero(~taken)), split.take(np.flatnonzero(taken))
