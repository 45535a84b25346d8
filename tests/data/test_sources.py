import json
import subprocess
import sys

import numpy as np
import pytest

from kzoo.data import Split, load_dataset, sources
from kzoo.data.dataset import Parts
from kzoo.data.originals import ORIGINALS


@pytest.fixture(scope="module")
def digits():
    return load_dataset()


def test_digits_are_all_there(digits):
    assert len(digits.train) + len(digits.validation) + len(digits.test) == 1797


def test_digits_are_rgb_of_cifar_size(digits):
    assert digits.image_shape == (32, 32, 3)


def test_digits_are_grey_and_use_the_whole_range(digits):
    images = digits.train.images
    assert np.array_equal(images[..., 0], images[..., 2])
    assert (images.min(), images.max()) == (0, 255)


def test_digits_are_named_by_themselves(digits):
    assert digits.class_names == tuple("0123456789")


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    dataset = load_dataset("digits", image_size=(8, 8))
    brightness = sorted(int(image.sum()) for image in dataset.test.images[..., 0])
    original = {int(image.sum()) for image in np.floor(load_digits().images * 255 / 16 + 0.5)}
    assert original.issuperset(brightness)


def test_digits_are_never_mirrored(digits):
    assert digits.flip is False


def test_digits_test_split_is_stratified(digits):
    from sklearn.datasets import load_digits

    assert np.bincount(digits.test.labels).tolist() == [round(0.2 * n) for n in np.bincount(load_digits().target)]


def test_digits_test_split_does_not_depend_on_the_seed(digits):
    assert np.array_equal(load_dataset(split_seed=5).test.images, digits.test.images)


def test_digits_validation_split_depends_on_the_seed(digits):
    assert not np.array_equal(load_dataset(split_seed=5).validation.images, digits.validation.images)


def test_validation_sets_the_fraction():
    assert len(load_dataset(validation=0.5).validation) == pytest.approx(719, abs=5)


@pytest.mark.parametrize("flip", [True, False])
def test_flip_overrides_what_the_dataset_says(flip):
    assert load_dataset(flip=flip).flip is flip


def test_own_images_are_mirrored_only_where_asked_for(place, tree):
    path = place(tree)
    assert load_dataset(path).flip is False
    assert load_dataset(path, flip=True).flip is True
    assert load_dataset(path).summary()["flip"] is False


@pytest.mark.parametrize(("name", "flip"), [("cifar10", True), ("cifar100", True), ("svhn_cropped", False)])
def test_published_datasets_say_whether_they_may_be_mirrored(name, flip):
    assert ORIGINALS[name].flip is flip


@pytest.mark.parametrize(("name", "flip"), [("mnist", False), ("emnist", False), ("gtsrb", False), ("cifar10", True)])
def test_prepared_datasets_are_mirrored_where_that_is_known_to_be_right(name, flip, tmp_path, monkeypatch):
    split = Split(np.zeros((4, 2, 2, 3), np.uint8), [0, 0, 1, 1])
    (tmp_path / name / "1.0.0").mkdir(parents=True)
    (tmp_path / name / "1.0.0" / "dataset_info.json").touch()
    parts = Parts(name, ("a", "b"), split, split, split)
    monkeypatch.setattr(sources, "read_prepared", lambda path, decoding, **options: parts)
    assert load_dataset(name, data_dir=tmp_path).flip is flip
    assert load_dataset(tmp_path / name / "1.0.0").flip is flip


@pytest.mark.parametrize("size", [8, np.int64(8), [8, 8], (np.int32(8), 8)])
def test_image_size_may_be_a_number(size):
    dataset = load_dataset(image_size=size)
    assert dataset.image_shape == (8, 8, 3)
    assert json.loads(json.dumps(dataset.source))["image_size"] == [8, 8]


@pytest.mark.parametrize("size", [0, 8.0, True, (8,), (8, 8, 3), "8"])
def test_image_size_that_is_none_is_told(size):
    with pytest.raises(ValueError, match="`image_size` must be .*, or an integer for a square. Received: image_size="):
        load_dataset(image_size=size)


@pytest.fixture
def homeless(monkeypatch):
    """A process of a user that nobody knows, without HOME."""

    def unknown(uid):
        raise KeyError(uid)

    for name in ("HOME", "TFDS_DATA_DIR", "KZOO_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


def test_no_home_is_needed_where_none_is_used(homeless, place, tree, monkeypatch):
    path = place(tree)
    monkeypatch.chdir(path.parent)
    for name in ("digits", path, str(path), path.name):
        load_dataset(name, image_size=8)
    with pytest.raises(FileNotFoundError, match="`data_dir` must be given, or TFDS_DATA_DIR set"):
        load_dataset("cifar10")


@pytest.mark.parametrize("name", ["digits", "pets"])
def test_source_loads_the_dataset_again_from_anywhere(tmp_path, monkeypatch, place, tree, name):
    path = place(tree)
    monkeypatch.chdir(path.parent)
    given = name if name == "digits" else path.name
    dataset = load_dataset(given, split_seed=3, image_size=(8, 8))
    monkeypatch.chdir("/")
    again = load_dataset(**json.loads(json.dumps(dataset.source)))
    assert np.array_equal(again.validation.images, dataset.validation.images)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn_cropped"])
def test_dataset_that_is_not_prepared_tells_the_command(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f"Run: kzoo data prepare {name} --data-dir {tmp_path}"):
        load_dataset(name, data_dir=tmp_path)


def test_command_quotes_a_folder_with_a_space(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--data-dir '.*/my data'"):
        load_dataset("cifar10", data_dir=tmp_path / "my data")


def test_data_dir_defaults_to_that_of_tensorflow_datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "here"))
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/here"):
        load_dataset("cifar10")


def test_unknown_name_lists_the_known(tmp_path):
    with pytest.raises(
        ValueError, match=r"must be one of cifar10, cifar100, digits, svhn_cropped.*Received: 'cifar11'"
    ):
        load_dataset("cifar11", data_dir=tmp_path)


@pytest.mark.parametrize("path", ["no/such/folder", "photos.zip"])
def test_missing_path_is_named(path):
    with pytest.raises(FileNotFoundError, match=f"`name_or_path` must be a folder .*Received: '{path}'"):
        load_dataset(path)


def test_import_loads_nothing_but_keras_and_numpy():
    code = (
        "import sys, keras; before = set(sys.modules); import kzoo.data; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {"PIL", "sklearn", "scipy", "tqdm", "tensorflow_datasets", "requests"}.isdisjoint(output.split())
