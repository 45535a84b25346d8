"""What trainings leave and are told, recordings and exports."""

import contextlib
import dataclasses
import hashlib
import io
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
from fuzz.target import coded, target
from PIL import Image

import kzoo
from kzoo.cli.showing import cell
from kzoo.export.class_names import read_class_names, write_class_names
from kzoo.parity import compare
from kzoo.parity.recording import Recording
from kzoo.serving.card import read_card
from kzoo.training.callback_state import give_states
from kzoo.training.checkpoint import NUMBERS as OF_STATE
from kzoo.training.checkpoint import read_checkpoint
from kzoo.training.compare import settings_of
from kzoo.training.keeper import Interval
from kzoo.training.kinds import check_kinds
from kzoo.training.listing import list_runs
from kzoo.training.lock import holder
from kzoo.training.opening import check_same

CONFIG = {
    "model": {"name": "m", "arguments": {"dropout": 0.1}, "pixel_normalization": None, "architecture": {"a": [1]}},
    "data": {"name": "d", "source": {"name_or_path": "x", "resize": "crop"}, "class_names": ["a", "b"]},
    "recipe": {"precision": "float32", "epochs": 2, "schedule": "constant", "warmup": 0.0},
    "seed": 0,
}
METRICS = {
    "model": "m",
    "data": "d",
    "backend": "jax",
    "seed": 0,
    "epochs_run": 2,
    "best_epoch": None,
    "val_loss": 0.5,
    "val_accuracy": 0.5,
    "test_accuracy": 0.25,
    "images_per_second": 10.5,
    "stopped_early": False,
}
NUMBERS = {
    "training": "a",
    "epoch": 1,
    "batch": 2,
    "step": 9,
    "logs": {"loss": 0.5},
    "stopped": False,
    "finished": False,
    "callbacks": [{"class": "EarlyStopping", "state": {"wait": {"value": 1}, "best": {"arrays": 1, "alone": True}}}],
}


def archive(**arrays: np.ndarray) -> bytes:
    """Returns an .npz file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def member(array: np.ndarray) -> bytes:
    """Returns an .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    """Returns a .zip file, not compressed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, data in files.items():
            packed.writestr(zipfile.ZipInfo(name), data)  # which has no time of its own
    return file.getvalue()


def run_with(folder: Path, name: str, content: bytes) -> kzoo.Run:
    """Returns a run directory in which one file is as given."""
    (folder / "config.json").write_bytes(coded(CONFIG))
    (folder / name).write_bytes(content)
    return kzoo.Run(folder)


@target("`checkpoint_every` must", lambda: [b"60s", b"50", b"0.5s", b"10.0"])
def interval(content, folder):
    found = Interval.parse(content.decode(errors="replace"))
    assert (found.seconds is None) != (found.steps is None)
    assert (found.seconds or found.steps) > 0


@target("Received:", lambda: [coded({"epochs": 3, "learning_rate": 0.1, "milestones": [0.5], "schedule": "step"})])
def recipe(content, folder):
    try:
        changes = json.loads(content)
    except (ValueError, RecursionError):
        return
    if isinstance(changes, dict):
        found = kzoo.recipe("default").override(**changes)
        assert found.epochs >= 1
        assert isinstance(found.learning_rate, float)


def of_toml(content: bytes, folder: Path) -> None:
    """Reads a recipe's file; what it gives reads back to the same recipe."""
    path = folder / "recipe.toml"
    path.write_bytes(content)
    found = kzoo.recipe(path)
    path.write_text(found.to_toml(), encoding="utf-8")
    assert kzoo.recipe(path) == found


TOML = b'base = "he2015"\nlearning_rate = 0.2\npatience = "none"\nmilestones = [0.5, 0.75]\npad_mode = "constant"\n'


@target("recipe.toml", lambda: [TOML, kzoo.recipe("default").to_toml().encode()])
def recipe_file(content, folder):
    of_toml(content, folder)


