"""Images and labels in a NumPy archive, in the layout of Keras's own data sets or with one pair of arrays."""

from pathlib import Path
from typing import Any

import numpy as np

from kzoo.archives import read_arrays
from kzoo.data.dataset import Dataset, Parts
from kzoo.data.images import Decoding
from kzoo.data.split import Split

_PAIRS = (("x_{}", "y_{}"), ("{}_images", "{}_labels"), ("images_{}", "labels_{}"), ("X_{}", "Y_{}"))
_ALONE = (("images", "labels"), ("x", "y"), ("X", "y"), ("data", "labels"))
_SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}


def read_npz(path: Path, decoding: Decoding) -> Parts:
    """Reads `x_train`, `y_train`, perhaps `x_test`, `y_test`, `x_val`, `y_val`; or `images` and `labels` alone.

    Args:
        path: Path of an .npz file. Nothing in it is unpickled.
        decoding: The `Decoding` of each image.

    Returns:
        `Parts`, named after the file.

    Raises:
        ValueError: If the file is none, or arrays are missing or none of images with labels.
    """
    try:
        arrays = read_arrays(path, texts=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} must be a readable .npz file of arrays. Received: {error}.") from error
    found = {split: pair for split, names in _SPLITS.items() if (pair := _pair(arrays, names))}
    if not found:
        alone = next((pair for pair in _ALONE if set(pair) <= arrays.keys()), None)
        found = {"train": (arrays[alone[0]], arrays[alone[1]])} if alone else {}
    splits = [name for names in _SPLITS.values() for name in names]
    patterns = {pattern.format(name) for pair in _PAIRS for pattern in pair for name in splits}
    taken = {id(array) for pair in found.values() for array in pair}
    if lone := [name for name in arrays if name in patterns and id(arrays[name]) not in taken]:
        raise ValueError(f"{str(path)!r} must have images and labels of each split. Received: {lone[0]} alone.")
    if "train" not in found:
        raise ValueError(
            f"{str(path)!r} must have arrays x_train and y_train, or images and labels. "
            f"Received: {', '.join(arrays) or 'none'}."
        )
    try:
        return _parts(path.stem, found, decoding)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} must have images and labels. {error}") from error


def _parts(name: str, found: dict[str, tuple[Any, Any]], decoding: Decoding) -> Parts:
    whole = Dataset.from_arrays(*found["train"], test=found.get("test", found["train"]), validation=found["train"])
    parts = {"train": whole.train, "test": whole.test} if "test" in found else {"train": whole.train}
    if "validation" in found:
        parts["validation"] = Dataset.from_arrays(
            *found["validation"], test=found["train"], validation=found["train"], class_names=whole.class_names
        ).train
    parts = {split: _decoded(part, decoding) for split, part in parts.items()}
    return Parts(name, whole.class_names, parts["train"], parts.get("validation"), parts.get("test"))


def _pair(arrays: dict[str, Any], names: tuple[str, ...]) -> tuple[Any, Any] | None:
    for name in names:
        for images, labels in _PAIRS:
            if {images.format(name), labels.format(name)} <= arrays.keys():
                return arrays[images.format(name)], arrays[labels.format(name)]
    return None


def _decoded(split: Split, decoding: Decoding) -> Split:
    from PIL import Image

    images = (Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image) for image in split.images)
    return Split(np.stack([decoding.pixels(image) for image in images]), split.labels)
