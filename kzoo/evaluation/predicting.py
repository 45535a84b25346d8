"""Predictions in batches of one size."""

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

_CHUNK_BYTES = 1 << 24  # of a split, read at once


def even_batch_size(images: int, largest: int = 256) -> int:
    """Returns the largest batch size that leaves no smaller batch behind, or `largest` where only tiny ones do not.

    A last batch of another size would make JAX compile a model anew. This is for batches that carry labels, whose
    losses count; where images alone go in, `predict_in_whole_batches` repeats some.

    Args:
        images: Integer, how many images there are.
        largest: Integer, upper limit of the batch size. Defaults to `256`.
    """
    even = next(size for size in range(min(images, largest), 0, -1) if images % size == 0)
    return even if even >= min(images, 16, largest // 2) else largest


def predict_in_whole_batches(
    model: keras.Model, images: Any, batch_size: int, mirror: bool = False
) -> npt.NDArray[Any]:
    """Predicts images in batches of one size: some images fill up the last one, and their answers are left out.

    Args:
        model: A `keras.Model` of images.
        images: Array of shape `(images, height, width, channels)`, or a `kzoo.Split`.
        batch_size: Integer, or the number of images if that is less.
        mirror: Boolean, whether to mirror the images left and right. Defaults to `False`.

    Returns:
        What the model answers to each image.
    """
    batch_size = min(batch_size, len(images))
    if hasattr(images, "chunks"):
        size = max(1, _CHUNK_BYTES // (math.prod(images.image_shape) * batch_size)) * batch_size
        parts = images.chunks(size)
    else:
        parts = [images]
    return np.concatenate([_predict_filled(model, _mirrored(part) if mirror else part, batch_size) for part in parts])


def _mirrored(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.ascontiguousarray(images[:, :, ::-1])


def _predict_filled(model: keras.Model, images: npt.NDArray[Any], batch_size: int) -> npt.NDArray[Any]:
    missing = -len(images) % batch_size
    filled = np.concatenate([images, images[np.arange(missing) % len(images)]]) if missing else images
    return np.asarray(model.predict(filled, batch_size=batch_size, verbose=0))[: len(images)]
