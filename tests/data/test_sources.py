import json
import subprocess
import sys

import numpy as np
import pytest

from kzoo.data import load_dataset


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


@pytest.mark.parametrize(("name", "flip"), [("pets", True), ("svhn_cropped", False)])
def test_flip_depends_on_the_dataset(tmp_path, tree, name, flip):
    for file, data in tree.items():
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert load_dataset(tmp_path / name).flip is flip


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
