import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import kzoo
from kzoo.cli import app

QUICK = ["--epochs", "2", "--batch-size", "32", "--lr", "0.05", "--patience", "0"]


def kzoo_command(*arguments):
    """Runs a command in this process, as a terminal of 100 columns."""
    result = CliRunner(env={"COLUMNS": "100"}).invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def printed_json(*arguments):
    result = kzoo_command(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A folder of 12x12 images of three colours."""
    root = tmp_path_factory.mktemp("data") / "colours"
    random = np.random.RandomState(0)
    for split, count in (("train", 20), ("test", 8)):
        for channel, name in enumerate(("red", "green", "blue")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = random.randint(0, 120, (12, 12, 3))
                image[..., channel] += 100
                Image.fromarray(image.astype(np.uint8)).save(root / split / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def run(colours, tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["--data", colours, "--run", directory, "--dropout", "0.1", "--seed", "3", *QUICK]
    return directory, printed_json("train", "resnet20", *arguments)


def test_list_prints_the_models():
    assert printed_json("list") == kzoo.list_models()
    assert kzoo_command("list").stdout.split() == kzoo.list_models()


def test_describe_prints_cost_and_layers():
    description = printed_json("describe", "resnet20")
    assert (description["parameters"], description["receptive_field"]) == (269_722, 81)
    assert "269,722 parameters" in kzoo_command("describe", "resnet20").stdout


def test_train_leaves_its_metrics(run):
    directory, metrics = run
    assert json.loads((directory / "metrics.json").read_text()) == metrics
    assert (metrics["model"], metrics["data"], metrics["seed"]) == ("resnet20", "colours", 3)
    assert (metrics["backend"], metrics["epochs_run"]) == (keras.backend.backend(), 2)


def test_train_records_what_it_was_told(run):
    config = kzoo.Run(run[0]).config
    recipe = config["recipe"]
    assert (recipe["epochs"], recipe["batch_size"], recipe["learning_rate"], recipe["patience"]) == (2, 32, 0.05, None)
    assert config["data"]["class_names"] == ["blue", "green", "red"]


def test_evaluate_agrees_with_the_training(run):
    directory, metrics = run
    evaluation = printed_json("evaluate", directory)
    assert evaluation["accuracy"] == metrics["test_accuracy"]
    assert evaluation["loss"] == pytest.approx(metrics["test_loss"], rel=1e-4)
    assert set(evaluation["per_class"]) == {"red", "green", "blue"}


def test_evaluate_takes_model_weights_and_data(colours, tmp_path):
    model = kzoo.resnet20(input_shape=(12, 12, 3), classes=3)
    kzoo.save_weights(model, tmp_path / "m.weights.h5")
    arguments = ["--model", "resnet20", "--weights", tmp_path / "m.weights.h5", "--data", colours]
    test = kzoo.load_dataset(colours).test
    expected = kzoo.evaluate(model, test.images, test.labels)
    assert printed_json("evaluate", *arguments)["loss"] == pytest.approx(expected.loss, rel=1e-4)


def test_evaluate_shows_a_row_a_class(run):
    output = kzoo_command("evaluate", run[0], "--split", "validation").stdout
    assert all(name in output for name in ("red", "green", "blue", "top-1", "6 images"))


def test_predict_names_a_class_for_any_image(run, tmp_path):
    files = []
    for mode in ("L", "RGBA", "P", "CMYK", "I;16"):
        files.append(tmp_path / f"{mode.replace(';', '')}.{'tif' if mode == 'CMYK' else 'png'}")
        Image.new(mode, (40, 25)).save(files[-1])
    predictions = printed_json("predict", run[0], *files, "--top", "3")
    assert [prediction["file"] for prediction in predictions] == [str(file) for file in files]
    for prediction in predictions:
        assert set(prediction["classes"]) == {"red", "green", "blue"}
        assert sum(prediction["probabilities"]) == pytest.approx(1)


def test_compare_draws_the_curves(run, tmp_path):
    rows = printed_json("compare", run[0], run[0], "--picture", tmp_path / "curves.png")
    assert [row["model"] for row in rows] == ["resnet20", "resnet20"]
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size > (800, 300)


def test_data_prepare_and_info(colours, tmp_path):
    prepared = printed_json("data", "prepare", "colours", "--from", colours, "--data-dir", tmp_path)
    assert (tmp_path / "colours").is_dir()
    assert prepared["directory"].startswith(str(tmp_path))
    info = printed_json("data", "info", "colours", "--data-dir", tmp_path)
    assert info["images"] == {"train": 54, "validation": 6, "test": 24}


def test_doctor_reports_the_backend():
    assert keras.backend.backend() in json.dumps(printed_json("doctor"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["describe", "resnet21"], "kzoo: `name` must be one of"),
        (["train", "resnet20", "--data", "nowhere.zip"], "Received: 'nowhere.zip'"),
        (["train", "resnet20", "--epochs", "0"], "kzoo: `epochs` must be at least 1. Received: epochs=0."),
        (["evaluate", "nowhere"], "kzoo: Expected a run directory"),
        (["evaluate"], "kzoo: Expected either a run, or a model with weights and data."),
        (["predict", "nowhere", "image.png"], "kzoo: Expected a run directory"),
    ],
)
def test_mistake_is_a_message_and_no_traceback(arguments, message, tmp_path):
    command = [sys.executable, "-m", "kzoo.cli", *arguments]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
