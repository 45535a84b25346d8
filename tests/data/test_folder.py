import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from kzoo.data import load_dataset


def test_folder_gives_images_labels_and_class_names(place, tree):
    dataset = load_dataset(place(tree))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.test.images[:, 0, 0, 0].tolist() == [90, 91]
    assert dataset.test.labels.tolist() == [0, 1]


def test_folder_is_named_after_its_path(place, tree):
    assert load_dataset(place(tree)).name == "pets"


def test_folder_keeps_every_training_image_once(place, tree):
    dataset = load_dataset(place(tree))
    levels = [*dataset.train.images[:, 0, 0, 0], *dataset.validation.images[:, 0, 0, 0]]
    assert sorted(levels) == [0, 1, 10, 11, 20, 21]


@pytest.mark.parametrize("split", ["validation", "val"])
def test_folder_uses_a_validation_split_where_there_is_one(place, tree, encoded, split):
    dataset = load_dataset(place(tree | {f"{split}/dog/0.png": encoded(55)}))
    assert dataset.validation.images[:, 0, 0, 0].tolist() == [55]
    assert dataset.validation.labels.tolist() == [1]
    assert len(dataset.train) == 6


def test_folder_may_lie_in_one_folder_more(place, tree):
    assert len(load_dataset(place({f"my pets/{name}": data for name, data in tree.items()})).test) == 2


@pytest.mark.parametrize(
    "name",
    [
        "train/cat/.DS_Store",
        "__MACOSX/train/cat/._0.png",
        "train/dog/Thumbs.db",
        ".git/config",
        "README.md",
        "train/cat/0.json",
        "test/@eaDir/SYNO@.jpg",
        "train/EHTHUMBS.DB",
    ],
)
def test_folder_ignores_what_is_not_part_of_it(place, tree, name):
    assert len(load_dataset(place(tree | {name: b"no image"})).train) == 4


def test_folder_resizes_images_of_different_sizes(place, tree, encoded):
    path = place(tree | {"train/dog/7.png": encoded(size=(9, 9))})
    assert load_dataset(path, image_size=(16, 8)).image_shape == (16, 8, 3)


def test_folder_names_the_first_image_of_another_size(place, tree, encoded):
    path = place(tree | {"train/dog/7.png": encoded(size=(9, 7))})
    with pytest.raises(ValueError, match=r"train/dog/7\.png' must have the size .* 3x4 .*image_size=.*Received: 7x9"):
        load_dataset(path)


def test_folder_names_a_test_image_of_another_size_than_train(place, tree, encoded):
    path = place(tree | {"test/cat/9.png": encoded(size=(9, 7)), "test/dog/9.png": encoded(size=(9, 7))})
    with pytest.raises(ValueError, match=r"test/cat/9.png' must have .* of .*train/cat/0.png', 3x4.*Received: 7x9; 2 "):
        load_dataset(path)


def test_folder_names_a_corrupt_image(place, tree):
    data = tree["train/dog/1.png"]
    with pytest.raises(ValueError, match=r"train/dog/1\.png' must be a readable image file"):
        load_dataset(place(tree | {"train/dog/1.png": data[:-30]}))


def test_folder_rejects_a_test_class_that_is_not_in_train(place, tree, encoded):
    with pytest.raises(ValueError, match=r"test/eel' must be a class of `train`. Received: unknown class 'eel'"):
        load_dataset(place(tree | {"test/eel/0.png": encoded()}))


def test_folder_rejects_a_test_split_alone(place, tree):
    with pytest.raises(ValueError, match=r"must have a folder `train`. Received: \['test'\]"):
        load_dataset(place({name: data for name, data in tree.items() if not name.startswith("train")}))


@pytest.mark.parametrize("split", ["train", "test"])
def test_folder_rejects_an_empty_split(place, tree, split):
    files = {name: data for name, data in tree.items() if not name.startswith(split)}
    with pytest.raises(ValueError, match=f"{split}' must have a folder for each class. Received: an empty split"):
        load_dataset(place(files | {f"{split}/": b""}))


