import math

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


def cropped_one_by_one(images, random, *, padding, pad_mode, flip, mirrored=None):
    """Crops and mirrors pixel by pixel, as the papers say."""
    count, height, width, _ = images.shape
    top, left = random.randint(0, 2 * padding + 1, (2, count))
    drawn = random.randint(0, 2, count) == 1
    mirrored = drawn if mirrored is None else mirrored
    out = np.empty_like(images)
    for i, image in enumerate(images):
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode=pad_mode)
        for y in range(height):
            for x in range(width):
                column = width - 1 - x if flip and mirrored[i] else x
                out[i, y, x] = padded[top[i] + y, left[i] + column]
    return out


def rectangles(count, height, width, random, *, erase, area, aspect):
    """Yields the number of each image of which something is erased, and where that begins and ends."""
    for i, (chosen, share, ratio, lies, down, right) in enumerate(random.random_sample((6, count)).T):
        if chosen < erase:
            pixels = (area[0] + share * (area[1] - area[0])) * height * width
            ratio = aspect + ratio * (1 - aspect)
            sides = math.sqrt(pixels * ratio), math.sqrt(pixels / ratio)
            rows, columns = sides if lies < 0.5 else sides[::-1]
            rows, columns = min(max(round(rows), 1), height), min(max(round(columns), 1), width)
            top, left = int(down * (height - rows + 1)), int(right * (width - columns + 1))
            yield i, top, top + rows, left, left + columns


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("padding", [0, 2, 9])
def test_augmentation_crops_and_mirrors_as_defined(pad_mode, flip, channels, padding):
    images = np.random.RandomState(1).randint(0, 256, (7, 8, 6, channels)).astype(np.uint8)
    expected = cropped_one_by_one(images, stream(0, "test"), padding=padding, pad_mode=pad_mode, flip=flip)
    np.testing.assert_array_equal(Augmentation(padding, flip, pad_mode)(images, stream(0, "test")), expected)


def test_augmentation_takes_images_that_are_parts_of_others(images):
    np.testing.assert_array_equal(
        Augmentation()(images[::2, 1:, ::-1], stream(0, "test")),
        Augmentation()(images[::2, 1:, ::-1].copy(), stream(0, "test")),
    )


@pytest.mark.parametrize("flip", [False, True])
def test_alternating_augmentation_mirrors_the_images_it_is_told(images, flip):
    mirrored = np.arange(64) % 3 == 1
    expected = cropped_one_by_one(
        images, stream(0, "test"), padding=4, pad_mode="constant", flip=flip, mirrored=mirrored
    )
    augmented = Augmentation(flip=flip, flip_mode="alternate")(images, stream(0, "test"), mirrored)
    np.testing.assert_array_equal(augmented, expected)


def test_alternating_augmentation_must_be_told_which_images_are_mirrored(images):
    with pytest.raises(ValueError, match="`mirrored` must say which images .* Received: mirrored=None"):
        Augmentation(flip_mode="alternate")(images, stream(0, "test"))


ERASING = {
    "of the paper": {"erase": 0.5, "area": (0.02, 0.4), "aspect": 0.3},
    "cutout": {"erase": 1.0, "area": (0.25, 0.25), "aspect": 1.0},
    "beyond the border": {"erase": 1.0, "area": (0.5, 1.0), "aspect": 0.01},
}


@pytest.mark.parametrize("fill", ["noise", "grey"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("how", ERASING)
def test_augmentation_erases_as_defined(how, channels, fill):
    images = np.random.RandomState(1).randint(0, 256, (40, 12, 16, channels)).astype(np.uint8)
    settings = ERASING[how]
    random, plain = stream(0, "test"), stream(0, "test")
    expected = Augmentation()(images, plain)
    found = list(rectangles(40, 12, 16, plain, **settings))
    noise = iter(plain.bytes(sum((bottom - top) * (right - left) * channels for _, top, bottom, left, right in found)))
    for i, top, bottom, left, right in found:
        for y in range(top, bottom):
            for x in range(left, right):
                expected[i, y, x] = [next(noise) if fill == "noise" else 128 for _ in range(channels)]
    erased = Augmentation(
        erase=settings["erase"], erase_area=settings["area"], erase_aspect=settings["aspect"], erase_fill=fill
    )(images, random)
    np.testing.assert_array_equal(erased, expected)
    assert len(found) == 40 if settings["erase"] == 1 else 10 <= len(found) <= 30


def test_cutout_erases_a_square_within_each_image():
    images = np.zeros((500, 16, 16, 3), np.uint8)
    cutout = Augmentation(0, erase=1, erase_area=(1 / 16, 1 / 16), erase_aspect=1, erase_fill="grey")
    erased = cutout(images, stream(0, "test"))[..., 0] == 128
    assert set(erased.any(2).sum(1)) == set(erased.any(1).sum(1)) == {4}
    assert (erased.sum((1, 2)) == 16).all()
    assert erased.any(0).all()  # anywhere


def test_erasing_leaves_crop_and_mirror_image_as_they_were(images):
    plain = Augmentation()(images, stream(0, "test"))
    erased = Augmentation(erase=0.5, erase_area=(0.1, 0.1))(images, stream(0, "test"))
    assert 0.9 < (erased == plain).mean() < 0.97


def test_erasing_leaves_its_input_alone(images):
    before = images.copy()
    Augmentation(0, flip=False, erase=1)(images, stream(0, "test"))
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop_padding": -1}, "`crop_padding` must be 0 or larger. Received: crop_padding=-1"),
        ({"erase": 1.5}, "`erase` must be between 0 and 1. Received: erase=1.5"),
        ({"erase_area": 0.1}, "`erase_area` must be two numbers. Received: erase_area=0.1"),
        ({"erase_area": (0.4, 0.1)}, "`erase_area` must be two shares .* Received: erase_area=.0.4, 0.1."),
        ({"erase_aspect": 0}, "`erase_aspect` must be above 0, up to 1. Received: erase_aspect=0.0"),
        ({"pad_mode": "wrap"}, "`pad_mode` must be one of .*Received: pad_mode='wrap'"),
    ],
)
def test_augmentation_rejects_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**arguments)
