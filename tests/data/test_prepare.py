import dataclasses
import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from kzoo import download as download_module
from kzoo.data import load_dataset, originals, prepare_dataset, prepared, records
from kzoo.data.originals import ORIGINALS

random = np.random.RandomState(3)

PREFIX = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}


def prepare(name: str, data_dir: Path, **arguments: object) -> Path:
    return prepare_dataset(name, data_dir=data_dir, progress=False, **arguments)


def in_file_order(name: str, directory: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a prepared split, in the order of their ids, read by tensorflow-datasets alone."""
    import tensorflow_datasets as tfds

    source = tfds.builder_from_directory(str(directory)).as_data_source(split)
    examples = sorted(source, key=lambda example: example["id"])
    return np.stack([example["image"] for example in examples]), np.array([example["label"] for example in examples])


class Archives:
    """Archives in the layout of their publisher, with random images, whose hashes kzoo takes for the published."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch

    def cifar(self, name: str, files: dict[str, bytes]) -> Path:
        path = self.folder / ORIGINALS[name].files[0].name
        with tarfile.open(path, "w:gz") as archive:
            for file, data in files.items():
                member = tarfile.TarInfo(f"{PREFIX[name]}/{file}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return self.publish(name, path)

    def publish(self, name: str, *paths: Path) -> Path:
        """Makes kzoo expect these very files, and download them from here."""
        files = tuple(
            originals.RemoteFile(path.as_uri(), path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in paths
        )
        self.monkeypatch.setitem(ORIGINALS, name, dataclasses.replace(ORIGINALS[name], files=files))
        return paths[0]


@pytest.fixture
def archives(tmp_path, monkeypatch) -> Archives:
    (tmp_path / "archives").mkdir()
    return Archives(tmp_path / "archives", monkeypatch)


def cifar10_files() -> tuple[dict[str, bytes], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The six record files with 20 images each, and what they hold, by split."""
    labels = np.arange(120) % 10
    images = random.randint(0, 256, (120, 32, 32, 3)).astype(np.uint8)
    # One record: the label, then the red, the green and the blue plane.
    lines = [bytes([label]) + image.transpose(2, 0, 1).tobytes() for label, image in zip(labels, images, strict=True)]
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    files = {name: b"".join(lines[20 * i : 20 * i + 20]) for i, name in enumerate(names)}
    return files, {"train": (images[:100], labels[:100]), "test": (images[100:], labels[100:])}


@pytest.fixture
def cifar10(archives) -> Path:
    return archives.cifar("cifar10", cifar10_files()[0])


@pytest.mark.parametrize("split", ["train", "test"])
def test_prepare_cifar10_keeps_every_pixel_and_label(archives, tmp_path, split):
    files, expected = cifar10_files()
    directory = prepare("cifar10", tmp_path, archive=archives.cifar("cifar10", files))
    images, labels = in_file_order("cifar10", directory, split)
    assert np.array_equal(images, expected[split][0])
    assert np.array_equal(labels, expected[split][1])


def test_prepare_cifar100_takes_the_fine_label_and_knows_its_superclass(archives, tmp_path):
    fine = np.repeat(np.arange(100, dtype=np.uint8), 2)
    data = b"".join(bytes([7, label]) + bytes([label]) * 3072 for label in fine)
    directory = prepare("cifar100", tmp_path, archive=archives.cifar("cifar100", {"train.bin": data, "test.bin": data}))
    dataset = load_dataset("cifar100", data_dir=tmp_path)
    assert np.array_equal(dataset.test.images[:, 0, 0, 0], dataset.test.labels)
    assert dataset.class_names[:4] == ("apple", "aquarium_fish", "baby", "bear")

    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(directory))
    example = next(example for example in builder.as_data_source("test") if example["label"] == 1)
    assert builder.info.features["coarse_label"].int2str(example["coarse_label"]) == "fish"


def test_cifar100_classes_are_a_hundred_in_twenty_superclasses_of_five():
    assert len(ORIGINALS["cifar100"].class_names) == 100
    assert [len(names) for names in ORIGINALS["cifar100"].superclasses.values()] == [5] * 20


def test_prepare_svhn_counts_ten_as_zero(archives, tmp_path):
    from scipy.io import savemat

    images = random.randint(0, 256, (32, 32, 3, 20)).astype(np.uint8)
    labels = np.arange(1, 21).reshape(20, 1) % 10
    labels[labels == 0] = 10
    paths = [archives.folder / f"{split}_32x32.mat" for split in ("train", "test")]
    for path in paths:
        savemat(path, {"X": images, "y": labels.astype(np.uint8)})
    archives.publish("svhn_cropped", *paths)
    directory = prepare("svhn_cropped", tmp_path, archive=archives.folder)
    read, digits = in_file_order("svhn_cropped", directory, "test")
    assert np.array_equal(read, images.transpose(3, 0, 1, 2))
    assert digits.tolist() == [*range(1, 10), 0, *range(1, 10), 0]


READ = """
import sys
import tensorflow_datasets as tfds
for source in (
    tfds.builder_from_directory(sys.argv[1]).as_data_source("train"),
    tfds.data_source("cifar10", split="train", data_dir=sys.argv[2]),
):
    assert len(source) == 100, len(source)
    assert source[3]["image"].shape == (32, 32, 3)
from kzoo.data import load_dataset
assert len(load_dataset("cifar10", data_dir=sys.argv[2]).train) == 90
assert "tensorflow" not in sys.modules
"""

PREPARE = """
import dataclasses, sys
from kzoo.data import originals, prepare_dataset

files = (originals.{file},)
originals.ORIGINALS["cifar10"] = dataclasses.replace(originals.ORIGINALS["cifar10"], files=files)
prepare_dataset("cifar10", data_dir=sys.argv[1])
assert "tensorflow" not in sys.modules
"""

without_tensorflow = pytest.mark.skipif(
    os.environ.get("KERAS_BACKEND") == "tensorflow", reason="Keras itself needs TensorFlow with this backend"
)


@without_tensorflow
def test_prepared_dataset_is_read_without_tensorflow(cifar10, tmp_path):
    directory = prepare("cifar10", tmp_path, archive=cifar10)
    command = [sys.executable, "-c", READ, str(directory), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@without_tensorflow
def test_prepare_needs_no_tensorflow(cifar10, tmp_path):
    code = PREPARE.format(file=ORIGINALS["cifar10"].files[0])
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""  # progress belongs on standard error
    assert (tmp_path / "cifar10" / "3.0.2" / "dataset_info.json").is_file()


def test_prepare_downloads_into_the_manual_folder(cifar10, tmp_path):
    prepare("cifar10", tmp_path)
    downloaded = tmp_path / "downloads" / "manual" / "cifar-10-binary.tar.gz"
    assert downloaded.read_bytes() == cifar10.read_bytes()


def test_prepare_from_images_gives_what_the_folder_gives(place, tree, tmp_path):
    path = place(tree)
    prepare("pets", tmp_path / "data", source=path)
    folder, written = load_dataset(path), load_dataset("pets", data_dir=tmp_path / "data")
    assert written.class_names == folder.class_names
    assert sorted(image.tobytes() for image in written.test.images) == [image.tobytes() for image in folder.test.images]


def test_prepare_from_images_keeps_a_validation_split(place, tree, encoded, tmp_path):
    prepare("pets", tmp_path, source=place(tree | {"validation/dog/0.png": encoded(55)}))
    dataset = load_dataset("pets", data_dir=tmp_path)
    assert dataset.validation.images[:, 0, 0, 0].tolist() == [55]


def test_prepare_resizes(place, tree, tmp_path):
    prepare("pets", tmp_path, source=place(tree), image_size=(8, 6))
    assert load_dataset("pets", data_dir=tmp_path).image_shape == (8, 6, 3)


def test_prepare_returns_a_path_that_loads(place, tree, tmp_path):
    directory = prepare("pets", tmp_path, source=place(tree))
    assert load_dataset(directory).name == "pets"


def test_load_dataset_takes_the_newest_version(place, tree, tmp_path):
    directory = prepare("pets", tmp_path, source=place(tree))
    for version in ("9.0.0", "10.0.0"):
        (directory.parent / version).mkdir()
        (directory.parent / version / "dataset_info.json").touch()
    assert prepared.prepared_directory(tmp_path, "pets").name == "10.0.0"


def test_load_dataset_lists_what_is_prepared(place, tree, tmp_path):
    prepare("pets", tmp_path, source=place(tree))
    with pytest.raises(ValueError, match="digits, pets, svhn_cropped"):
        load_dataset("pest", data_dir=tmp_path)


def test_load_dataset_rejects_tfrecords_and_says_what_to_do(place, tree, tmp_path):
    directory = prepare("pets", tmp_path, source=place(tree))
    info = directory / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    with pytest.raises(ValueError, match=r"array_record .*Received: tfrecord.*Move .* away.*kzoo data prepare pets"):
        load_dataset("pets", data_dir=tmp_path)


def test_grey_images_of_a_table_are_prepared(tree, tmp_path):
    rows = ["image,label,split"]
    for name, data in tree.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
        rows.append(f"{name},{name.split('/')[1]},{name.split('/')[0]}")
    (tmp_path / "train" / "cat" / "0.png").write_bytes(b"broken")
    (tmp_path / "pets.csv").write_text("\n".join(rows))
    arguments = {"image_size": (6, 6), "resize": "pad", "channels": 1}
    with pytest.warns(UserWarning, match="1 of 8 files cannot be read and are left out"):
        prepare("pets", tmp_path / "data", source=tmp_path / "pets.csv", skip_unreadable=True, **arguments)
    dataset = load_dataset("pets", data_dir=tmp_path / "data", channels=1)
    assert dataset.image_shape == (6, 6, 1)
    assert dataset.class_names == ("cat", "dog")
    assert sorted(dataset.test.images[:, 3, 3, 0].tolist()) == [90, 91]
    assert (dataset.test.images[:, :, 5] == 255).all()  # 4x3 pixels become 6x5


@pytest.mark.parametrize("name", ["a\nb", "cat ", " dog", "a\u2028b"])
def test_prepare_refuses_class_names_that_would_be_read_as_others(tree, tmp_path, name):
    for path, data in tree.items():
        file = tmp_path / path.replace("/cat/", f"/{name}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    with pytest.raises(ValueError, match="A class must be named by one line of text, without space around it. Rec"):
        prepare("pets", tmp_path / "data", source=tmp_path)


def test_prepare_refuses_to_overwrite_what_another_process_made(place, tree, tmp_path, monkeypatch):
    from kzoo.data import prepare as module

    read = module.read_parts
    target = tmp_path / "pets" / "1.0.0"
    monkeypatch.setattr(module, "read_parts", lambda *of, **how: (target.mkdir(parents=True), read(*of, **how))[1])
    with pytest.raises(FileExistsError, match="must not be prepared yet"):
        prepare("pets", tmp_path, source=place(tree))


def test_prepare_refuses_to_overwrite(place, tree, tmp_path):
    directory = prepare("pets", tmp_path, source=place(tree))
    with pytest.raises(FileExistsError, match=f"must not be prepared yet. Received: 'pets', which is in '{directory}'"):
        prepare("pets", tmp_path, source=place({}))


@pytest.mark.parametrize("name", ["Pets", "my pets", "../pets", "1pets", "pets_", ""])
def test_prepare_rejects_a_name_that_is_not_snake_case(tmp_path, name):
    with pytest.raises(ValueError, match=f"`name` must be lower snake case.*Received: name='{name}'"):
        prepare(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("pets", {}, "`name` must be one of cifar10, cifar100, svhn_cropped, unless `source`"),
        ("digits", {}, "`name` must not be that of data that need no preparation, as digits"),
        ("cifar10", {"archive": "a", "source": "b"}, "`archive` and `source` must not both be given"),
        ("cifar10", {"image_size": (8, 8)}, "`image_size` must come with `source`"),
        ("cifar10", {"channels": 1}, "`channels` must come with `source`. Received: channels=1"),
        ("pets", {"source": "b", "image_size": (0, 8)}, "`image_size` must be"),
        ("svhn_cropped", {"archive": __file__}, "`archive` must be the folder with train_32x32.mat, test_32x32.mat"),
        ("cifar10", {"archive": __file__}, "must have the SHA-256 c4a38c50.*Received: "),
    ],
)
def test_prepare_rejects_wrong_arguments(tmp_path, name, arguments, message):
    with pytest.raises(ValueError, match=message):
        prepare(name, tmp_path, **arguments)


@pytest.mark.parametrize("argument", ["archive", "source"])
def test_prepare_names_a_missing_file(tmp_path, argument):
    with pytest.raises(FileNotFoundError, match=f"`{argument}` must .*nowhere"):
        prepare("cifar10", tmp_path, **{argument: tmp_path / "nowhere"})


def test_prepare_rejects_unknown_classes_for_a_known_dataset(place, encoded, tmp_path):
    tree = {f"{split}/{name}/0.png": encoded(size=(32, 32)) for split in ("train", "test") for name in ("cat", "cow")}
    with pytest.raises(ValueError, match=r"exactly the classes of cifar10. Received: unknown classes \['cow'\]"):
        prepare("cifar10", tmp_path, source=place(tree))


def test_prepare_rejects_another_size_for_a_known_dataset(place, tree, tmp_path):
    with pytest.raises(ValueError, match=r"32x32 pixels for cifar10.*Received: shape=\(4, 3, 3\)"):
        prepare("cifar10", tmp_path, source=place(tree))


def drop(files: dict[str, bytes]) -> None:
    del files["test_batch.bin"]


def cut(files: dict[str, bytes]) -> None:
    files["data_batch_2.bin"] = files["data_batch_2.bin"][:-1]


def empty(files: dict[str, bytes]) -> None:
    files["test_batch.bin"] = b""


@pytest.mark.parametrize(("damage", "file"), [(drop, "test_batch"), (cut, "data_batch_2"), (empty, "test_batch")])
def test_prepare_names_what_is_wrong_inside_an_archive(archives, tmp_path, damage, file):
    files, _ = cifar10_files()
    damage(files)
    with pytest.raises(ValueError, match=rf"cifar-10-batches-bin/{file}\.bin'"):
        prepare("cifar10", tmp_path, archive=archives.cifar("cifar10", files))


@pytest.mark.parametrize("content", [b"", b"no archive", "half"])
def test_prepare_names_an_archive_that_cannot_be_read(archives, cifar10, tmp_path, content):
    cifar10.write_bytes(cifar10.read_bytes()[:20_000] if content == "half" else content)
    archives.publish("cifar10", cifar10)
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz' must be a readable"):
        prepare("cifar10", tmp_path, archive=cifar10)


def test_prepare_names_a_mat_file_that_cannot_be_read(archives, tmp_path):
    paths = [archives.folder / f"{split}_32x32.mat" for split in ("train", "test")]
    for path in paths:
        path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(300))
    archives.publish("svhn_cropped", *paths)
    with pytest.raises(ValueError, match=r"train_32x32\.mat' must be a \.mat file"):
        prepare("svhn_cropped", tmp_path, archive=archives.folder)


@pytest.fixture
def failing_write(monkeypatch) -> Callable[[BaseException], None]:
    """Makes the writing of records fail at the fifth image."""
    encode = records._png

    def fail_with(error: BaseException) -> None:
        calls: Iterator[int] = iter(range(5))

        def png(image: np.ndarray) -> io.BytesIO:
            if next(calls, None) is None:
                raise error
            return encode(image)

        monkeypatch.setattr(records, "_png", png)

    return fail_with


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("write() failed: No space left on device; writing x"),  # what the record writer says
    ],
)
def test_prepare_on_a_full_disk_says_so_and_leaves_nothing(place, tree, tmp_path, failing_write, error):
    failing_write(error)
    with pytest.raises(OSError, match=r"The disk must have room.*No space left on device.*pets/1\.0\.0") as caught:
        prepare("pets", tmp_path / "data", source=place(tree))
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path / "data") == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), ValueError("broken")])
def test_prepare_that_is_interrupted_leaves_nothing(place, tree, tmp_path, failing_write, error):
    failing_write(error)
    with pytest.raises(type(error)):
        prepare("pets", tmp_path / "data", source=place(tree))
    assert os.listdir(tmp_path / "data") == []


KILLED = """
import os, signal, sys
from kzoo.data import records
calls, encode = [], records._png
def png(image):
    calls.append(1)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(image)
records._png = png
import kzoo
kzoo.prepare_dataset("pets", data_dir=sys.argv[1], source=sys.argv[2])
"""


def test_prepare_after_a_death_starts_anew_and_says_so(place, tree, tmp_path, capfd):
    data, source = tmp_path / "data", place(tree)
    done = subprocess.run([sys.executable, "-c", KILLED, data, source], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in data.iterdir()] == [".pets-incomplete"]
    with pytest.raises(ValueError, match="Received: 'pets'"):
        load_dataset("pets", data_dir=data)
    capfd.readouterr()
    prepare_dataset("pets", data_dir=data, source=source)
    printed = capfd.readouterr()
    assert "Preparing pets was interrupted before: it starts anew." in printed.err
    assert "incomplete" not in printed.out + printed.err
    assert len(load_dataset("pets", data_dir=data).test) == 2
    assert [path.name for path in data.iterdir()] == ["pets"]


@pytest.mark.parametrize("shown", [True, False])
def test_bars_of_others_stay_as_they_were(place, tree, tmp_path, shown):
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import tqdm_utils

    (tfds.enable_progress_bar if shown else tfds.disable_progress_bar)()
    try:
        prepare("pets", tmp_path, source=place(tree))
        assert isinstance(tqdm_utils.tqdm(disable=True), tqdm_utils.EmptyTqdm) != shown
    finally:
        tfds.enable_progress_bar()


def test_prepare_by_two_processes_at_once_is_an_error(place, tree, tmp_path):
    from filelock import FileLock

    (tmp_path / "data" / ".pets-incomplete").mkdir(parents=True)
    lock = FileLock(tmp_path / "data" / ".pets-incomplete" / "lock")
    with lock, pytest.raises(FileExistsError, match="'pets' must be prepared by one process. Received: another is at"):
        prepare("pets", tmp_path / "data", source=place(tree))


@pytest.mark.parametrize("content", ["", "[]", '{"features": 1}'])
def test_damaged_information_is_an_error(place, tree, tmp_path, content):
    directory = prepare("pets", tmp_path, source=place(tree))
    (directory / "dataset_info.json").write_text(content)
    with pytest.raises(ValueError, match="must be a dataset that tensorflow-datasets prepared"):
        load_dataset("pets", data_dir=tmp_path)


def test_prepare_keeps_other_versions_when_it_fails(place, tree, tmp_path, failing_write):
    (tmp_path / "data" / "pets" / "0.1.0").mkdir(parents=True)
    failing_write(ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        prepare("pets", tmp_path / "data", source=place(tree))
    assert os.listdir(tmp_path / "data" / "pets") == ["0.1.0"]


def test_prepare_after_a_failed_download_leaves_nothing(archives, cifar10, tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "_BACKOFF_SECONDS", 0.0)
    cifar10.unlink()
    with pytest.raises(download_module.DownloadError, match="No such file"):
        prepare("cifar10", tmp_path / "data")
    assert not (tmp_path / "data" / "cifar10").exists()


@pytest.mark.shared
@pytest.mark.slow
def test_prepare_cifar10_jpeg_whole(shared, tmp_path):
    prepare("cifar10_jpeg", tmp_path, source=shared / "data" / "cifar10-jpeg.zip")
    dataset = load_dataset("cifar10_jpeg", data_dir=tmp_path)
    assert np.bincount(dataset.test.labels).tolist() == [1000] * 10


def test_features_that_would_be_imported_are_refused(tmp_path, place, tree, monkeypatch):
    path = prepare_dataset("pets", data_dir=tmp_path / "data", source=place(tree), progress=False)
    features = path / "features.json"
    features.write_text(features.read_text().replace('"pythonClassName": "', '"pythonClassName": "evil.', 1))
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="must name features of tensorflow-datasets. Received: 'evil"):
        load_dataset(path)
