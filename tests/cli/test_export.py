import importlib.util
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from commands import printed_json
from PIL import Image

import kzoo
from kzoo.presets import cache, registry

needs_tensorflow = pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")
CLASSES = ("cat", "dog", "eel")


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    """A folder of 16x16 images of noise."""
    root = tmp_path_factory.mktemp("data") / "animals"
    random = np.random.RandomState(0)
    for split in ("train", "test"):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for number in range(4):
                image = random.randint(0, 256, (16, 16, 3), np.uint8)
                Image.fromarray(image).save(root / split / name / f"{number}.png")
    return root


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "some.weights.h5"
    kzoo.save_weights(kzoo.resnet20(input_shape=(16, 16, 3), classes=3, seed=1), path)
    return path


@pytest.fixture
def named(weights, monkeypatch, tmp_path):
    """The same weights, as a preset in the package."""
    folder = tmp_path / "pretrained"
    model = kzoo.resnet20(weights=weights, classes=3)
    kzoo.save_preset(model, folder / "animals" / "resnet20", class_names=CLASSES, temperature=1.5)
    monkeypatch.setattr(registry, "PRETRAINED", folder)
    monkeypatch.setattr(cache, "PRETRAINED", folder)
    return "animals/resnet20"


def assert_answers_as_the_weights(directory, weights, images):
    import tensorflow as tf

    model = kzoo.resnet20(weights=weights, input_shape=images.shape[1:], classes=3)
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    loaded = tf.saved_model.load(directory)
    logits = loaded.signatures["serving_default"](image=tf.constant(images))["logits"]
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())
    with open(f"{directory}/classes.txt") as file:
        assert tuple(file.read().split()) == CLASSES


@needs_tensorflow
def test_weights_file_is_exported_with_its_model_and_data(weights, animals, tmp_path):
    options = ["--model", "resnet20", "--data", animals, "--out", tmp_path / "out", "--name", "zoo", "--version", "7"]
    summary = printed_json("export", weights, *options)
    assert summary["directory"] == str(tmp_path / "out" / "zoo" / "7")
    assert_answers_as_the_weights(summary["directory"], weights, kzoo.load_dataset(animals).test.images)


@needs_tensorflow
@pytest.mark.parametrize("with_data", [False, True])
def test_registered_weights_are_exported_by_their_name(named, with_data, weights, animals, tmp_path):
    images = kzoo.load_dataset("digits").test.images[:7] if with_data else np.zeros((7, 32, 32, 3), np.uint8)
    summary = printed_json("export", named, "--out", tmp_path / "out", *(["--data", "digits"] if with_data else []))
    assert summary["directory"] == str(tmp_path / "out" / "resnet20" / "1")
    assert_answers_as_the_weights(summary["directory"], weights, images)
    card = json.loads(Path(summary["directory"], "card.json").read_text())
    assert (card["preset"], card["temperature"]) == (named, 1.5)


@pytest.mark.parametrize("options", [[], ["--model", "resnet20"]])
def test_weights_file_without_model_and_data_is_told(options, weights, tmp_path):
    with pytest.raises(ValueError, match="a weights file with the name of its model and a dataset. Received: source="):
        printed_json("export", weights, "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_preset_with_images_of_another_size_is_told(named, animals, tmp_path):
    with pytest.raises(ValueError, match=r"must have images of shape \(32, 32, 3\).*Received: .*of shape \(16"):
        kzoo.export_saved(named, tmp_path / "out", dataset=kzoo.load_dataset(animals))


@pytest.mark.parametrize("options", [[], ["--data", "digits"]])
def test_quantization_without_data_of_the_models_classes_is_told(options, named, tmp_path):
    with pytest.raises(ValueError, match="`dataset` must have the model's classes, to measure what `quantize` costs"):
        printed_json("export", named, "--format", "onnx", "--quantize", "int8", "--out", tmp_path / "out", *options)


def test_missing_source_is_told(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"a weights file, a preset's folder or one of .*'akamaster_resnet20'.*Received: 'no.h5'",
    ):
        printed_json("export", "no.h5", "--out", tmp_path / "out")


def test_registered_weights_of_another_model_are_told(named, tmp_path):
    with pytest.raises(
        ValueError, match="`model` must be None or the preset's, 'resnet20'. Received: model='resnet56'"
    ):
        printed_json("export", named, "--model", "resnet56", "--out", tmp_path / "out")
