import hashlib
import math
from fractions import Fraction

import numpy as np
import pytest

from kzoo.data import Augmentation, Batches, Mixing, Split
from kzoo.data.shrink import shrink

DIGEST = "bfe7bb12487baea8f62a9c041575f31651ca9e8a5adea58899a73206977149a6"


def covered(size: int, smaller: int, number: int) -> list[tuple[int, Fraction]]:
    """Returns the pixels that a new one covers, each with its share of it."""
    begin, end = Fraction(number * size, smaller), Fraction((number + 1) * size, smaller)
    parts = [(pixel, min(end, Fraction(pixel + 1)) - max(begin, Fraction(pixel))) for pixel in range(size)]
    return [(pixel, part / (end - begin)) for pixel, part in parts if part > 0]


def shrunk_one_by_one(images: np.ndarray, height: int, width: int) -> np.ndarray:
    count, rows, columns, channels = images.shape
    out = np.empty((count, height, width, channels), np.uint8)
    for i, y, x, channel in np.ndindex(*out.shape):
        mean = sum(
            int(images[i, row, column, channel]) * down * across
            for row, down in covered(rows, height, y)
            for column, across in covered(columns, width, x)
        )
        out[i, y, x, channel] = math.floor(mean + Fraction(1, 2))
    return out


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(9, 8), (6, 6), (4, 7), (5, 1), (1, 1)])
def test_shrunk_pixels_are_means_of_what_they_cover(size, channels):
    images = np.random.RandomState(0).randint(0, 256, (2, 9, 8, channels)).astype(np.uint8)
    np.testing.assert_array_equal(shrink(images, *size), shrunk_one_by_one(images, *size))


def test_sums_of_large_images_are_exact():
    images = np.full((1, 300, 300, 1), 255, np.uint8)
    images[0, :150] = np.random.RandomState(0).randint(250, 256, (150, 300, 1))
    halves = images.reshape(1, 2, 150, 2, 150, 1).astype(np.int64).sum((2, 4))
    np.testing.assert_array_equal(shrink(images, 2, 2), (halves + 150 * 150 // 2) // (150 * 150))


def test_images_in_one_grey_stay_so():
    for level in range(256):
        assert set(shrink(np.full((1, 8, 8, 3), level, np.uint8), 5, 7).ravel()) == {level}


@pytest.fixture
def split() -> Split:
    return Split(np.random.RandomState(0).randint(0, 256, (20, 12, 8, 3)).astype(np.uint8), np.arange(20) % 2)


def test_batches_have_the_size_of_their_epoch(split):
    batches = Batches(split, 2, batch_size=5, scales=(0.5, 0.8, 1))
    sizes = [batches.batch(epoch, 1)[0].shape[1:3] for epoch in range(5)]
    assert sizes == [(6, 4), (10, 6), (12, 8), (12, 8), (12, 8)] == [batches.image_size(epoch) for epoch in range(5)]
    np.testing.assert_array_equal(batches.batch(0, 1)[0], shrunk_one_by_one(split.images[5:10], 6, 4))


def test_images_are_shrunk_after_their_augmentation_and_before_they_are_mixed(split):
    augmentation = Augmentation(crop_padding=1, erase=1.0)
    plain = Batches(split, 2, shuffle=True, augmentation=augmentation)
    batches = Batches(split, 2, shuffle=True, augmentation=augmentation, scales=(0.5,))
    images, labels = plain.batch(2, 0)
    np.testing.assert_array_equal(batches.batch(2, 0)[0], shrink(images, 6, 4))
    batches.mixing = Mixing(mixup=8.0)
    mixed = Batches(Split(shrink(images, 6, 4), labels.argmax(1)), 2, mixing=Mixing(mixup=8.0)).batch(2, 0)
    for one, other in zip(batches.batch(2, 0), mixed, strict=True):
        np.testing.assert_array_equal(one, other)


def test_batch_prepared_ahead_is_not_of_another_size(split):
    batches = Batches(split, 2, batch_size=5)
    batches[0]
    batches.scales = (0.5,)
    assert batches[1][0].shape == (5, 6, 4, 3)


def test_shrunk_batches_have_the_same_bytes_on_every_backend(split):
    batches = Batches(split, 2, shuffle=True, augmentation=Augmentation(), scales=(0.7,))
    assert hashlib.sha256(batches.batch(3, 0)[0].tobytes()).hexdigest() == DIGEST


def test_scales_are_checked(split):
    with pytest.raises(ValueError, match="`scales` must be numbers above 0, up to 1. Received: scales=.0.5, 2."):
        Batches(split, 2, scales=(0.5, 2))
