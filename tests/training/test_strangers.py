"""Run directories of strangers: what their files say of data, names, commands and callbacks."""

import json
import os

import keras
import numpy as np
import pytest

import kzoo
from kzoo.training.callback_state import give_states
from kzoo.training.listing import list_runs
from kzoo.training.lock import STATUS, command_to_go_on

CONFIG = {
    "model": {"name": "resnet20", "architecture": {}},
    "data": {"name": "digits", "source": {"name_or_path": "digits"}, "class_names": ["a", "b"]},
    "recipe": {"precision": "float32", "epochs": 1},
    "seed": 0,
}


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def change(directory, **data):
    (directory / "config.json").write_text(json.dumps({**CONFIG, "data": {**CONFIG["data"], **data}}))
    return kzoo.Run(directory)


@pytest.mark.parametrize("class_names", [None, "ab", {"a": 1}, ["a", 1], ["a", "b" * 10_001]])
def test_class_names_are_names(class_names, directory):
    with pytest.raises(ValueError, match="must have a list of names as 'data.class_names', as kzoo wrote it"):
        _ = change(directory, class_names=class_names).class_names


@pytest.mark.parametrize(
    "source",
    [
        {"name_or_path": "digits", "splits": {}},
        {"name_or_path": "digits", "cache": False},
        {"name_or_path": "digits", "unknown": 1},
        {"name_or_path": ["digits"]},
        {"name_or_path": "digits", "validation": "0.1"},
        {"name_or_path": "digits", "image_size": {"height": 1}},
    ],
)
def test_data_are_loaded_by_known_arguments_alone(source, directory):
    with pytest.raises(ValueError, match=r"config.json must |must be "):
        change(directory, source=source).load_dataset()


@pytest.mark.parametrize("source", [[], "digits", {"image_size": 8}])
def test_data_must_be_named(source, directory):
    with pytest.raises(
        ValueError, match=r"config.json must have a(n object or null as 'data.source'| path as 'name_or_path')"
    ):
        change(directory, source=source).load_dataset()


@pytest.mark.parametrize("size", [1 << 20, [1 << 14, (1 << 14) + 1]])
def test_images_are_not_made_larger_than_memory(size, directory):
    with pytest.raises(ValueError, match="`image_size` must be .* in pixels, at most 89,478,485, "):
        change(directory, source={"name_or_path": "digits", "image_size": size}).load_dataset()


def test_files_outside_of_the_data_are_not_split(directory, tmp_path):
    outside = ["../../secret.png", "/etc/passwd"]
    (directory / "splits.json").write_text(json.dumps({"train": outside, "validation": ["a"], "test": ["b"]}))
    with pytest.raises(ValueError, match="must have all files that the splits list. Received: 4 are missing"):
        kzoo.Run(directory).load_dataset()


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "splits.json", "history.csv"])
def test_files_without_end_are_not_read(name, directory):
    with (directory / name).open("wb") as file:
        file.truncate(1 << 40)
    run = kzoo.Run(directory)
    read = {
        "config.json": lambda: run.config,
        "metrics.json": lambda: run.metrics,
        "splits.json": run.load_dataset,
        "history.csv": lambda: run.history,
    }[name]
    with pytest.raises(ValueError, match=r"must be at most [\d,]+ bytes. Received: 1,099,511,627,776 bytes."):
        read()


def test_lists_within_lists_do_not_end_the_process(directory):
    (directory / "config.json").write_text(json.dumps(CONFIG).replace("{}", "[" * 50_000 + "]" * 50_000))
    with pytest.raises(ValueError, match="must be JSON, as kzoo wrote it"):
        kzoo.Run(directory).load_model()


def test_status_without_end_is_no_status(directory):
    with (directory / STATUS).open("wb") as file:
        file.truncate(1 << 40)
    (state,) = list_runs([directory])
    assert state.state == "interrupted"


@pytest.mark.parametrize(
    "command", ["kzoo train a\nrm -rf b", "kzoo train 'a", "kzoo train \x1b]0;a\x07", "kzoo; rm -rf b", "rm -rf b"]
)
def test_commands_of_strangers_are_not_shown(command, tmp_path):
    assert command_to_go_on(tmp_path, command).startswith("run the program again with run_dir=")


def test_command_to_go_on_is_one_command(tmp_path):
    assert command_to_go_on(tmp_path, "kzoo train a; rm -rf $(b)").startswith("kzoo train 'a;' rm -rf '$(b)' --run ")


def test_callback_is_given_nothing_but_what_it_remembers(tmp_path):
    callback = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"))
    before = dict(vars(callback))
    state = {"best": 0.5, "filepath": "/etc/passwd", "_options": 1, "on_epoch_end": None, "__class__": "a"}
    numbers = {name: {"value": value} for name, value in state.items()}
    with pytest.raises(ValueError, match="must have what ModelCheckpoint remembers. Received: .*'filepath'"):
        give_states([callback], [{"class": "ModelCheckpoint", "state": numbers}], {})
    assert vars(callback) == before


def test_recorded_arrays_stay_arrays(tmp_path):
    callback = keras.callbacks.EarlyStopping(patience=1)
    arrays = {"callbacks/0/best_weights/0": np.zeros(2)}
    kept = {"best_weights": {"arrays": 1, "alone": False}}
    give_states([callback], [{"class": "EarlyStopping", "state": kept}], arrays)
    np.testing.assert_array_equal(callback.best_weights[0], np.zeros(2))


def test_pipe_is_no_run(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(FileNotFoundError, match="Expected a run directory"):
        kzoo.Run(tmp_path)
