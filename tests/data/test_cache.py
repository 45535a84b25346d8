"""Images are decoded once, into a cache that is whole or not there."""

import copy
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo.data import cache
from kzoo.data.images import Decoding

PNGS = [np.random.RandomState(i).randint(0, 256, (6, 5, 3)).astype(np.uint8) for i in range(70)]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "decoded"


@pytest.fixture
def photos(tmp_path):
    """35 images of each of two classes, without splits."""
    for i, pixels in enumerate(PNGS):
        path = tmp_path / "photos.v2" / ("cat", "dog")[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "photos.v2"


@pytest.fixture
def on_disk(monkeypatch):
    monkeypatch.setattr(cache, "IN_MEMORY", 0)


def images_of(dataset):
    return {
        name: pixels
        for part in (dataset.train, dataset.validation, dataset.test)
        for name, pixels in zip(part.names, part.images, strict=True)
    }


@pytest.mark.parametrize("limit", [0, 1 << 28])
def test_images_are_those_of_the_files(photos, monkeypatch, limit):
    monkeypatch.setattr(cache, "IN_MEMORY", limit)
    for _ in range(2):  # decoded, and from the cache
        dataset = kzoo.load_dataset(photos)
        assert dataset.name == "photos.v2"
        found = images_of(dataset)
        assert len(found) == 70
        for i, pixels in enumerate(PNGS):
            np.testing.assert_array_equal(found[f"{('cat', 'dog')[i % 2]}/{i:02}.png"], pixels)


def test_second_time_nothing_is_decoded(photos, monkeypatch):
    first = images_of(kzoo.load_dataset(photos))
    monkeypatch.setattr(Decoding, "decode", None)
    assert images_of(kzoo.load_dataset(photos)).keys() == first.keys()


@pytest.mark.parametrize("change", ["content", "time", "new", "size", "resize", "versions"])
def test_whatever_decides_the_pixels_makes_another_cache(photos, home, monkeypatch, change):
    kzoo.load_dataset(photos, image_size=8)
    options = {"image_size": 8}
    path = photos / "cat" / "00.png"
    match change:
        case "content":
            Image.new("RGB", (5, 6)).save(path)
        case "time":
            os.utime(path, (1, 1))
        case "new":
            shutil.copy(path, photos / "cat" / "99.png")
        case "size":
            options = {"image_size": 9}
        case "resize":
            options |= {"resize": "crop"}
        case "versions":
            monkeypatch.setattr(cache, "decoder_versions", lambda: {"pillow": "99"})
    kzoo.load_dataset(photos, **options)
    assert len([path for path in home.iterdir() if path.is_dir()]) == 2


@pytest.mark.usefixtures("on_disk")
def test_splits_are_views(photos):
    dataset = kzoo.load_dataset(photos)
    assert dataset.train._examples is dataset.test._examples is dataset.validation._examples
    part = dataset.train.take([3, 1]).take([1, 0])
    np.testing.assert_array_equal(part.images, dataset.train.read([1, 3]))
    assert part.names.tolist() == dataset.train.names[[1, 3]].tolist()


@pytest.mark.usefixtures("on_disk")
def test_statistics_and_evaluation_are_those_of_arrays(photos):
    dataset = kzoo.load_dataset(photos, image_size=8)
    pixels = dataset.train.images / 255
    np.testing.assert_allclose(dataset.pixel_mean, pixels.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(dataset.pixel_std, pixels.std((0, 1, 2)), rtol=1e-12)
    model = kzoo.resnet(8, input_shape=(8, 8, 3), classes=2)
    by_split = kzoo.evaluate(model, dataset.train, batch_size=16)
    by_array = kzoo.evaluate(model, dataset.train.images, dataset.train.labels, batch_size=16)
    assert by_split.loss == pytest.approx(by_array.loss, rel=1e-6)
    np.testing.assert_array_equal(by_split.confusion, by_array.confusion)


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda split: pickle.loads(pickle.dumps(split))])
def test_splits_are_copied(photos, copied):
    split = kzoo.load_dataset(photos).test
    np.testing.assert_array_equal(copied(split).images, split.images)