@target(
    "recipe.toml",
    lambda: [coded({"base": "he2015", "epochs": 3, "patience": 2, "milestones": [0.5], "pad_mode": "reflect"})],
)
def recipe_file_of_json(content, folder):
    """TOML whose values are any of JSON's, which Hypothesis knows how to change."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return
    if isinstance(values, dict):
        lines = [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in values.items()]
        of_toml("\n".join(lines).encode(), folder)


@target("config.json", lambda: [coded(CONFIG | {"recipe": dataclasses.asdict(kzoo.recipe("akamaster"))})])
def recipe_of_run(content, folder):
    assert run_with(folder, "config.json", content).recipe.epochs >= 1


class _AnySize:
    input_shape = (None, None, None, 3)


@target("config.json", lambda: [coded(CONFIG)])
def config(content, folder):
    run = run_with(folder, "config.json", content)
    assert all(isinstance(name, str) for name in run.class_names)
    dict(settings_of(run.config))
    list_runs([folder])
    run.decoding(_AnySize())
    with kzoo.precision(run.config["recipe"]["precision"]):
        pass


SOURCE = {
    "name_or_path": "table.csv",
    "data_dir": None,
    "image_size": [2, 2],
    "resize": "stretch",
    "channels": 3,
    "background": 255,
    "skip_unreadable": False,
    "validation": 0.2,
    "test": 0.2,
    "split_seed": 0,
    "flip": None,
}


def data_of_run(folder: Path, source: bytes, splits: bytes | None) -> None:
    """Loads the dataset of a run."""
    if not (folder / "table.csv").exists():
        rows = [f"{name}.png,{number % 2}" for number, name in enumerate("abcdefghij")]
        (folder / "table.csv").write_text("\n".join(["image,label", *rows]))
        for name in "abcdefghij":
            (folder / f"{name}.png").write_bytes(picture())
    config = json.loads(coded(CONFIG)) | {"data": {**CONFIG["data"], "source": json.loads(source)}}
    run = run_with(folder, "config.json", coded(config))
    if splits is not None:
        (folder / "splits.json").write_bytes(splits)
    with contextlib.chdir(folder), contextlib.suppress(FileNotFoundError):  # of another name
        found = run.load_dataset(cache=False)
        assert len(found.train)
        assert len(found.test)


def picture() -> bytes:
    """Returns an image file."""
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, "PNG")
    return file.getvalue()


@target("Received:", lambda: [coded(SOURCE)])
def source(content, folder):
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return
    if found is not None:  # of a dataset made in a program
        data_of_run(folder, content, None)


SPLITS = {"train": [f"{name}.png" for name in "abcdefgh"], "validation": ["i.png"], "test": ["j.png"]}


@target("split", lambda: [coded(SPLITS)])
def splits(content, folder):
    data_of_run(folder, coded(SOURCE), content)


@target("environment.json", lambda: [coded(kzoo.environment.record())], by_kzoo=False, examples=30)
def environment(content, folder):
    try:
        check_same(run_with(folder, "environment.json", content), CONFIG)
    except ValueError as error:
        if "must go on as it began" not in str(error):  # of other versions
            raise


@target("metrics.json", lambda: [coded(METRICS)])
def metrics(content, folder):
    found = run_with(folder, "metrics.json", content).metrics
    assert all(isinstance(cell(value, name), str) for name, value in found.items())
    assert found["test_accuracy"] is None or 0 <= found["test_accuracy"] <= 1


@target("history.csv", lambda: [b"epoch,loss,val_loss\r\n1,0.5,nan\r\n2,,inf\r\n", b'epoch,"a b"\n"1",2'])
def history(content, folder):
    for row in run_with(folder, "history.csv", content).history:
        assert all(isinstance(name, str) and isinstance(value, float) for name, value in row.items())


@target("status.json", lambda: [coded({"pid": 1, "host": "h", "command": "kzoo train", "ended": None})])
def status(content, folder):
    run_with(folder, "status.json", content)
    (found,) = list_runs([folder])
    assert isinstance(found.state, str)
    assert isinstance(holder(folder), str)


SWEEP = {
    "model": "m",
    "arguments": {},
    "data": {"name": "d", "fingerprint": {}},
    "backend": "jax",
    "recipe": {},
    "members": [{"settings": {"epochs": 1}, "seed": 0, "failure": None}, {"settings": {}, "seed": 1, "failure": "no"}],
}


@target("sweep.json", lambda: [coded(SWEEP)])
def sweep(content, folder):
    (folder / "sweep.json").write_bytes(content)
    found = kzoo.Sweep(folder)
    assert len(found.results()) == len(found.members)
    assert sum(row["n"] + row["failed"] + row["missing"] for row in found.summary()) == len(found.members)
    assert all(member.directory.parent == folder for member in found.members)
    found.write_tables()


FILES = {"state.json": coded(NUMBERS), "arrays.npz": archive(a=np.zeros(3), b=np.arange(6).reshape(2, 3))}


def manifest_of(files: dict[str, bytes]) -> bytes:
    """Returns the manifest of a checkpoint of these files."""
    seals = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    return coded({"format": 1, "files": seals})


def checkpoint(folder: Path, name: str, content: bytes) -> None:
    """Reads a checkpoint in which one file is as given, and the manifest says so."""
    path = folder / "step-0000000009"
    path.mkdir(exist_ok=True)
    files = FILES | {name: content}
    for file, data in {"manifest.json": manifest_of(files), **files}.items():
        (path / file).write_bytes(data)
    state = read_checkpoint(path)
    check_kinds(path, state.numbers, OF_STATE)
    assert state.numbers["epoch"] >= 0
    assert state.numbers["batch"] >= 0
    assert state.numbers["stopped"] in (True, False)
    assert all(isinstance(value, float | int) for value in state.numbers["logs"].values())
    with contextlib.suppress(ValueError):  # of other callbacks
        give_states([keras.callbacks.EarlyStopping()], state.numbers["callbacks"], state.arrays)
    assert all(array.dtype.kind in "biuf" for array in state.arrays.values())


@target("step-", lambda: [manifest_of(FILES)])
def checkpoint_manifest(content, folder):
    checkpoint(folder, "manifest.json", content)


@target("step-", lambda: [coded(NUMBERS)])
def checkpoint_state(content, folder):
    checkpoint(folder, "state.json", content)


@target("step-", lambda: [FILES["arrays.npz"]], by_kzoo=False)
def checkpoint_archive(content, folder):
    checkpoint(folder, "arrays.npz", content)


@target("step-", lambda: [member(np.zeros(3)), member(np.ones((2, 3), np.int32))])
def checkpoint_array(content, folder):
    checkpoint(folder, "arrays.npz", zipped({"a.npy": content}))


HEADER = {
    "format": 1,
    "settings": {
        "model": "m",
        "data": {"name": "d"},
        "steps": 1,
        "dropout": 0.1,
        "seed": 0,
        "drift": False,
        "recipe": {"precision": "float64", "batch_size": 2, "learning_rate": 0.1},
    },
    "environment": {"backend": "jax", "device": "cpu", "python": "3", "platform": "p", "started": "", "versions": {}},
    "arrays": ["losses/step 1"],
}


def recorded(folder: Path, content: bytes) -> None:
    """Reads a recording and compares it with itself under another name."""
    path = folder / "recording.npz"
    path.write_bytes(content)
    found = Recording.load(path)
    comparison = compare([found, Recording("other", found.settings, found.environment, found.arrays)])
    assert isinstance(comparison.passed, bool)


@target("recording.npz", lambda: [_recording(coded(HEADER), member(np.ones(2)))], by_kzoo=False)
def recording(content, folder):
    recorded(folder, content)


@target("recording.npz", lambda: [coded(HEADER)])
def recording_header(content, folder):
    recorded(folder, _recording(content, member(np.ones(2))))


@target("recording.npz", lambda: [member(np.ones(2)), member(np.zeros((1, 2), bool))], by_kzoo=False)
def recording_array(content, folder):
    recorded(folder, _recording(coded(HEADER), content))


def _recording(header: bytes, array: bytes) -> bytes:
    text = member(np.array(header.decode(errors="replace")))
    return zipped({"header.json.npy": text, "losses/step 1.npy": array})


@target("classes.txt", lambda: [b"cat\ndog\nbird\n", "a\nü\n \u65e5\n".encode()])
def class_names(content, folder):
    path = folder / "classes.txt"
    path.write_bytes(content)
    names = read_class_names(path, 3)
    write_class_names(path, names)
    assert read_class_names(path, 3) == names


CARD = {"name": "m", "version": 1, "image_size": [2, 2], "decoding": {"image_size": [2, 2], "resize": "pad"}}


@target("card.json", lambda: [coded(CARD), coded({"name": "m", "version": "2", "image_size": [2, 2]})])
def card(content, folder):
    (folder / "card.json").write_bytes(content)
    found = read_card(folder)
    assert isinstance(found.name, str)
    assert found.decoding.image_size is not None
