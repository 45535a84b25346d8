import dataclasses

import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo.training.compare import compare_runs, find_runs

ONE = kzoo.recipe("default").override(epochs=1, batch_size=16, patience=0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of two runs, and their dataset."""
    random = np.random.RandomState(0)
    split = kzoo.Split(random.randint(0, 256, (12, 8, 8, 3)).astype(np.uint8), np.arange(12) % 3)
    dataset = kzoo.Dataset("noise", ("a", "b", "c"), split, split, split, flip=True)
    folder = tmp_path_factory.mktemp("runs")
    for name, recipe, dropout in (("one", ONE, 0.0), ("two", ONE.override(learning_rate=0.02), 0.2)):
        model = kzoo.resnet(8, input_shape=(8, 8, 3), classes=3, dropout=dropout)
        kzoo.fit(model, dataset, recipe, run_dir=folder / name, verbose=0, arguments={"dropout": dropout})
    return folder, dataset


def write(path, text):
    path.write_text(text)
    return kzoo.Run(path.parent)


@pytest.fixture
def run(tmp_path):
    return write(tmp_path / "config.json", "{}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch,loss\n1,0.5\n2\n", "a row of another length, .'2'."),
        ("epoch,loss\n1,0.5,7\n", "a row of another length"),
        ("epoch,loss\n1,high\n", "could not convert string to float: 'high'"),
        ('epoch,loss\n1,"0.5\n', "unexpected end of data"),
        (b"epoch,loss\n1,\xff\n", "can't decode"),
    ],
)
def test_damaged_history_is_an_error_that_names_the_file(run, text, message):
    (run.directory / "history.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=rf"history.csv must have a number or nothing in each column.*{message}"):
        _ = run.history


def test_empty_values_of_a_history_are_left_out(run):
    (run.directory / "history.csv").write_text("epoch,loss,extra\n1,0.5,\n2,nan,3\n")
    first, second = run.history
    assert first == {"epoch": 1, "loss": 0.5}
    assert (second["extra"], np.isnan(second["loss"])) == (3, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "config.json must have 'model.name', as kzoo wrote it. Received: none."),
        ("{}", "config.json must have 'model.name', as kzoo wrote it. Received: none."),
        ('{"model": []}', "config.json must have 'model.name'"),
        ('{"model"', "config.json must be JSON, as kzoo wrote it."),
    ],
)
def test_damaged_config_is_an_error_that_names_the_file(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        _ = write(tmp_path / "config.json", text).config


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b", "z"), "Received: 3 classes of 'noise'; missing: 'c'; new: 'z'."),
        (("b", "a", "c"), "in their order. Received: 3 classes of 'noise'; missing: none; new: none."),
        (("a", "b", "c", "d"), "must have the 3 classes .* Received: 4 classes of 'noise'; missing: none; new: 'd'."),
    ],
)
def test_data_of_other_classes_are_an_error(finished, tmp_path, names, message):
    folder, dataset = finished
    other = dataclasses.replace(dataset, class_names=names)
    with pytest.raises(ValueError, match=message):
        kzoo.evaluate_saved(folder / "one", dataset=other)
    with pytest.raises(ValueError, match=message):
        kzoo.export_saved(folder / "one", tmp_path / "out", dataset=other)
    assert not (tmp_path / "out").exists()


def test_renamed_class_folder_is_an_error(tmp_path):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (8, 8)).save(tmp_path / "data" / part / name / f"{number}.png")
    dataset = kzoo.load_dataset(tmp_path / "data")
    kzoo.fit(kzoo.resnet(8, input_shape=(8, 8, 3), classes=2), dataset, ONE, run_dir=tmp_path / "run", verbose=0)
    assert set(kzoo.evaluate_saved(tmp_path / "run").per_class) == {"cat", "dog"}
    for part in ("train", "test"):
        (tmp_path / "data" / part / "cat").rename(tmp_path / "data" / part / "tabby")
    with pytest.raises(ValueError, match="8 are missing, the first is '.*/cat/0.png'; 8 are new, the first is .*tabby"):
        kzoo.evaluate_saved(tmp_path / "run")
    with pytest.raises(ValueError, match="8 are missing, the first is '.*/cat/0.png'; 8 are new, the first is .*tabby"):
        kzoo.export_saved(tmp_path / "run", tmp_path / "out")


@pytest.mark.parametrize("top", [0, -1])
def test_prediction_of_no_class_is_an_error(finished, top):
    with pytest.raises(ValueError, match=f"`top` must be at least 1. Received: top={top}."):
        kzoo.predict_files(kzoo.Run(finished[0] / "one"), ["a.png"], top=top)


def test_prediction_names_all_classes_at_most(finished, tmp_path):
    run = kzoo.Run(finished[0] / "one")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (prediction,) = kzoo.predict_files(run, tmp_path / "a.png", top=9)
    assert sorted(prediction.classes) == ["a", "b", "c"]
    assert kzoo.predict_files(run, []) == []


def test_folder_is_no_image(finished, tmp_path):
    with pytest.raises(ValueError, match="`files` must be image files. Received: .*, a folder."):
        kzoo.predict_files(kzoo.Run(finished[0] / "one"), [tmp_path])


def test_comparison_shows_what_differs(finished, tmp_path):
    runs, unfinished = find_runs([finished[0]])
    assert unfinished == []
    one, two = compare_runs(runs, tmp_path / "curves.png")
    differing = {name: (one[name], two[name]) for name in one if "." in name}
    assert differing == {"recipe.learning_rate": (0.05, 0.02), "arguments.dropout": (0.0, 0.2)}
    assert one["architecture"] != two["architecture"]


def test_comparison_of_a_run_with_itself_shows_no_difference(finished, tmp_path):
    runs, _ = find_runs([finished[0] / "one", finished[0] / "one"])
    assert not any("." in name or name == "architecture" for name in compare_runs(runs, tmp_path / "curves.png")[0])


def test_unfinished_runs_of_a_folder_are_named(finished, tmp_path):
    folder = tmp_path / "runs"
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        for file in ("config.json", "history.csv", "metrics.json"):
            (folder / name / file).write_bytes((finished[0] / "one" / file).read_bytes())
    (folder / "two" / "metrics.json").unlink()
    runs, unfinished = find_runs([folder])
    assert [run.directory for run in runs] == [folder / "one"]
    assert unfinished == [folder / "two"]
    with pytest.raises(FileNotFoundError, match="the training has not ended"):
        compare_runs(find_runs([folder / "two"])[0], tmp_path / "curves.png")
    with pytest.raises(FileNotFoundError, match="Expected a run directory"):
        find_runs([tmp_path / "nothing"])
