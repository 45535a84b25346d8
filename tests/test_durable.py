"""What is written is whole or not there, whatever dies, and errors of the disk name what was written."""

import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo import durable
from kzoo.data.report import look_at
from kzoo.parity.comparison import Comparison
from kzoo.parity.recording import Recording
from kzoo.parity.report import write_report
from kzoo.presets.loading import replace_file
from kzoo.training.compare import compare_runs
from kzoo.training.run import METRICS, write_json

# Starts as the program does, without Keras.
HOLDER = """
import os, sys
sys.argv[0] = "kzoo"
from pathlib import Path
from kzoo.durable import private_folder
with private_folder(Path(sys.argv[1])) as folder:
    (folder / "large").write_bytes(bytes(1000))
    print(folder, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def files_of_at_most(size_bytes):
    """Lets the system refuse larger files, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def holder_of_a_private_folder(root):
    """Another process that has a private folder: its first line of output says which."""
    command = [sys.executable, "-c", HOLDER, str(root)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        process.folder = process.stdout.readline().strip()
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def photos(tmp_path):
    for index in range(20):
        path = tmp_path / "photos" / "train" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 5), (index, 0, 0)).save(path)
    return tmp_path / "photos"


@pytest.fixture
def run(tmp_path):
    config = {
        "model": {"name": "resnet20", "architecture": {}},
        "data": {"name": "digits", "source": None, "class_names": ["a", "b"]},
        "recipe": {"precision": "float32", "epochs": 1},
        "seed": 0,
    }
    metrics = dict.fromkeys(METRICS, 0) | dict.fromkeys(("model", "data", "backend"), "a")
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "metrics.json").write_text(json.dumps(metrics))
    (directory / "history.csv").write_text("epoch,loss,val_loss\n1,2.5,2.0\n")
    return kzoo.Run(directory)


def recording():
    settings = {"model": "m", "data": {"name": "d"}, "steps": 1, "drift": False, "dropout": 0, "seed": 0}
    settings["recipe"] = {"precision": "float32", "batch_size": 1, "learning_rate": 0.1}
    about = dict.fromkeys(["backend", "device", "python", "platform", "started"], "") | {"versions": {}}
    return Recording("r", settings, about, {"loss/1": np.arange(100)})


