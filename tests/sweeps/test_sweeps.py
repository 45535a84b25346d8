import csv
import json
import shutil
import signal
import statistics

import numpy as np
import pytest
from commands import kzoo_command, printed_json

import kzoo
from kzoo.errors import DivergenceError, TrainingInterrupted
from kzoo.sweeps import running
from kzoo.sweeps.progress import Bar

QUICK = kzoo.recipe("default").override(epochs=1, batch_size=16, patience=0, warmup=0)
ACCURACIES = {(0.1, 0): 0.5, (0.1, 1): 0.7, (0.2, 0): 0.8, (0.2, 1): 0.9}


@pytest.fixture
def data():
    random = np.random.RandomState(0)
    parts = [
        kzoo.Split(random.randint(0, 256, (count, 8, 8, 3)).astype(np.uint8), np.arange(count) % 2)
        for count in (16, 4, 4)
    ]
    return kzoo.Dataset("noise", ("a", "b"), *parts, flip=True)


class Trained:
    """Takes the place of `kzoo.train`: leaves a run that has ended, at once."""

    def __init__(self):
        self.calls = []
        self.errors = {}

    def __call__(self, model, dataset, recipe, callbacks, *, seed, run_dir, resume, verbose):
        assert resume
        assert verbose == 0
        key = (recipe.learning_rate, seed)
        self.calls.append(key)
        if key in self.errors:
            raise self.errors[key]
        for epoch in range(recipe.epochs):
            callbacks[0].on_epoch_begin(epoch)
            callbacks[0].on_epoch_end(epoch)
        run_dir.mkdir()
        (run_dir / "config.json").write_text(json.dumps({"recipe": recipe.record()}))
        metrics = {"model": model, "data": "noise", "backend": "torch", "seed": seed, "epochs_run": 1, "best_epoch": 1}
        scores = {"val_loss": 1.0, "val_accuracy": ACCURACIES[key], "test_accuracy": ACCURACIES[key] - 0.25}
        (run_dir / "metrics.json").write_text(json.dumps({**metrics, **scores, "images_per_second": 1.0}))


@pytest.fixture
def trained(monkeypatch):
    trained = Trained()
    monkeypatch.setattr(running, "train", trained)
    return trained


def go(data, folder, **options):
    options = {"grid": {"learning_rate": [0.1, 0.2]}, "seeds": 2, "verbose": 0, **options}
    return kzoo.sweep("resnet8", data, QUICK, directory=folder, **options)


def rows_of(file):
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_sweep_trains_each_setting_with_each_seed(data, tmp_path, trained):
    found = go(data, tmp_path / "s")
    assert trained.calls == list(ACCURACIES)
    for rate, row in zip((0.1, 0.2), found.summary(), strict=True):
        values = [value for (own, _), value in ACCURACIES.items() if own == rate]
        assert (row["learning_rate"], row["n"], row["failed"], row["missing"]) == (rate, 2, 0, 0)
        assert row["val_accuracy_mean"] == pytest.approx(statistics.fmean(values))
        assert row["val_accuracy_deviation"] == pytest.approx(statistics.stdev(values))
        assert row["test_accuracy_mean"] == pytest.approx(statistics.fmean(values) - 0.25)
    assert [float(row["val_accuracy"]) for row in rows_of(tmp_path / "s" / "results.csv")] == [*ACCURACIES.values()]
    assert [row["n"] for row in rows_of(tmp_path / "s" / "summary.csv")] == ["2", "2"]


def test_failed_training_stays_in_the_table_and_the_rest_goes_on(data, tmp_path, trained):
    trained.errors[(0.1, 1)] = DivergenceError("The loss is nan at step 2.", 2)
    found = go(data, tmp_path / "s")
    assert len(trained.calls) == 4
    first, second = found.summary()
    assert (first["n"], first["failed"], first["val_accuracy_mean"], first["val_accuracy_deviation"]) == (
        1,
        1,
        0.5,
        None,
    )
    assert second["n"] == 2
    (failed,) = found.failures()
    assert failed.failure == "DivergenceError: The loss is nan at step 2."
    assert rows_of(tmp_path / "s" / "results.csv")[1]["reason"] == failed.failure
    trained.calls.clear()
    trained.errors.clear()
    assert go(data, tmp_path / "s").summary()[0]["failed"] == 1
    assert trained.calls == []
    assert go(data, tmp_path / "s", retry_failed=True).summary()[0]["failed"] == 0
    assert trained.calls == [(0.1, 1)]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), TrainingInterrupted("A checkpoint was written.", signal.SIGTERM)]
)
def test_sweep_that_is_interrupted_says_how_to_go_on_and_does(data, tmp_path, trained, error):
    trained.errors[(0.2, 0)] = error
    with pytest.raises(
        TrainingInterrupted, match="2 of its 4 trainings are done. To go on, the same again: "
    ) as caught:
        go(data, tmp_path / "s")
    assert caught.value.signal == (signal.SIGTERM if isinstance(error, TrainingInterrupted) else signal.SIGINT)
    assert [row["n"] for row in kzoo.Sweep(tmp_path / "s").summary()] == [2, 0]
    assert [row["state"] for row in rows_of(tmp_path / "s" / "results.csv")] == ["done", "done", "waiting", "waiting"]
    trained.errors.clear()
    trained.calls.clear()
    assert [row["n"] for row in go(data, tmp_path / "s").summary()] == [2, 2]
    assert trained.calls == [(0.2, 0), (0.2, 1)]