def test_batches_are_the_same_from_everywhere(photos, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(photos.rglob("*.png")):
            archive.write(path, path.relative_to(photos))
    in_memory = kzoo.load_dataset(photos)
    monkeypatch.setattr(cache, "IN_MEMORY", 0)
    stored = {"cache": kzoo.load_dataset(photos), "zip": kzoo.load_dataset(tmp_path / "photos.zip")}

    def batches(split):
        options = {"batch_size": 8, "seed": 3, "shuffle": True, "augmentation": kzoo.Augmentation()}
        found = kzoo.Batches(split, 2, **options)
        return [array for index in (0, 2) for array in found.batch(1, index)]

    for dataset in stored.values():
        for a, b in zip(batches(in_memory.train), batches(dataset.train), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("on_disk")
def test_damage_is_told(photos, home):
    dataset = kzoo.load_dataset(photos)
    (folder,) = (path for path in home.iterdir() if path.is_dir())
    with (folder / "pixels").open("r+b") as file:
        file.write(bytes([PNGS[0][0, 0, 0] ^ 1]))
    whole = dataset.train.joined([dataset.validation, dataset.test])
    with pytest.raises(ValueError, match="image 0 is damaged. Run `kzoo data cache clear`"):
        whole.read(np.arange(len(whole)))


@pytest.mark.parametrize("damage", ["cut", "no manifest", "bad manifest", "no index", "empty index", "a file"])
def test_cache_that_is_not_whole_is_made_anew(photos, home, capsys, damage):
    kzoo.load_dataset(photos)
    (folder,) = (path for path in home.iterdir() if path.is_dir())
    match damage:
        case "cut":
            os.truncate(folder / "pixels", 100)
        case "no manifest":
            (folder / "manifest.json").unlink()
        case "bad manifest":
            (folder / "manifest.json").write_text("[]")
        case "no index":
            (folder / "index.npz").write_bytes(b"PK")
        case "empty index":
            (folder / "index.npz").write_bytes(b"")
        case "a file":
            shutil.rmtree(folder)
            folder.touch()
    assert len(images_of(kzoo.load_dataset(photos))) == 70
    assert ("must be a whole cache of images" in capsys.readouterr().err) == (damage != "a file")


def test_all_unreadable_files_are_listed_or_skipped(photos):
    for name in ("cat/00.png", "dog/01.png", "dog/03.png"):
        path = photos / name
        path.write_bytes(path.read_bytes()[:60])
    (photos / "cat" / "empty.jpg").touch()
    (photos / "cat" / "movie.mp4").write_bytes(b"no image")
    for _ in range(2):  # the cache knows it, too
        with pytest.raises(ValueError, match=r"5 of 72 files of .* \(--skip-unreadable\)") as told:
            kzoo.load_dataset(photos)
        for name in ("cat/00.png", "dog/01.png", "dog/03.png", "cat/empty.jpg", "cat/movie.mp4"):
            assert f"{photos / name}" in str(told.value)
        assert "BytesIO" not in str(told.value)
        with pytest.warns(UserWarning, match="5 of 72 files cannot be read and are left out"):
            dataset = kzoo.load_dataset(photos, skip_unreadable=True)
        assert len(images_of(dataset)) == 67


def test_errors_of_the_disk_are_not_kept(photos, monkeypatch):
    from kzoo.data.files import Folder

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "read", lambda self, name: exec("raise OSError(5, 'Input/output error')"))
        with pytest.raises(OSError, match=r"Input/output error: '.*cat/00.png'"):
            kzoo.load_dataset(photos)
    assert len(images_of(kzoo.load_dataset(photos))) == 70


def test_full_disk_is_foreseen(photos, home, monkeypatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 5000))
    with pytest.raises(OSError, match=r"take 6,300 bytes; the disk has 5,000 left. Set KZOO_HOME"):
        kzoo.load_dataset(photos)
    assert not [path for path in home.iterdir() if path.is_dir()]