@pytest.mark.parametrize("folder", ["train/eel", "test/dog"])
def test_folder_rejects_an_empty_class(place, tree, folder):
    files = {name: data for name, data in tree.items() if not name.startswith(f"{folder}/")}
    with pytest.raises(ValueError, match=f"{folder}' must have images. Received: an empty class"):
        load_dataset(place(files | {f"{folder}/": b""}))


@pytest.mark.parametrize("name", ["train/stray.png", "train/cat/more/0.png"])
def test_folder_rejects_a_file_at_another_depth(place, tree, name):
    with pytest.raises(ValueError, match=r"Every file must lie in `split/class/file`. Received: .*train/"):
        load_dataset(place(tree | {name: b""}))


@pytest.mark.parametrize("image_size", [(0, 8), (8,), (8, 8, 3)])
def test_folder_rejects_an_impossible_image_size(place, tree, image_size):
    with pytest.raises(ValueError, match=r"`image_size` must be \(height, width\) in pixels"):
        load_dataset(place(tree), image_size=image_size)


def test_zip_that_is_none_is_named(tmp_path):
    (tmp_path / "pets.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match=r"pets\.zip' must be a folder or a readable \.zip file"):
        load_dataset(tmp_path / "pets.zip")


def test_zip_names_the_file_whose_checksum_is_wrong(tmp_path, tree):
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in tree.items():
            archive.writestr(name, data)
    content = path.read_bytes()
    data = tree["train/dog/2.png"]
    path.write_bytes(content.replace(data, data[:-20] + b"?" + data[-19:]))
    with pytest.raises(ValueError, match=r"'train/dog/2\.png' in .*pets\.zip' must be readable"):
        load_dataset(path)


@pytest.mark.shared
@pytest.mark.slow
def test_cifar10_jpeg_loads_whole(shared):
    dataset = load_dataset(shared / "data" / "cifar10-jpeg.zip")
    assert dataset.name == "cifar10-jpeg"
    assert np.bincount(dataset.train.labels).tolist() == [4500] * 10
    assert np.bincount(dataset.validation.labels).tolist() == [500] * 10
    assert np.bincount(dataset.test.labels).tolist() == [1000] * 10


@pytest.mark.parametrize(
    "names", [("Train", "VALID", "Test"), ("training", "dev", "testing"), ("train", "Validation", "test")]
)
def test_splits_are_known_by_their_usual_names(place, tree, encoded, names):
    files = {
        f"{names[0 if name.startswith('train') else 2]}/{name.partition('/')[2]}": data for name, data in tree.items()
    }
    dataset = load_dataset(place(files | {f"{names[1]}/dog/0.png": encoded(55)}))
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [6, 1, 2]


def test_two_folders_for_a_split_are_an_error(place, tree, encoded):
    with pytest.raises(ValueError, match="one folder for the validation split. Received: 'val' and 'valid'"):
        load_dataset(place(tree | {"val/dog/0.png": encoded(), "valid/dog/1.png": encoded()}))


def test_images_outside_the_splits_are_told(place, tree, encoded):
    with pytest.warns(UserWarning, match=r"outside the splits are left out: '\.' \(1\), 'extra' \(2\)"):
        load_dataset(place(tree | {"extra/x/0.png": encoded(), "extra/x/1.png": encoded(), "0.png": encoded()}))


def test_folder_without_splits_is_divided_for_good(place, encoded):
    files = {f"pets/{name}/{i}.png": encoded(i + 1) for name in ("cat", "dog") for i in range(20)}
    dataset = load_dataset(place(files | {"pets/eel/0.png": encoded(99)}))
    assert dataset.class_names == ("cat", "dog", "eel")
    parts = (dataset.train, dataset.validation, dataset.test)
    assert [np.bincount(part.labels, minlength=3).tolist() for part in parts] == [[14, 14, 1], [2, 2, 0], [4, 4, 0]]
    again = load_dataset(place(files | {"pets/eel/0.png": encoded(99)}), split_seed=1)
    assert set(again.test.names) != set(dataset.test.names)


def test_zips_of_windows_are_read(tmp_path, tree):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for name, data in tree.items():
            entry = zipfile.ZipInfo("x")
            entry.filename = name.replace("/", "\\")
            archive.writestr(entry, data)
    assert len(load_dataset(tmp_path / "pets.zip").test) == 2


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_with_a_file_twice_is_an_error(tmp_path, tree):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for name, data in [*tree.items(), ("train/cat/0.png", b"")]:
            archive.writestr(name, data)
    with pytest.raises(ValueError, match="must have each file once. Received: 'train/cat/0.png' twice"):
        load_dataset(tmp_path / "pets.zip")


def test_zip_that_claims_too_much_is_an_error(tmp_path, tree, monkeypatch):
    monkeypatch.setattr("kzoo.data.files.LARGEST_FILE", 1000)
    with zipfile.ZipFile(tmp_path / "pets.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (tree | {"train/cat/0.png": b"\0" * 5000}).items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match="train/cat/0.png' must have at most 1,000 bytes. Received: 5,000"):
        load_dataset(tmp_path / "pets.zip")


def test_zip_that_claims_to_hold_more_than_there_is_takes_no_memory_for_it(tmp_path, tree):
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in tree.items():
            archive.writestr(name, data)
    content = bytearray(path.read_bytes())
    of_first = content.index(b"PK\x01\x02") + 20
    content[of_first : of_first + 8] = struct.pack("<II", 1 << 28, 1 << 28)  # its size, packed and unpacked
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="must be readable"):
            load_dataset(path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_links_and_pipes_do_not_hang(tmp_path, tree):
    for name, data in tree.items():
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / name).write_bytes(data)
    for name in ("a", "b"):
        (tmp_path / "pets" / "train" / "cat" / name).symlink_to(".")
    os.mkfifo(tmp_path / "pets" / "train" / "cat" / "pipe")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "pets" / "train" / "dog" / "0.png").rename(tmp_path / "elsewhere" / "0.png")
    (tmp_path / "pets" / "train" / "dog" / "0.png").symlink_to(tmp_path / "elsewhere" / "0.png")
    assert len(load_dataset(tmp_path / "pets").train) == 4


