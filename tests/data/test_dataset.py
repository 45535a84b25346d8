import dataclasses

import numpy as np
import pytest

from kzoo.data import Dataset, Split, carve_validation, load_dataset


def split_of(labels: list[int], seed: int = 0) -> Split:
    images = np.random.RandomState(seed).randint(0, 256, (len(labels), 4, 3, 3)).astype(np.uint8)
    return Split(images, np.array(labels, np.int64))


def dataset_of(train: Split, **changes: object) -> Dataset:
    return dataclasses.replace(Dataset("pets", ("cat", "dog"), train, train, train, flip=True), **changes)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), np.zeros(2, np.int64), r"`images` must be uint8 .* dtype=float32"),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.int64), r"`images` must be .* shape=\(2, 4, 4\)"),
        (np.zeros((2, 4, 4, 2), np.uint8), np.zeros(2, np.int64), r"`images` must be .* shape=\(2, 4, 4, 2\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2), r"`labels` must be integers .* dtype=float64"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.eye(2, dtype=int), r"`labels` must be .* shape=\(2, 2\)"),
        ([[1, [2]], [3]], [0, 0], "`images` must be an array. Received: "),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(3, np.int64), "same length. Received: 2 images and 3 labels"),
        (np.zeros((0, 4, 4, 3), np.uint8), np.zeros(0, np.int64), "`images` must not be empty"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.array([0, -1]), "`labels` must be 0 or larger. Received: -1"),
    ],
)
def test_split_rejects_what_are_no_labelled_images(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Split(images, labels)


@pytest.mark.parametrize("labels", [[0, 1], np.uint8([[0], [1]]), np.array([0, 1], np.int32)])
def test_split_takes_labels_of_any_integers(labels):
    split = Split(np.zeros((2, 4, 4, 3), np.uint8), labels)
    assert split.labels.dtype == np.int64
    assert split.labels.tolist() == [0, 1]


def test_dataset_takes_a_list_of_names_and_splits_alone():
    split = split_of([0, 1])
    assert dataset_of(split, class_names=["cat", "dog"]).class_names == ("cat", "dog")
    with pytest.raises(ValueError, match="`test` must be a kzoo.Split. Received: tuple."):
        dataset_of(split, test=(split.images, split.labels))


def test_split_has_a_length():
    assert len(split_of([0, 1, 1])) == 3


@pytest.mark.parametrize("class_names", [(), ("cat", ""), ("cat", "cat"), "ab", (0, 1)])
def test_dataset_rejects_class_names_that_do_not_tell_classes_apart(class_names):
    with pytest.raises(ValueError, match="`class_names` must be different strings, not empty"):
        dataset_of(split_of([0, 1]), class_names=class_names)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_dataset_rejects_a_label_without_a_name(part):
    with pytest.raises(ValueError, match=f"`{part}` must have labels below 2. Received: 2"):
        dataclasses.replace(dataset_of(split_of([0, 1])), **{part: split_of([0, 2])})


def test_dataset_rejects_splits_of_different_image_shapes():
    other = Split(np.zeros((1, 5, 3, 3), np.uint8), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match=r"`test` must have images of shape \(4, 3, 3\).*Received: \(5, 3, 3\)"):
        dataset_of(split_of([0, 1]), test=other)


def test_dataset_knows_its_shape_and_classes():
    dataset = dataset_of(split_of([0, 1]))
    assert (dataset.image_shape, dataset.classes) == ((4, 3, 3), 2)


def test_pixel_statistics_are_those_of_numpy_in_float64():
    dataset = dataset_of(split_of([0, 1] * 1500))  # more than one chunk
    pixels = dataset.train.images.astype(np.float64) / 255
    np.testing.assert_allclose(dataset.pixel_mean, pixels.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(dataset.pixel_std, pixels.std((0, 1, 2)), rtol=1e-12)


def test_pixel_statistics_do_not_depend_on_the_order_of_the_images():
    train = split_of([0, 1] * 50)
    backwards = train.take(np.arange(100)[::-1])
    assert dataset_of(train).pixel_std == dataset_of(backwards).pixel_std


def test_pixel_std_of_constant_images_is_exactly_zero():
    train = Split(np.full((7, 4, 4, 3), 77, np.uint8), np.zeros(7, np.int64))
    assert dataset_of(train).pixel_std == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("fraction", "counts"),
    [(0.1, {0: 2, 1: 1, 2: 1}), (0.25, {0: 5, 1: 2, 2: 1}), (0.99, {0: 19, 1: 7, 2: 1})],
)
def test_carve_validation_takes_its_fraction_of_every_class(fraction, counts):
    _, taken = carve_validation(split_of([0] * 20 + [1] * 8 + [2] * 2), fraction)
    assert dict(enumerate(np.bincount(taken.labels))) == counts


def test_carve_validation_leaves_a_class_of_one_whole():
    rest, taken = carve_validation(split_of([0, 0, 1]), 0.5)
    assert (1 in rest.labels, 1 in taken.labels) == (True, False)


def numbered_split() -> Split:
    images = np.zeros((60, 1, 1, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(60)
    return Split(images, np.arange(60) % 3)


def test_carve_validation_divides_without_loss_or_overlap():
    rest, taken = carve_validation(numbered_split(), 0.3, seed=4)
    assert sorted([*rest.images[:, 0, 0, 0], *taken.images[:, 0, 0, 0]]) == list(range(60))


@pytest.mark.parametrize("part", [0, 1])
def test_carve_validation_keeps_the_order(part):
    numbers = carve_validation(numbered_split(), 0.3, seed=4)[part].images[:, 0, 0, 0]
    assert numbers.tolist() == sorted(numbers)


def test_carve_validation_keeps_labels_with_their_images():
    rest, _ = carve_validation(numbered_split(), 0.3, seed=4)
    assert np.array_equal(rest.images[:, 0, 0, 0] % 3, rest.labels)


def test_carve_validation_repeats_with_the_seed():
    first, again = (carve_validation(numbered_split(), 0.3, seed=4)[1] for _ in range(2))
    assert np.array_equal(first.images, again.images)


def test_carve_validation_differs_with_the_seed():
    first, other = (carve_validation(numbered_split(), 0.3, seed=seed)[1] for seed in (4, 5))
    assert not np.array_equal(first.images, other.images)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_carve_validation_rejects_a_fraction_out_of_range(fraction):
    with pytest.raises(ValueError, match=f"`fraction` must be between 0 and 1.*Received: fraction={fraction}"):
        carve_validation(split_of([0, 0, 1, 1]), fraction)


def test_carve_validation_rejects_classes_of_one():
    with pytest.raises(ValueError, match=r"`split` must have a class of two items or more. Received: 2 items"):
        carve_validation(split_of([0, 1]), 0.5)


def test_dataset_is_shown_in_a_line():
    expected = "Dataset('digits', 10 classes, images of 32x32x3: 1,295 train, 143 validation, 359 test)"
    assert repr(load_dataset("digits")) == expected