def test_without_a_place_to_keep_them_images_are_decoded_all_the_same(photos, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KZOO_HOME", str(tmp_path / "file"))
    assert len(images_of(kzoo.load_dataset(photos))) == 70


KILLED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which who runs the tests in the background has not
from kzoo.data import images
decode, count = images.Decoding.decode, 0
def killed(self, data, name):
    global count
    count += 1
    if count == 40:
        os.kill(os.getpid(), signal.SIGKILL if sys.argv[2] == "kill" else signal.SIGINT)
    return decode(self, data, name)
images.Decoding.decode = killed
import kzoo
kzoo.load_dataset(sys.argv[1])
"""


@pytest.mark.parametrize("way", ["kill", "interrupt"])
def test_nothing_that_looks_whole_is_left_by_a_death(photos, home, capsys, way):
    done = subprocess.run([sys.executable, "-c", KILLED, str(photos), way], capture_output=True)
    assert done.returncode in (-signal.SIGKILL, -signal.SIGINT, 1, 130)
    assert all(path.name.startswith(".") for path in home.iterdir())
    assert len(images_of(kzoo.load_dataset(photos))) == 70
    assert ("was interrupted before: it starts anew" in capsys.readouterr().err) == (way == "kill")
    assert not [path for path in home.iterdir() if path.name.startswith(".aside")]


def test_two_processes_decode_once(photos, home):
    code = "import kzoo, sys; print(len(kzoo.load_dataset(sys.argv[1]).train))"
    both = [subprocess.Popen([sys.executable, "-c", code, str(photos)], stdout=subprocess.PIPE) for _ in range(2)]
    assert {one.communicate()[0] for one in both} == {b"50\n"}
    assert len([path for path in home.iterdir() if path.is_dir()]) == 1


def test_cache_is_listed_and_cleared(photos, home):
    kzoo.load_dataset(photos)
    (home / ".aside.0").mkdir()
    entries = cache.cached_entries()
    assert [entry["state"] for entry in entries] == ["incomplete", "whole"]
    assert (entries[1]["source"], entries[1]["shape"]) == (str(photos), [70, 6, 5, 3])
    assert cache.clear_cache() > 70 * 6 * 5 * 3
    assert cache.cached_entries() == []


def short_run(dataset, tmp_path):
    recipe = kzoo.recipe("default").override(epochs=1, patience=0)
    model = kzoo.resnet(8, input_shape=dataset.image_shape, classes=2)
    return kzoo.fit(model, dataset, recipe, run_dir=tmp_path / "run", verbose=0)


def test_run_keeps_its_splits(photos, tmp_path):
    dataset = kzoo.load_dataset(photos, image_size=8, resize="pad", background=9)
    run = short_run(dataset, tmp_path)
    listed = json.loads((run.directory / "splits.json").read_text())
    assert listed == dataset.file_names
    assert {part: len(names) for part, names in listed.items()} == {"train": 50, "validation": 6, "test": 14}
    Image.new("RGB", (5, 6)).save(photos / "cat" / "0.png")
    with pytest.warns(UserWarning, match="1 files that the splits do not list are left out"):
        again = run.load_dataset()
    assert again.file_names == listed
    assert run.decoding(run.load_model()) == Decoding((8, 8), "pad", 3, 9)
    other = run.load_dataset(photos)
    assert other.source["resize"] == "pad"
    np.testing.assert_array_equal(other.test.images[0, 0, 7], [9, 9, 9])


def test_predictions_see_the_pixels_of_the_training(photos, tmp_path):
    dataset = kzoo.load_dataset(photos, image_size=8, resize="crop")
    run = short_run(dataset, tmp_path)
    model = run.load_model()
    found = kzoo.predict_files(run, [photos / name for name in dataset.test.names], top=2)
    logits = model.predict(dataset.test.images, verbose=0).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for one, probabilities in zip(found, expected, strict=True):
        assert dict(zip(one.classes, one.probabilities, strict=True)) == pytest.approx(
            dict(zip(dataset.class_names, probabilities, strict=True)), abs=1e-5
        )


@pytest.mark.slow
def test_many_photographs_need_little_memory(tmp_path):
    """20,000 images of 224x224 pixels, 3 GB decoded."""
    random = np.random.RandomState(0)
    files = []
    for _ in range(50):
        file = io.BytesIO()
        Image.fromarray(random.randint(0, 256, (28, 28, 3)).astype(np.uint8)).resize((224, 224)).save(file, "JPEG")
        files.append(file.getvalue())
    for count in (1_000, 20_000):
        for i in range(count):
            path = tmp_path / str(count) / f"class{i % 10}" / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[i % 50])
    peaks, seconds = {}, {}
    for count in (1_000, 20_000, 20_000):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", TRAIN, str(tmp_path / str(count))], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        seconds[count] = time.perf_counter() - started
        peaks[count] = int(done.stdout.splitlines()[-1])
    assert peaks[20_000] - peaks[1_000] < 1_200_000  # kB


TRAIN = """
import resource, sys
import keras, kzoo
dataset = kzoo.load_dataset(sys.argv[1], validation=0.02, test=0.02)
model = keras.Sequential([keras.Input((224, 224, 3)), keras.layers.Conv2D(4, 7, 8), keras.layers.ReLU(),
                          keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)])
