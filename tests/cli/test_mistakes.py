"""What a user can do wrong is told in a message, by the program and with no traceback."""

import json
import os
import socket
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo.cli import main
from kzoo.errors import ExportError

CONFIG = {
    "model": {"name": "resnet20", "architecture": {}},
    "data": {"name": "digits", "source": None, "class_names": ["a", "b"]},
    "recipe": {"precision": "float32", "epochs": 1},
    "seed": 0,
}
METRICS = dict.fromkeys(
    ["model", "data", "backend", "seed", "epochs_run", "best_epoch", "val_loss", "val_accuracy", "test_accuracy"], 0
) | {"images_per_second": 1.0}


@pytest.fixture
def run_directory(tmp_path):
    """A run directory without weights."""
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(CONFIG))
    (directory / "metrics.json").write_text(json.dumps(METRICS))
    (directory / "history.csv").write_text("epoch,loss,val_loss\n1,2.5,2.0\n")
    return directory


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "config.json must have 'model.name', as kzoo wrote it. Received: none."),
        (b"{}", "config.json must have 'model.name', as kzoo wrote it. Received: none."),
        (b'{"model": 3}', "config.json must have 'model.name'"),
        (b'{"model": ', "config.json must be JSON, as kzoo wrote it. Received: Expecting value"),
        (b"\xff\xfe\xff", "config.json must be JSON"),
        (b"[" * 100_000, "config.json must be JSON"),
        (b"", "config.json must be JSON"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_damaged_config_is_told_with_its_name(program, run_directory, tmp_path, command, content, message):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (run_directory / "config.json").write_bytes(content)
    status, said = program(command, run_directory, *([tmp_path / "a.png"] if command == "predict" else []))
    assert status == 1
    assert said.startswith(f"kzoo: {run_directory}")
    assert message in said


@pytest.mark.parametrize("content", ["[]", "{}", "{ torn"])
def test_damaged_metrics_are_told_with_their_name(program, run_directory, content):
    (run_directory / "metrics.json").write_text(content)
    assert f"{run_directory / 'metrics.json'} must " in program("compare", run_directory)[1]


@pytest.mark.parametrize("row", ["2,2.4", "2,2.4,1.9,7", "2,2.4,wrong", "2"])
def test_damaged_row_of_a_history_is_told_with_its_file(run_directory, row):
    with (run_directory / "history.csv").open("a") as file:
        file.write(f"{row}\n")
    with pytest.raises(ValueError, match=r"history.csv must have a number or nothing in each column of each row."):
        _ = kzoo.Run(run_directory).history


def test_whole_history_is_read(run_directory):
    assert kzoo.Run(run_directory).history == [{"epoch": 1.0, "loss": 2.5, "val_loss": 2.0}]


@pytest.mark.parametrize("seed", [-1, 2**64])
@pytest.mark.parametrize(
    "arguments",
    [["train", "resnet8", "--run", "new"], ["parity", "record", "new.npz", "--image-size", "8"]],
    ids=["train", "parity"],
)
def test_seed_out_of_range_is_told_before_anything_is_written(program, seed, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, said = program(*arguments, f"--seed={seed}")
    assert (status, said) == (
        1,
        f"kzoo: `seed` must be an integer, 0 or larger and below 2**64. Received: seed={seed}.",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "0"])
@pytest.mark.parametrize(
    "use",
    [
        lambda seed, data: kzoo.load_dataset("digits", split_seed=seed),
        lambda seed, data: kzoo.Batches(data.train, 10, seed=seed),
        lambda seed, data: kzoo.resnet20(input_shape=(8, 8, 3), seed=seed),
        lambda seed, data: kzoo.train("resnet8", data, seed=seed),
        lambda seed, data: kzoo.fit(kzoo.resnet8(input_shape=(8, 8, 3)), data, seed=seed),
    ],
    ids=["load_dataset", "Batches", "resnet20", "train", "fit"],
)
def test_every_seed_is_checked_alike(seed, use, tmp_path, monkeypatch, digits8):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"seed` must be an integer, 0 or larger and below 2\*\*64. Received: "):
        use(seed, digits8)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def digits8():
    return kzoo.load_dataset("digits", image_size=(8, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "RUN", "a.png", "--top", "0"], "kzoo: `top` must be at least 1. Received: top=0."),
        (["predict", "RUN", "a.png", "--top=-1"], "kzoo: `top` must be at least 1. Received: top=-1."),
        (["predict", "RUN", "."], "kzoo: `files` must be image files. Received: '.', a folder."),
        (
            ["train", "resnet20", "--epochs", "1000000000"],
            "kzoo: `epochs` must be at most 100,000. Received: epochs=1000000000.",
        ),
        (["data", "info", "[/x]"], "Received: '[/x]'."),
        (["evaluate", "[/x]"], "kzoo: Expected a run directory, with a config.json. Received: [/x]."),
        (["data", "info", "digit"], "Did you mean 'digits'?"),
        (["data", "prepare", "cifar11"], "Did you mean 'cifar10'?"),
        (["describe", "resnet21"], "Did you mean 'resnet20'?"),
        (["train", "resnet_20"], "Did you mean 'resnet20'?"),
        (["train", "resnet20", "--recipe", "he2016"], "`--recipe` must be one of default, fast, akamaster, "),
        (["train", "resnet20", "--recipe", "akamster"], "Did you mean 'akamaster'?"),
        (["train", "resnet20", "--precision", "float23"], "Did you mean 'float32'?"),
        (["evaluate", "RUN", "--split", "tset"], "Did you mean 'test'?"),
        (["export", "RUN", "--out", "out", "--format", "onx"], "Did you mean 'onnx'?"),
        (["import", "a.th", "--model", "resnet20", "--layout", "chenyofo", "--out", "b"], "Did you mean 'chenyaofo'?"),
        (["parity", "record", "a.npz", "--dtype", "float46"], "Did you mean 'float64'?"),
        (["parity", "record", "a.npz", "--device", "gpus"], "Did you mean 'gpu'?"),
        (["preset", "info", "akamaster-resnet20"], "Did you mean 'akamaster_resnet20'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistake_is_told(program, run_directory, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("a.png")
    status, said = program(*(run_directory if one == "RUN" else one for one in arguments))
    assert status == 1
    assert message in said


def test_taken_port_is_told(program, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = program("serve", tmp_path, "--port", port)
    assert status == 1
    assert f"kzoo: `host` and `port` must be free to listen at. Received: host='127.0.0.1', port={port}: " in said


def test_export_that_differs_is_told(program, monkeypatch):
    def export_saved(*arguments, **options):
        raise ExportError("The export must answer as its source does.")

    monkeypatch.setattr(kzoo, "export_saved", export_saved)
    status, said = program("export", "run", "--out", "out")
    assert (status, said) == (1, "kzoo: The export must answer as its source does.")


def test_interrupt_leaves_with_130_and_without_a_traceback(program, monkeypatch):
    def load_dataset(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(kzoo.data, "load_dataset", load_dataset)
    status, said = program("data", "info", "digits")
    assert (status, "Traceback" in said) == (130, False)


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["preset", "list"]], ids=" ".join)
def test_reader_that_leaves_early_gets_no_traceback(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "kzoo.cli", *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert "BrokenPipeError" not in done.stderr


def test_warning_is_told_without_its_source(program, monkeypatch):
    load = kzoo.load_dataset

    def load_dataset(*arguments, **options):
        warnings.warn("This takes long.", stacklevel=1)
        return load("digits")

    monkeypatch.setattr(kzoo.data, "load_dataset", load_dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        status, said = program("data", "info", "digits")
    assert (status, said) == (0, "kzoo: warning: This takes long.\n")


def test_what_is_printed_meanwhile_stays_out_of_the_json(monkeypatch, capsys):
    load = kzoo.load_dataset

    def load_dataset(*arguments, **options):
        print("Epoch 5: early stopping")
        return load("digits")

    monkeypatch.setattr(kzoo.data, "load_dataset", load_dataset)
    monkeypatch.setattr(sys, "argv", ["kzoo", "data", "info", "digits", "--json"])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr()
    assert json.loads(said.out)["name"] == "digits"
    assert said.err == "Epoch 5: early stopping\n"


def test_damaged_recording_with_markup_in_its_name_is_told(program, tmp_path):
    np.savez(tmp_path / "a [bold].npz", a=np.zeros(1))
    status, said = program("parity", "compare", tmp_path / "a [bold].npz", tmp_path / "a [bold].npz")
    assert status == 1
    assert "a [bold].npz, damaged or something else" in said