@pytest.mark.parametrize("name", ["ä ö ü 猫.png", "IMG_1.JPG", "photo", "wrong.gif", "a [1].png"])
def test_names_do_not_matter(place, tree, encoded, name):
    dataset = load_dataset(place(tree | {f"train/cat/{name}": encoded(77)}))
    images = [*dataset.train.images[:, 0, 0, 0], *dataset.validation.images[:, 0, 0, 0]]
    assert 77 in images


def test_home_of_nobody_is_no_home():
    with pytest.raises(FileNotFoundError, match="~nobody-of-that-name/images"):
        load_dataset("~nobody-of-that-name/images")


def test_empty_name_is_an_error():
    with pytest.raises(ValueError, match="`name_or_path` must be a path. Received: name_or_path=''"):
        load_dataset("")


@pytest.mark.parametrize("name", ["../x.png", "train/../../x.png", "/etc/x.png"])
def test_zip_with_names_outside_of_it_is_an_error(tmp_path, tree, name):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for entry, data in [*tree.items(), (name, b"")]:
            archive.writestr(entry, data)
    with pytest.raises(ValueError, match="must have no names outside of it"):
        load_dataset(tmp_path / "pets.zip")


def test_zip_with_an_entry_for_itself_is_read(tmp_path, tree):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for entry, data in [("./", b""), *tree.items()]:
            archive.writestr(entry, data)
    assert len(load_dataset(tmp_path / "pets.zip").test) == 2


def test_accents_are_one_sign_or_two(place, encoded):
    files = {f"train/caf\u00e9/{i}.png": encoded(i) for i in range(3)}
    files |= {f"train/cafe\u0301/{i}.png": encoded(i) for i in range(3, 6)} | {"test/cafe\u0301/0.png": encoded()}
    dataset = load_dataset(place(files))
    assert dataset.class_names == ("caf\u00e9",)
    assert len(dataset.train) + len(dataset.validation) == 6


def test_file_named_like_a_split_makes_no_splits(place, encoded):
    files = {f"{name}/{i}.png": encoded(10 * i) for name in ("cat", "dog") for i in range(4)}
    with pytest.raises(ValueError, match="in `class/file`, without the folders `train` and `test`. Received: .*test'"):
        load_dataset(place({**files, "test": b"no image"}))
