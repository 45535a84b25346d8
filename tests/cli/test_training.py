import json
import shutil

import keras
import pytest
from commands import kzoo_command, printed_json
from PIL import Image

import kzoo

QUICK = ["--epochs", "2", "--batch-size", "32", "--lr", "0.05", "--patience", "0"]


@pytest.fixture(scope="module")
def run(colours, tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["--data", colours, "--run", directory, "--dropout", "0.1", "--seed", "3", "--flip", *QUICK]
    return directory, printed_json("train", "resnet8", *arguments)


def test_train_leaves_its_metrics(run):
    directory, metrics = run
    assert json.loads((directory / "metrics.json").read_text()) == metrics
    assert (metrics["model"], metrics["data"], metrics["seed"]) == ("resnet8", "colours", 3)
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
    model = kzoo.resnet8(input_shape=(12, 12, 3), classes=3)
    kzoo.save_weights(model, tmp_path / "m.weights.h5")
    arguments = ["--model", "resnet8", "--weights", tmp_path / "m.weights.h5", "--data", colours]
    test = kzoo.load_dataset(colours).test
    expected = kzoo.evaluate(model, test.images, test.labels)
    assert printed_json("evaluate", *arguments)["loss"] == pytest.approx(expected.loss, rel=1e-4)


def test_evaluate_shows_a_row_a_class(run):
    output = kzoo_command("evaluate", run[0], "--split", "validation").stdout
    assert all(name in output for name in ("red", "green", "blue", "top-1", "6 images"))


def test_evaluate_prints_its_summary_in_a_line(run):
    result = printed_json("evaluate", run[0])
    scores = f"loss {result['loss']:.4f}, top-1 {result['accuracy']:.4f}, top-5 {result['top5_accuracy']:.4f}"
    assert kzoo_command("evaluate", run[0]).stdout.splitlines()[-1] == f"24 images: {scores}"


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


def test_train_names_what_it_wrote_and_the_next_command(colours, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = ["--data", colours, "--batch-size", "32", "--run", "my run"]
    result = kzoo_command("train", "resnet8", *quick, "--epochs", "4", "--patience", "1", "--min-delta", "99")
    lines = result.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:2]] == ["epoch 1/4", "epoch 2/4"]
    assert lines[2] == "stopped in epoch 2 of 4; the weights are those of epoch 1"
    assert all(f" {name} " in result.stdout for name in ("metrics.json", "model.weights.h5", "history.csv"))
    assert "kzoo evaluate 'my run'" in result.stdout
    assert "kzoo export 'my run' --out exports" in result.stdout


def test_train_prints_json_and_nothing_else(colours, tmp_path):
    quick = ["--data", colours, "--batch-size", "32", "--run", tmp_path / "run"]
    stopping = ["--epochs", "4", "--patience", "1", "--min-delta", "99"]
    result = kzoo_command("train", "resnet8", *quick, *stopping, "--json")
    assert json.loads(result.stdout)["stopped_early"] is True
    assert "stopped in epoch 2 of 4" in result.stderr


def test_train_is_quiet_if_told(colours, tmp_path):
    quick = ["--data", colours, "--batch-size", "32", "--epochs", "2", "--patience", "1", "--run", tmp_path / "run"]
    assert kzoo_command("train", "resnet8", *quick, "--quiet").output == ""
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_compare_takes_a_folder_and_names_what_is_unfinished(run, tmp_path):
    directory, _ = run
    for name in ("a", "b", "c"):
        shutil.copytree(directory, tmp_path / "runs" / name)
    (tmp_path / "runs" / "c" / "metrics.json").unlink()
    result = kzoo_command("compare", tmp_path / "runs", "--picture", tmp_path / "curves.png", "--json")
    assert [row["run"] for row in json.loads(result.stdout)] == [str(tmp_path / "runs" / name) for name in "ab"]
    assert result.stderr == f"left out, since the training has not ended: {tmp_path / 'runs' / 'c'}\n"


def test_compare_draws_the_curves(run, tmp_path):
    rows = printed_json("compare", run[0], run[0], "--picture", tmp_path / "curves.png")
    assert [row["model"] for row in rows] == ["resnet8", "resnet8"]
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size > (800, 300)


def test_compare_shows_whole_names_and_its_picture(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        shutil.copytree(run[0], name)
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    config["model"]["pixel_normalization"]["mean"] = [0.25, 0.5, 0.75]
    (tmp_path / "b" / "config.json").write_text(json.dumps(config))
    lines = kzoo_command("compare", "a", "b").stdout.splitlines()
    shown = {words[0]: words[1:] for line in lines if (words := line.split())}
    assert "pixel_normalization.mean" in shown
    assert shown["images_per_second"] == [f"{run[1]['images_per_second']:.1f}"] * 2
    assert lines[-1] == "curves: comparison.png"


def test_evaluate_with_mirror_images_says_so(run):
    result = printed_json("evaluate", run[0], "--tta", "mirror")
    assert result["tta"] == "mirror"
    assert printed_json("evaluate", run[0])["tta"] is None
    last = kzoo_command("evaluate", run[0], "--tta", "mirror").stdout.splitlines()[-1]
    assert last.startswith("24 images, with test-time augmentation (mirror): loss ")


def test_train_learns_from_a_teacher(run, colours, tmp_path, monkeypatch):
    monkeypatch.setattr("kzoo.training.distillation._check_answers", lambda *_: None)  # after two epochs
    given = ["train", "resnet8", "--data", colours, "--epochs", "1", "--batch-size", "32", "--patience", "0"]
    given += ["--run", tmp_path / "run", "--teacher", run[0], "--set", "distillation_weight=0.5"]
    printed_json(*given)
    taught = kzoo.Run(tmp_path / "run").config
    assert taught["teacher"]["name"] == "resnet8"
    assert (taught["recipe"]["distillation_weight"], kzoo.Run(tmp_path / "run").recipe.temperature) == (0.5, 4.0)
