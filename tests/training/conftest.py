import numpy as np
import pytest

import kzoo


def tiny_split(count, seed):
    """Images whose class shows in their colour, with noise."""
    random = np.random.RandomState(seed)
    labels = np.arange(count) % 3
    images = random.randint(0, 120, (count, 8, 8, 3))
    images[np.arange(count), :, :, labels] += 100
    return kzoo.Split(images.astype(np.uint8), labels.astype(np.int64))


@pytest.fixture
def tiny():
    """Three classes of 8x8 images: 48 to train on, 12 each to validate and test on."""
    return kzoo.Dataset(
        "tiny", ("red", "green", "blue"), tiny_split(48, 0), tiny_split(12, 1), tiny_split(12, 2), flip=True
    )


@pytest.fixture
def small_model():
    return kzoo.resnet(8, input_shape=(8, 8, 3), classes=3)
