import numpy as np
import pytest

from kzoo.data import Augmentation, load_dataset
from kzoo.streams import stream


@pytest.fixture
def images() -> np.ndarray:
    return np.random.RandomState(1).randint(1, 256, (64, 8, 6, 3)).astype(np.uint8)


def crops_of(image: np.ndarray, padding: int, mode: str) -> dict[bytes, tuple[int, int]]:
    """Every crop of one padded image, by its bytes."""
    height, width, _ = image.shape
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode=mode)
    offsets = [(top, left) for top in range(2 * padding + 1) for left in range(2 * padding + 1)]
    return {padded[top : top + height, left : left + width].tobytes(): (top, left) for top, left in offsets}


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_augmentation_gives_crops_of_the_padded_image(images, pad_mode):
    augmented = Augmentation(crop_padding=2, flip=False, pad_mode=pad_mode)(images, stream(0, "test"))
    pairs = zip(augmented, images, strict=True)
    assert all(after.tobytes() in crops_of(before, 2, pad_mode) for after, before in pairs)


def test_augmentation_gives_mirror_images_of_those_crops(images):
    plain = Augmentation(crop_padding=2, flip=False)(images, stream(0, "test"))
    flipped = Augmentation(crop_padding=2, flip=True)(images, stream(0, "test"))
    mirrored = [np.array_equal(after, before[:, ::-1]) for after, before in zip(flipped, plain, strict=True)]
    unchanged = [np.array_equal(after, before) for after, before in zip(flipped, plain, strict=True)]
    assert [not same for same in unchanged] == mirrored
    assert any(mirrored)
    assert not all(mirrored)


def test_augmentation_mirrors_half_of_the_images():
    images = np.broadcast_to(np.array([[[0, 0, 0], [1, 1, 1]]], np.uint8), (10_000, 1, 2, 3))
    augmented = Augmentation(crop_padding=0)(images, stream(0, "test"))
    assert augmented[:, 0, 0, 0].mean() == pytest.approx(0.5, abs=0.02)  # four standard deviations


def test_augmentation_shifts_every_way_equally_often():
    image = np.random.RandomState(1).randint(1, 256, (4, 4, 3)).astype(np.uint8)
    where = crops_of(image, 1, "constant")
    augmented = Augmentation(crop_padding=1, flip=False)(np.stack([image] * 9000), stream(0, "test"))
    counts = np.zeros((3, 3))
    for crop in augmented:
        counts[where[crop.tobytes()]] += 1
    assert np.abs(counts - 1000).max() < 120  # four standard deviations


def test_augmentation_without_crop_and_flip_changes_nothing(images):
    assert np.array_equal(Augmentation(crop_padding=0, flip=False)(images, stream(0, "test")), images)


def test_augmentation_leaves_its_input_alone(images):
    before = images.copy()
    Augmentation()(images, stream(0, "test"))
    assert np.array_equal(images, before)


def test_augmentation_keeps_shape_and_type(images):
    augmented = Augmentation()(images, stream(0, "test"))
    assert (augmented.shape, augmented.dtype, augmented.flags.c_contiguous) == (images.shape, np.uint8, True)


def test_augmentation_of_digits_never_mirrors():
    dataset = load_dataset()
    images = dataset.train.images[:200]
    augmented = Augmentation(crop_padding=0, flip=dataset.flip)(images, stream(0, "test"))
    assert np.array_equal(augmented, images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop_padding": -1}, "`crop_padding` must be 0 or larger. Received: crop_padding=-1"),
        ({"pad_mode": "wrap"}, "`pad_mode` must be one of .*Received: pad_mode='wrap'"),
    ],
)
def test_augmentation_rejects_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**arguments)
