import json

import keras
import pytest
from commands import kzoo_command, printed_json
from PIL import Image

import kzoo

QUICK = ["--epochs", "2", "--batch-size", "32", "--lr", "0.05", "--patience", "0"]


@pytest.fixture(scope="module")
def run(colours, tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["--data", colours, "--run", directory, "--dropout", "0.1", "--seed", "3", *QUICK]
    return directory, printed_json("train", "resnet20", *arguments)


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
