"""A split: images with their labels, in memory or wherever they are kept."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo import arguments
from kzoo.data.examples import ArrayExamples, Examples, Indices, chunk_size
from kzoo.data.images import Images

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

    Example:
        >>> split = kzoo.Split(np.zeros((3, 8, 8, 1), "uint8"), [0, 1, 1])
        >>> len(split), split.image_shape
        (3, (8, 8, 1))
    """

    def __init__(self, images: Any, labels: Any, weights: Any = None) -> None:
        images = arguments.image_array(images, None)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3, 4):
            received = arguments.described(images)
            raise ValueError(
                "`images` must be uint8 of shape (n, height, width, channels), with 1, 3 or 4 channels. "
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
        self.weights: npt.NDArray[np.float32] | None = (
            None if weights is None else arguments.numeric(weights, "weights").astype(np.float32)
        )
        self.names: npt.NDArray[Any] | None = None if names is None else np.array(names, object)
        count = len(examples) if indices is None else len(indices)
        for name, values in (("labels", self.labels), ("weights", self.weights), ("names", self.names)):
            if values is not None and values.shape != (count,):
                received = f"{len(values)} {name}" if values.ndim == 1 else f"{name} of shape {values.shape}"
                raise ValueError(
                    f"`images` and `{name}` must have the same length. Received: {count} images and {received}."
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
            indices: Integers, positions in the split, or booleans, one an image.
        """
        return self._examples.read(self._at(self._positions(indices)))

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
        indices = self._positions(indices)
        weights, names = (None if values is None else values[indices] for values in (self.weights, self.names))
        return Split.of(self._examples, self.labels[indices], indices=self._at(indices), weights=weights, names=names)

    def weighted(self, weights: Any) -> "Split":
        """Returns the same split with other `weights`, numbers of shape `(n,)`."""
        return Split.of(self._examples, self.labels, indices=self._indices, weights=weights, names=self.names)

    def joined(self, others: Iterable["Split"]) -> "Split":
        """Returns a split of the items of this one and of `others`, which must be views of the same images."""
        parts = [self, *others]
        assert all(part._examples is self._examples for part in parts)
        return Split.of(
            self._examples,
            np.concatenate([part.labels for part in parts]),
            indices=np.concatenate([part._at(np.arange(len(part))) for part in parts]),
            weights=None if self.weights is None else np.concatenate([part.weights for part in parts]),
            names=None if self.names is None else np.concatenate([part.names for part in parts]),
        )

    def _positions(self, indices: Any) -> Indices:
        """Returns positions in the split as integers from 0, whatever NumPy takes for them."""
        return np.arange(len(self))[np.asarray(indices, None if len(indices) else np.intp)]

    def _at(self, indices: Indices) -> Indices:
        """Returns where in the examples the items at these positions are."""
        return indices if self._indices is None else self._indices[indices]