WRITERS = {
    "history.csv": lambda path, run, photos: run.write_history([{"epoch": 1, "loss": 0.5}]),
    "config.json": lambda path, run, photos: write_json(path, {"a": "b" * 100}),
    "a.weights.h5": lambda path, run, photos: replace_file(path, {}, {"a": np.zeros(100)}),
    "a.npz": lambda path, run, photos: recording().save(path),
    "a.md": lambda path, run, photos: write_report(Comparison((recording(), recording()), (), ()), path),
    "a.png": lambda path, run, photos: compare_runs([run], path),
    "a.html": lambda path, run, photos: look_at(str(photos), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_full_disk_leaves_what_was_there_and_is_told_with_its_name(name, run, photos, monkeypatch, tmp_path):
    monkeypatch.setenv("KZOO_HOME", str(tmp_path / "home"))
    path = run.directory / name
    path.write_text("before")
    if name == "a.html":
        look_at(str(photos))  # decodes
    before = {one.name: one.read_bytes() for one in run.directory.iterdir()}
    with files_of_at_most(10), pytest.raises(OSError, match="File too large while writing") as caught:
        WRITERS[name](path, run, photos)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert {one.name: one.read_bytes() for one in run.directory.iterdir()} == before


@pytest.mark.parametrize("name", ["a.npz", "a.md", "a.png", "a.html"])
def test_output_that_is_a_link_stays_one_and_a_pipe_is_refused(name, run, photos, monkeypatch, tmp_path):
    monkeypatch.setenv("KZOO_HOME", str(tmp_path / "home"))
    (tmp_path / f"link-{name}").symlink_to(tmp_path / name)
    WRITERS[name](tmp_path / f"link-{name}", run, photos)
    assert (tmp_path / f"link-{name}").is_symlink()
    assert (tmp_path / name).stat().st_size > 100
    os.mkfifo(tmp_path / f"pipe-{name}")
    with pytest.raises(ValueError, match="must be the name of a file"):
        WRITERS[name](tmp_path / f"pipe-{name}", run, photos)


def test_full_disk_is_told_with_the_folder(tmp_path):
    failing = pytest.raises(OSError, match="File too large while writing")
    with files_of_at_most(10), failing as caught, durable.written_folder(tmp_path / "new") as aside:
        (aside / "a").write_bytes(bytes(100))
    assert caught.value.filename == str(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_decoding_onto_a_full_disk_is_told_with_the_folder(photos, monkeypatch, tmp_path):
    monkeypatch.setenv("KZOO_HOME", str(tmp_path / "home"))
    with files_of_at_most(10), pytest.raises(OSError, match="File too large while writing") as caught:
        kzoo.load_dataset(photos)
    assert caught.value.filename.startswith(str(tmp_path / "home" / "decoded"))
    assert all(path.suffix == ".lock" for path in (tmp_path / "home" / "decoded").iterdir())


def test_preparing_onto_a_full_disk_is_told_with_the_folder(photos, monkeypatch, tmp_path):
    monkeypatch.setenv("KZOO_HOME", str(tmp_path / "home"))
    kzoo.load_dataset(photos)  # decodes
    with files_of_at_most(10), pytest.raises(OSError, match=r"The disk must have room .*File too large") as caught:
        kzoo.prepare_dataset("pets", data_dir=tmp_path / "data", source=photos)
    assert caught.value.filename == str(tmp_path / "data" / "pets" / "1.0.0")
    assert os.listdir(tmp_path / "data") == []


def test_folder_of_a_file_that_is_none_is_told_with_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "a.json"
    with pytest.raises(NotADirectoryError, match="while writing") as caught:
        write_json(path, {})
    assert caught.value.filename == str(path)


def test_link_in_the_place_of_what_is_written_aside_is_not_followed(tmp_path):
    (tmp_path / "kept").write_text("kept")
    durable.aside_of(tmp_path / "a").symlink_to(tmp_path / "kept")
    with pytest.raises(OSError, match="symbolic links"), durable.written_file(tmp_path / "a") as aside:
        aside.write_text("new")
    assert (tmp_path / "kept").read_text() == "kept"


def test_writers_of_one_file_wait_for_each_other(tmp_path):
    seen = []

    def write(text):
        with durable.written_file(tmp_path / "a") as aside:
            seen.append(text)
            aside.write_text(text)
            seen.append(aside.read_text())

    threads = [threading.Thread(target=write, args=[str(number) * 1000]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen[::2] == seen[1::2]
    assert (tmp_path / "a").read_text() in seen
    assert os.listdir(tmp_path) == ["a"]


def test_private_folder_of_the_dead_is_removed_and_that_of_the_living_stays(tmp_path):
    with holder_of_a_private_folder(tmp_path) as other:
        with durable.private_folder(tmp_path) as own:
            durable.remove_left(tmp_path)
            assert {str(path) for path in tmp_path.iterdir()} == {str(own), other.folder}
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert [str(path) for path in tmp_path.iterdir()] == [other.folder]
    with durable.private_folder(tmp_path) as own:
        assert list(tmp_path.iterdir()) == [own]
    assert list(tmp_path.iterdir()) == []


def test_folders_of_others_are_never_taken_for_left(tmp_path):
    for name in (".kzoo-data.private", "kzoo-data", ".aside.data"):  # the first without a lock
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "lock").write_text("")
    (tmp_path / ".kzoo-link.private").symlink_to(tmp_path / "elsewhere")
    before = set(tmp_path.rglob("*"))
    durable.remove_left(tmp_path)
    assert set(tmp_path.rglob("*")) == before


def test_what_a_death_left_in_the_temporary_folder_goes_with_the_next_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with holder_of_a_private_folder(tmp_path) as other:
        other.kill()
        other.wait()
        assert len(list(tmp_path.iterdir())) == 1
    kzoo.save_weights(kzoo.resnet(8, input_shape=(8, 8, 3)), tmp_path / "a.weights.h5")
    assert os.listdir(tmp_path) == ["a.weights.h5"]


def test_what_deaths_left_of_other_data_goes_with_the_next(photos, monkeypatch, tmp_path):
    monkeypatch.setenv("KZOO_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "decoded" / ".aside.0").mkdir(parents=True)
    (tmp_path / "data" / ".others-incomplete").mkdir(parents=True)
    (tmp_path / "data" / ".others-incomplete" / "lock").write_text("")
    kzoo.prepare_dataset("pets", data_dir=tmp_path / "data", source=photos, progress=False)
    assert os.listdir(tmp_path / "data") == ["pets"]
    assert [path.name for path in (tmp_path / "home" / "decoded").iterdir() if path.name.startswith(".aside")] == []
