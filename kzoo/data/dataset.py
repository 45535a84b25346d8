"""What a dataset is here: three splits of images, and the names of the classes."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from types import NoneType
from typing import Any

import numpy as np

from kzoo import arguments
from kzoo.data.split import Split
from kzoo.streams import stream


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

    Example:
        >>> images, labels = np.zeros((40, 8, 8, 3), "uint8"), [0, 1] * 20
        >>> dataset = kzoo.Dataset.from_arrays(images, labels, class_names=["oak", "elm"])
        >>> dataset.classes, len(dataset.train) > len(dataset.test)
        (2, True)
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    flip: bool
    source: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        arguments.text(self.name, "name")
        object.__setattr__(self, "flip", arguments.boolean(self.flip, "flip"))
        arguments.instance(self.source, "source", (Mapping, NoneType), "the arguments of `load_dataset`, or None")
        names = self.class_names
        are_strings = isinstance(names, Iterable) and not isinstance(names, str)
        are_strings = are_strings and all(isinstance(name, str) and name for name in names)
        if not are_strings or not names or len(set(names)) < len(names):
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

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        *,
        test: tuple[Any, Any] | float = 0.2,
        validation: tuple[Any, Any] | float = 0.1,
        class_names: Sequence[str] | None = None,
        name: str = "arrays",
        flip: bool = False,
        split_seed: int = 0,
    ) -> "Dataset":
        """Makes a dataset of arrays.

        Args:
            images: uint8 array of shape `(n, height, width, channels)`, or `(n, height, width)` of greys.
            labels: Integers from 0, or strings, an array or a list of shape `(n,)` or `(n, 1)`.
            test: `(images, labels)`, or a float between 0 and 1, the part of every class that is taken out. Defaults
                to `0.2`.
            validation: The same, of what is left. Defaults to `0.1`.
            class_names: Strings, one a class. Defaults to the labels themselves, in order.
            name: String, what to call it in reports. Defaults to `"arrays"`.
            flip: As for `Dataset`. Defaults to `False`.
            split_seed: Integer, 0 or larger; decides which parts are taken out. Defaults to `0`.

        Returns:
            A `Dataset`.

        Raises:
            ValueError: If images and labels are none, or do not go together.
        """
        given = [(images, labels), *(part for part in (test, validation) if isinstance(part, tuple | list))]
        names = (
            tuple(class_names) if class_names is not None else _names_of(np.concatenate([_flat(y) for _, y in given]))
        )
        train = _split_of(images, labels, names)
        if isinstance(test, tuple | list):
            tested = _split_of(*test, names)
        else:
            train, tested = carve_validation(train, test, split_seed, "test")
        if isinstance(validation, tuple | list):
            held_out = _split_of(*validation, names)
        else:
            train, held_out = carve_validation(train, validation, split_seed)
        return cls(name, names, train, held_out, tested, flip)

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(getattr(self, part)):,} {part}" for part in ("train", "validation", "test"))
        size = "x".join(map(str, self.image_shape))
        return f"Dataset({self.name!r}, {self.classes} classes, images of {size}: {counts})"

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        return self.train.image_shape

    def balanced(self) -> "Dataset":
        """Returns the same dataset with weights for training, by which each class counts alike in the loss.

        An image of a class of n counts for `images / (classes * n)`, on average 1. Where images have weights already,
        each class has the same sum of weights afterwards.
        """
        labels = self.train.labels
        weights = np.ones(len(labels)) if self.train.weights is None else self.train.weights.astype(np.float64)
        sums = np.bincount(labels, weights, self.classes)
        each = np.divide(weights.sum() / np.count_nonzero(sums), sums, out=np.zeros(self.classes), where=sums > 0)
        train = self.train.weighted(each[labels] * weights)
        source = None if self.source is None else {**self.source, "balance": True}
        return dataclasses.replace(self, train=train, source=source)

    @property
    def file_names(self) -> dict[str, list[str]] | None:
        """Split to the names of its files, in the order of the images, or `None` where images are no files."""
        parts = {part: getattr(self, part).names for part in ("train", "validation", "test")}
        if any(names is None for names in parts.values()):
            return None
        return {part: names.tolist() for part, names in parts.items()}

    def check_class_names(self, expected: Sequence[str], whose: object) -> None:
        """Checks that the classes are the expected ones, in their order.

        Args:
            expected: The names of the classes.
            whose: What has them, for the message.

        Raises:
            ValueError: Unless they are.
        """
        expected, received = tuple(expected), self.class_names
        if expected == received:
            return
        missing, new = (
            ", ".join(map(repr, sorted(set(a) - set(b)))) or "none"
            for a, b in ((expected, received), (received, expected))
        )
        raise ValueError(
            f"The data must have the {len(expected)} classes of {whose}, in their order. "
            f"Received: {len(received)} classes of {self.name!r}; missing: {missing}; new: {new}."
        )

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


def _flat(labels: Any) -> Any:
    """Returns labels as an array of shape `(n,)`."""
    array = np.asarray(labels)
    if array.ndim == 0:
        raise ValueError(f"`labels` must be one an image. Received: {labels!r}.")
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _names_of(labels: Any) -> tuple[str, ...]:
    """Returns the names of classes that are known by their labels alone."""
    if labels.dtype.kind in "iu" and len(labels) and labels.min() >= 0:
        if labels.max() >= max(1000, 10 * len(labels)):
            raise ValueError(
                f"`labels` must count the classes from 0. Received: {labels.max():,} among {len(labels):,}."
            )
        return tuple(map(str, range(int(labels.max()) + 1)))
    return tuple(sorted(set(map(str, labels.tolist()))))


def _split_of(images: Any, labels: Any, names: tuple[str, ...]) -> Split:
    labels = _flat(labels)
    if labels.dtype.kind in "UO":
        numbers = {name: number for number, name in enumerate(names)}
        if unknown := sorted(set(map(str, labels.tolist())) - numbers.keys()):
            raise ValueError(f"`labels` must be of {', '.join(names)}. Received: {unknown[0]!r}.")
        labels = [numbers[str(label)] for label in labels.tolist()]
    images = np.asarray(images)
    return Split(images[..., None] if images.ndim == 3 else images, labels)


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
    if not isinstance(fraction, Real) or not 0 < fraction < 1:
        raise ValueError(f"`fraction` must be between 0 and 1 (exclusive). Received: fraction={fraction!r}.")
    taken = np.zeros(len(split), bool)
    for label in np.unique(split.labels).tolist():
        members = np.flatnonzero(split.labels == label)
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        taken[stream(seed, what, label).permutation(members)[:count]] = True
    if not taken.any():
        raise ValueError(f"`split` must have a class of two items or more. Received: {len(split)} items, each alone.")
    return split.take(np.flatnonzero(~taken)), split.take(np.flatnonzero(taken))
