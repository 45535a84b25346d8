import json
import re
import shutil

import keras
import numpy as np
import pytest
from commands import kzoo_command, printed_json
from PIL import Image

import kzoo
from kzoo.training.publishing import _name_of


def test_preset_list_names_all_of_them():
    assert [entry["name"] for entry in printed_json("preset", "list")] == kzoo.list_presets()
    assert "akamaster_resnet110" in kzoo_command("preset", "list").output


def test_preset_info_shows_what_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("KZOO_HOME", str(tmp_path))
    info = kzoo_command("preset", "info", "akamaster_resnet32").output
    assert "sha256_known: only the first 8 digits are published" in info
    assert "top1: 0.9263" in info
    assert "folder: None" in info
    info = kzoo_command("preset", "info", "digits/resnet20").output.splitlines()
    assert {"construction.arguments.order: classic", "class_names: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"} <= set(info)
    assert "about.data.images.train: 1295" in info
    assert not [line for line in info if "{" in line]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run on small digits."""
    folder = tmp_path_factory.mktemp("trained")
    dataset = kzoo.load_dataset("digits", image_size=8)
    recipe = kzoo.Recipe(epochs=1, batch_size=256, patience=None)
    return kzoo.train("resnet8", dataset, recipe, run_dir=folder / "run", verbose=0)


@pytest.fixture(scope="module")
def saved(trained):
    folder = trained.directory.parent / "preset"
    printed = printed_json(
        "preset", "save", trained.directory, folder, "--licence", "CC0-1.0", "--description", "Tiny."
    )
    assert printed == {"path": str(folder)}
    return folder


def test_run_becomes_a_preset_of_the_same_answers(trained, saved):
    images = np.zeros((2, 8, 8, 3), "uint8") + np.uint8([[[[9]]], [[[200]]]])
    preset = kzoo.load_preset(saved)
    expected = trained.load_model()
    np.testing.assert_array_equal(preset.predict(images, verbose=0), expected.predict(images, verbose=0))
    assert preset.class_names == expected.class_names == tuple("0123456789")


def test_card_of_a_run_says_what_the_run_says(trained, saved):
    content = json.loads((saved / "config.json").read_text())
    about = content["about"]
    assert about["data"] == {name: trained.config["data"][name] for name in ("name", "images", "fingerprint")}
    assert about["recipe"] == trained.config["recipe"]
    assert "recipe_name" not in about  # it is none of kzoo's
    assert (about["seed"], about["epochs_run"], about["best_epoch"]) == (0, 1, 1)
    assert about["test"]["accuracy"] == trained.metrics["test_accuracy"]
    assert about["validation"]["accuracy"] == pytest.approx(trained.metrics["val_accuracy"])
    assert about["test"]["per_class"].keys() == set("0123456789")
    assert 0 <= about["test"]["calibration_error"] <= 1
    assert about["licence"] == "CC0-1.0"
    assert about["backend"] == keras.backend.backend()
    assert "Tiny." in (saved / "README.md").read_text()
    assert not re.search("energy|kWh", (saved / "README.md").read_text())


def test_evaluation_of_a_preset_is_what_its_card_says(saved):
    found = printed_json("evaluate", "--preset", saved, "--data", "digits")
    about = json.loads((saved / "config.json").read_text())["about"]
    assert found["accuracy"] == about["test"]["accuracy"]
    assert found["per_class"] == about["test"]["per_class"]


def test_photo_is_predicted_by_a_preset(saved, trained, tmp_path):
    Image.new("RGB", (20, 10)).save(tmp_path / "photo.jpg")
    (found,) = printed_json("predict", "--preset", saved, tmp_path / "photo.jpg", "--top", "10")
    assert found["file"] == str(tmp_path / "photo.jpg")
    assert set(found["classes"]) == set("0123456789")
    assert sum(found["probabilities"]) == pytest.approx(1)
    with pytest.raises(ValueError, match="Expected image files after the run directory or preset. Received: none"):
        kzoo_command("predict", trained.directory)


def test_preset_stands_where_a_run_may(saved, tmp_path):
    Image.new("RGB", (20, 10)).save(photo := tmp_path / "photo.jpg")
    assert printed_json("predict", saved, photo) == printed_json("predict", "--preset", saved, photo)
    of_digits = ("--data", "digits", "--split", "validation")
    assert printed_json("evaluate", saved, *of_digits) == printed_json("evaluate", "--preset", saved, *of_digits)
    assert printed_json("predict", "digits/resnet20", photo)[0]["file"] == str(photo)


def test_preset_info_shows_a_folder(saved):
    content = printed_json("preset", "info", saved)
    assert content["model"]["depth"] == 8
    assert content["folder"] == str(saved)


def test_run_whose_data_have_changed_is_measured_on_none(trained, tmp_path):
    other = kzoo.load_dataset("digits", image_size=8, split_seed=1)
    with pytest.raises(ValueError, match="must be those that .* was trained on, by their fingerprint"):
        trained.save_preset(tmp_path / "preset", other)
    kept = trained.save_preset(tmp_path / "preset", other, measure=False)
    about = json.loads((kept / "config.json").read_text())["about"]
    assert about["test"].keys() == {"accuracy", "loss"}


def test_preset_computes_in_the_precision_that_is_asked_for(trained, tmp_path):
    printed_json("preset", "save", trained.directory, tmp_path / "preset", "--precision", "float64")
    preset, content = kzoo.Preset(tmp_path / "preset"), json.loads((tmp_path / "preset" / "config.json").read_text())
    assert content["precision"] == "float64"
    assert content["about"]["recipe"]["precision"] == "float32"  # of the training
    model = preset.load_model()
    assert model.get_layer("stem_conv").compute_dtype == "float64"
    for one, other in zip(model.get_weights(), trained.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="`precision` must be one of .* Received: precision='float46'"):
        trained.save_preset(tmp_path / "other", precision="float46")


@pytest.mark.parametrize(("precision", "name"), [("float32", "fast"), ("mixed_bfloat16", "fast, in mixed_bfloat16")])
def test_recipe_of_a_card_has_a_name(precision, name):
    recorded = kzoo.recipe("fast").override(precision=precision).record()
    assert _name_of(json.loads(json.dumps(recorded))) == name


def test_run_of_another_model_is_no_preset(trained, tmp_path):
    folder = shutil.copytree(trained.directory, tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    config["model"]["construction"] = None
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="must be of a model that a constructor of kzoo built"):
        kzoo.Run(folder).save_preset(tmp_path / "preset")
    config["model"]["construction"] = {"constructor": "os.system"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="config.json must say how its model was built: 'model.constructor'"):
        kzoo.Run(folder).save_preset(tmp_path / "preset")


@pytest.mark.shared
def test_import_converts_a_checkpoint(shared, tmp_path):
    pytest.importorskip("torch")
    checkpoint = shared / "weights" / "akamaster" / "resnet20-12fca82f.th"
    out = tmp_path / "aka.weights.h5"
    options = ["--layout", "akamaster", "--out", out]
    result = kzoo_command("import", checkpoint, "--model", "resnet20", *options)
    assert "resnet20, 10 classes" in result.output
    model = kzoo.resnet20()
    kzoo.load_torch_checkpoint(model, checkpoint, layout="akamaster")
    for a, b in zip(model.get_weights(), kzoo.resnet20(weights=out).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"module\.layer1\.3\.conv1\.weight is missing"):
        kzoo_command("import", checkpoint, "--model", "resnet56", *options)


def test_to_torch_writes_a_checkpoint_that_import_reads(tmp_path):
    pytest.importorskip("torch")
    file, weights = tmp_path / "digits.pt", tmp_path / "digits.weights.h5"
    said = kzoo_command("preset", "to-torch", "digits/resnet20", "--layout", "akamaster", "--out", file).stdout
    assert f"Wrote {file}: resnet20 in the layout 'akamaster'.\nIt takes (pixels / 255 - mean) / deviation" in said
    kzoo_command("import", file, "--model", "resnet20", "--layout", "akamaster", "--out", weights)
    read, preset = kzoo.resnet20(weights=weights), kzoo.load_preset("digits/resnet20")
    kernels = [keras.ops.convert_to_numpy(model.get_layer("stem_conv").kernel) for model in (read, preset)]
    np.testing.assert_array_equal(*kernels)


def test_to_torch_takes_a_model_without_normalization(tmp_path):
    pytest.importorskip("torch")
    model = kzoo.resnet(8, input_shape=(8, 8, 3), include_preprocessing=False)
    preset = kzoo.save_preset(model, tmp_path / "preset")
    printed = printed_json("preset", "to-torch", preset, "--layout", "akamaster", "--out", tmp_path / "a.pt")
    assert printed.keys() == {"checkpoint", "model", "layout"}