def test_sweep_may_be_extended(data, tmp_path, trained):
    go(data, tmp_path / "s", grid={"learning_rate": [0.1]}, seeds=1)
    trained.calls.clear()
    assert [row["n"] for row in go(data, tmp_path / "s").summary()] == [2, 2]
    assert trained.calls == [(0.1, 1), (0.2, 0), (0.2, 1)]


def test_unforeseen_error_ends_the_sweep(data, tmp_path, trained):
    trained.errors[(0.1, 0)] = RuntimeError("a mistake of kzoo's")
    with pytest.raises(RuntimeError, match="a mistake"):
        go(data, tmp_path / "s")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": QUICK.override(momentum=0.5)}, "must be of the same recipe: another sweep needs another directory"),
        ({"model": "plain32"}, "must be of the same model"),
        ({"dropout": 0.5}, "must be of the same arguments"),
    ],
)
def test_directory_of_another_sweep_is_refused(data, tmp_path, trained, change, message):
    go(data, tmp_path / "s")
    given = {"model": "resnet8", "recipe": QUICK, "directory": tmp_path / "s", "verbose": 0} | change
    with pytest.raises(ValueError, match=message):
        kzoo.sweep(dataset=data, **given)


def test_directory_with_other_content_is_refused(data, tmp_path, trained):
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="A sweep needs a new or empty directory."):
        go(data, tmp_path)


def test_model_or_setting_that_is_none_is_told_before_anything_is_there(data, tmp_path, trained):
    for model, grid in (("resnet9", {}), ("resnet8", {"epochs": [0]})):
        with pytest.raises(ValueError, match="must be .* Received: "):
            kzoo.sweep(model, data, QUICK, grid=grid, directory=tmp_path / "s", verbose=0)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "member",
    [3, {}, {"settings": [], "seed": 0}, {"settings": {}, "seed": "0"}, {"settings": {}, "seed": 0, "failure": 3}],
)
def test_damaged_record_of_a_sweep_is_told_by_its_name(data, tmp_path, trained, member):
    file = go(data, tmp_path / "s").directory / "sweep.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"members": [member]}))
    with pytest.raises(ValueError, match=r"sweep\.json must have"):
        kzoo.Sweep(file.parent)


def test_bar_counts_epochs_and_no_time_for_those_of_before(monkeypatch):
    bar = Bar(10, 0)
    bar.skip_to(4)
    (task,) = bar._bar.tasks
    assert (task.completed, len(task._progress)) == (4, 0)
    bar.reach(5)
    bar.reach(3)
    assert (task.completed, len(task._progress)) == (5, 1)


def test_each_training_is_a_line_where_there_is_no_terminal(data, tmp_path, trained, capsys):
    go(data, tmp_path / "s", verbose=2)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1] == "4/4  learning_rate=0.2, seed 1"


def test_command_shows_the_table_and_compare_shows_it_again(tmp_path, monkeypatch, trained):
    monkeypatch.setattr(Trained, "__call__", lambda self, *arguments, dropout, **rest: CALL(self, *arguments, **rest))
    options = ["--image-size", "8", "--set", "learning_rate=0.1,0.2", "--seeds", "2", "--out", tmp_path / "s"]
    shown = kzoo_command("sweep", "resnet8", *options).output
    assert "0.6000 ± 0.1414" in shown
    again = kzoo_command("compare", tmp_path / "s").output
    assert again in shown
    summary = printed_json("compare", tmp_path / "s")
    assert [row["n"] for row in summary] == [2, 2]
    shutil.rmtree(tmp_path / "s" / "learning_rate=0.1-seed0")
    assert "missing" in kzoo_command("compare", tmp_path / "s").output


@pytest.mark.parametrize("flip", [True, False])
def test_command_takes_of_the_data_what_train_takes(flip, tmp_path, monkeypatch, trained):
    def call(self, model, dataset, *arguments, dropout, **rest):
        assert dataset.flip is flip
        assert dataset.image_shape == (8, 8, 1)
        CALL(self, model, dataset, *arguments, **rest)

    monkeypatch.setattr(Trained, "__call__", call)
    options = ["--image-size", "8", "--set", "learning_rate=0.1", "--seeds", "1", "--out", tmp_path / "s"]
    kzoo_command("sweep", "resnet8", *options, "--channels", "1", "--flip" if flip else "--no-flip")
    assert trained.calls == [(0.1, 0)]


CALL = Trained.__call__


def test_sweep_trains(data, tmp_path):
    recipe = kzoo.recipe("default").override(epochs=1, batch_size=8, patience=0)
    options = {"grid": {"class_weights": [None, {"c": 2.0}]}, "seeds": [4], "verbose": 0}
    found = kzoo.sweep("resnet8", data, recipe, directory=tmp_path / "s", **options)
    good, bad = found.members
    run = kzoo.Run(good.directory)
    assert (run.config["seed"], run.recipe) == (4, recipe)
    assert good.metrics["test_accuracy"] == run.metrics["test_accuracy"]
    assert bad.failure.startswith("ValueError: `class_weights` must be of classes of 'noise'.")
