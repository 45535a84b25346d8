"""What tells the images of one dataset from those of another."""

import hashlib

import numpy as np

from kzoo.data.dataset import Dataset

_SAMPLES = 16  # of each split


def fingerprint(dataset: Dataset) -> dict[str, str]:
    """Returns what a dataset's labels and pixels are known by, wherever they are kept.

    All labels and weights count, in their order. Of the pixels the statistics of the training images count, and a few
    images of each split: no image is read that training does not read anyway, but for those few.

    Args:
        dataset: A `Dataset`.

    Returns:
        Two hashes of 16 hexadecimal digits, named `labels` and `pixels`.
    """
    labels, pixels = hashlib.sha256(), hashlib.sha256(repr((dataset.pixel_mean, dataset.pixel_std)).encode())
    for split in (dataset.train, dataset.validation, dataset.test):
        labels.update(repr(len(split)).encode() + np.asarray(split.labels, "<i8").tobytes())
        if split.weights is not None:
            labels.update(np.asarray(split.weights, "<f4").tobytes())
        few = np.unique(np.linspace(0, len(split) - 1, _SAMPLES).astype(np.intp))
        pixels.update(split.read(few).tobytes())
    return {"labels": labels.hexdigest()[:16], "pixels": pixels.hexdigest()[:16]}
