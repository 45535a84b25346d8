"""What a dataset is here: splits of uint8 images with integer labels, and the names of the classes."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo import arguments
from kzoo.data.examples import ArrayExamples, Examples, Indices, chunk_size
from kzoo.data.images import Images
from kzoo.streams import stream

Labels = npt.NDArray[np.int64]


class Split:
    """Images with their labels, for example the training part of a dataset: in memory, or wherever they are kept.

    Args:
        images: uint8 array of shape `(n, height, width, channels)` in [0, 255], with 1 (grey), 3 (RGB) or 4 channels
            (RGB and opacity).
        labels: Integers, an array or a list, of shape `(n,)` or `(n, 1)`, indices into the class names; 0 or larger.
            They become an int64 array of shape `(n,)`.
        weights: Numbers of shape `(n,)`, what each image counts in the loss, or `None` if all count alike. Defaults to
            `None`.

    Raises:
        ValueError: If a dtype or shape is another, the lengths differ, there is no image, or a label or weight is
            negative.
    """

    def __init__(self, images: Any, labels: Any, weights: Any = None) -> None:
        images = arguments.image_array(images, None)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3, 4):
            received = arguments.described(images)
            raise ValueError(
                f"`images` must be uint8 of shape (n, height, width, channels), with 1, 3 or 4 channels. "
                f"Received: {received}."
            )
        if images.size == 0:
            raise ValueError(f"`images` must not be empty. Received: shape={images.shape}.")
        self._set(ArrayExamples(images), None, labels, weights)

    @classmethod
    def of(
        cls,
        examples: Examples,
        labels: Any,
        *,
        indices: Indices | None = None,
        weights: Any = None,
        names: Any = None,
    ) -> "Split":
        """Returns a split of images that are read as they are needed.

        Args:
            examples: The `Examples`.
            labels: As for `Split`, one an image of the split.
            indices: Integers, which of the images are in the split, in that order. Defaults to `None`, for all.
            weights: As for `Split`.
            names: Strings, from which file each image came, or `None` if nobody knows. Defaults to `None`.
        """
        split = cls.__new__(cls)
        split._set(examples, indices, labels, weights, names)
        return split

    def _set(self, examples: Examples, indices: Indices | None, labels: Any, weights: Any, names: Any = None) -> None:
        self._examples, self._indices = examples, indices
        self.labels: Labels = arguments.class_labels(labels)
        self.weights: npt.NDArray[np.float32] | None = None if weights is None else np.asarray(weights, np.float32)
        self.names: npt.NDArray[Any] | None = None if names is None else np.array(names, object)
        count = len(examples) if indices is None else len(indices)
        for name, values in (("labels", self.labels), ("weights", self.weights), ("names", self.names)):
            if values is not None and values.shape != (count,):
                raise ValueError(
                    f"`images` and `{name}` must have the same length. "
                    f"Received: {count} images and {len(values)} {name}."
                )
        if not count:
            raise ValueError("`images` must not be empty. Received: none.")
        if self.labels.min() < 0:
            raise ValueError(f"`labels` must be 0 or larger. Received: {self.labels.min()}.")
        if self.weights is not None and not (np.isfinite(self.weights).all() and self.weights.min() >= 0):
            raise ValueError("`weights` must be numbers, 0 or larger. Received: others.")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split({len(self):,} images of shape {self.image_shape})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        return self._examples.image_shape

    @property
    def images(self) -> Images:
        """All images, read into memory if they are not there: `(n, height, width, channels)`."""
        if self._indices is None and isinstance(self._examples, ArrayExamples):
            return self._examples.images
        return self.read(np.arange(len(self)))

    def read(self, indices: Indices) -> Images:
        """Returns copies of some images, uint8 of shape `(len(indices), height, width, channels)`.

        Args:
            indices: Integers, positions in the split.
        """
        return self._examples.read(self._at(np.asarray(indices)))

    def chunks(self, size: int | None = None) -> Iterator[Images]:
        """Yields all images in their order, some at a time.

        Args:
            size: Integer, how many. Defaults to `None`, for some 16 MB of them.
        """
        size = size or chunk_size(self.image_shape)
        for start in range(0, len(self), size):
            yield self.read(np.arange(start, min(start + size, len(self))))

    def totals(self) -> npt.NDArray[np.uint64]:
        """Returns, for each channel, the sum of all pixels and of their squares, `(channels, 2)`."""
        return self._examples.totals(self._at(np.arange(len(self))))

    def take(self, indices: Indices) -> "Split":
        """Returns a split of the items at `indices`, in that order: another view of the same images."""
        indices = np.asarray(indices)
        weights, names = (None if values is None else values[indices] for values in (self.weights, self.names))
        return Split.of(self._examples, self.labels[indices], indices=self._at(indices), weights=weights, names=names)

    def joined(self, others: Iterable["Split"]) -> "Split":
        """Returns a split of the items of this one and of others, which must be views of the same images."""
        parts = [self, *others]
        assert all(part._examples is self._examples for part in parts)
        return Split.of(
            self._examples,
            np.concatenate([part.labels for part in parts]),
            indices=np.concatenate([part._at(np.arange(len(part))) for part in parts]),
            names=None if self.names is None else np.concatenate([part.names for part in parts]),
        )

    def _at(self, indices: Indices) -> Indices:
        return indices if self._indices is None else self._indices[indices]


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """A dataset as it is stored, where splits may be missing.

    Args:
        name: String, what to call it.
        class_names: Tuple of strings, one a class; the position is the label.
        train: `Split`.
        validation: `Split`, or `None` where none is stored.
        test: `Split`, or `None` where none is stored.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split | None
    test: Split | None


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
            if split.image_shape != self.image_shape:
                raise ValueError(
                    f"`{part}` must have images of shape {self.image_shape}, as `train` has. "
                    f"Received: {split.image_shape}."
                )
            if split.labels.max() >= self.classes:
                raise ValueError(f"`{part}` must have labels below {self.classes}. Received: {split.labels.max()}.")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        return self.train.image_shape

    @property
    def file_names(self) -> dict[str, list[str]] | None:
        """Split to the names of its files, in the order of the images, or `None` where images are no files."""
        parts = {part: getattr(self, part).names for part in ("train", "validation", "test")}
        if any(names is None for names in parts.values()):
            return None
        return {part: names.tolist() for part, names in parts.items()}

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
        # Python's integers are exact, so the result does not depend on the order or width of any summation.
        pixels = len(self.train) * self.image_shape[0] * self.image_shape[1]
        means, deviations = [], []
        for total, squares in self.train.totals().tolist():
            means.append(total / (255 * pixels))
            deviations.append(math.sqrt((pixels * squares - total * total) / (255 * pixels) ** 2))
        return tuple(means), tuple(deviations)


def carve_validation(split: Split, fraction: float, seed: int = 0, what: str = "validation") -> tuple[Split, Split]:
    """Divides a split in two, taking the same fraction out of every class.

    Args:
        split: `Split` to divide.
        fraction: Float between 0 and 1 (exclusive), the part of each class that is taken out: `round(fraction * n)` of
            its n items, but at least one, and at least one is left. A class of one item is left whole.
        seed: Integer, 0 or larger; decides which items. Defaults to `0`.
        what: String, what is carved out: another one is another choice. Defaults to `"validation"`.

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
        taken[stream(seed, what, label).permutation(members)[:count]] = True
    if not taken.any():
        raise ValueError(f"`split` must have a class of two items or more. Received: {len(split)} items, each alone.")
    return split.take(np.flatnonzero(~taken)), split.take(np.flatnonzero(taken))