model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
print(dataset.pixel_mean)
model.fit(kzoo.Batches(dataset.train, 10, batch_size=32, shuffle=True), steps_per_epoch=50, shuffle=False, verbose=0)
kzoo.evaluate(model, dataset.test, batch_size=32)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def files_read(monkeypatch):
    """The names of the files that are decoded from here on."""
    names = []
    decode = kzoo.Decoding.decode
    monkeypatch.setattr(
        kzoo.Decoding, "decode", lambda self, data, name: names.append(name) or decode(self, data, name)
    )
    return names


def test_without_the_cache_only_what_is_read_is_decoded(tree, place, monkeypatch):
    path = place(tree)
    names = files_read(monkeypatch)
    uncached = kzoo.load_dataset(path, cache=False, validation=0.3)
    assert uncached.test.read(np.array([1, 0]))[:, 0, 0, 0].tolist() == [91, 90]
    assert len(names) == 3  # the first of all says how large they are
    cached = kzoo.load_dataset(path, validation=0.3)
    names.clear()
    assert uncached.pixel_mean == cached.pixel_mean
    assert len(names) == len(uncached.train)
    np.testing.assert_array_equal(uncached.train.images, cached.train.images)
    names.clear()
    kzoo.load_dataset(path, cache=False, validation=0.3).train.images  # noqa: B018
    assert not names  # what is in the cache is taken from there


def test_without_the_cache_labels_of_records_are_read_all_the_same(tree, place, tmp_path):
    prepared = kzoo.prepare_dataset("pets", data_dir=tmp_path, source=place(tree), progress=False)
    uncached, cached = (kzoo.load_dataset(prepared, cache=cache) for cache in (False, True))
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(uncached, part).labels, getattr(cached, part).labels)
        np.testing.assert_array_equal(getattr(uncached, part).images, getattr(cached, part).images)


def test_without_the_cache_nobody_knows_what_to_skip(tree, place, encoded):
    tree["train/cat/wide.png"] = encoded(size=(9, 9))
    tree["train/cat/zzz.png"] = b"broken"
    path = place(tree)
    with pytest.raises(ValueError, match=r"`cache` must be True to skip what cannot be read\. Received: cache=False"):
        kzoo.load_dataset(path, skip_unreadable=True, cache=False)
    dataset = kzoo.load_dataset(path, cache=False)
    whole = dataset.train.joined([dataset.validation])
    with pytest.raises(ValueError, match="wide.png' must have the size of 'the first image', 3x4 pixels.*: 9x9"):
        whole.read(np.flatnonzero(["wide" in name for name in whole.names]))
    with pytest.raises(ValueError, match="zzz.png' must be a readable image file"):
        whole.read(np.flatnonzero(["zzz" in name for name in whole.names]))
