import importlib.util
import json
import re
import stat
import sys

import keras
import numpy as np
import pytest

import kzoo
from kzoo.evaluation import log_softmax
from kzoo.export import handover, verifying
from kzoo.export.class_names import read_class_names, write_class_names


def everything_in(directory):
    return [path.name for path in directory.rglob("*")] if directory.exists() else []


@pytest.fixture
def written(monkeypatch):
    """Replaces the other processes: the export is one file, and answers as its source plus `written["error"]`."""
    state = {"error": 0.0}

    def worker(python, folder):
        (folder / handover.RESULT).mkdir()
        (folder / handover.RESULT / "saved_model.pb").write_bytes(b"")
        state["model"] = keras.models.model_from_json((folder / handover.ARCHITECTURE).read_text())
        state["model"].load_weights(folder / handover.WEIGHTS)

    def reader(python, format_name, folder):
        with np.load(folder / handover.REFERENCE) as reference:
            images = reference["images"]
        from_logits = json.loads((folder / handover.JOB).read_text())["from_logits"]
        answers = handover.answers_of(state["model"], images, from_logits)
        shifted = {name: values + np.float32(state["error"]) for name, values in answers.items()}
        return {"runtime": "test 1", **{f"serving_default/7/{name}": values for name, values in shifted.items()}}

    monkeypatch.setattr(handover, "run_worker", worker)
    monkeypatch.setattr(handover, "run_reader", reader)
    monkeypatch.setattr(handover, "interpreter", lambda python: sys.executable)
    return state


def test_handed_over_model_answers_as_the_source(written, model, tmp_path):
    exported = kzoo.export_model(model, tmp_path)
    assert exported.directory == tmp_path / model.name / "1"
    assert exported.largest_difference <= 1e-5 * exported.largest_logit


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "float64"])
def test_model_of_another_precision_is_exported_in_float32(written, precision, tmp_path):
    kzoo.set_precision(precision)
    model = kzoo.resnet(8, input_shape=(16, 16, 3))
    kzoo.export_model(model, tmp_path)
    assert {layer.compute_dtype for layer in written["model"].layers if layer.weights} == {"float32"}


@pytest.mark.parametrize("error", [0.1, np.nan])
def test_difference_fails_the_export_and_leaves_nothing(written, error, model, tmp_path):
    written["error"] = error
    with pytest.raises(RuntimeError, match=r"its logits to .* Received: a difference of .* test 1"):
        kzoo.export_model(model, tmp_path)
    assert everything_in(tmp_path) == []


def test_version_is_never_overwritten(written, model, tmp_path):
    kzoo.export_model(model, tmp_path, name="m", version=3)
    before = everything_in(tmp_path)
    with pytest.raises(FileExistsError, match="never overwrites .* new `version`. Received: .*m/3, which exists."):
        kzoo.export_model(model, tmp_path, name="m", version=3)
    assert everything_in(tmp_path) == before
    assert kzoo.export_model(model, tmp_path, name="m", version=4).directory == tmp_path / "m" / "4"


def test_missing_tensorflow_names_the_extra_and_the_option(monkeypatch, model, tmp_path):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find_spec(name))
    with pytest.raises(ImportError, match=r"(?s)Received: .*python.*'kzoo\[tensorflow-cpu\]'.*--python PATH"):
        kzoo.export_model(model, tmp_path)
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("ModuleNotFoundError: No module named 'tensorflow'", "Install 'kzoo[tensorflow-cpu]' for that interpreter."),
        ("python: No module named kzoo", "Install 'kzoo[tensorflow-cpu]' for that interpreter."),
        ("ModuleNotFoundError: No module named 'tf2onnx'", "Install 'kzoo[onnx]' for that interpreter."),
        ("ModuleNotFoundError: No module named 'ai_edge_litert'", "Install 'kzoo[litert]' for that interpreter."),
        ("MemoryError", "exit status 3.\nMemoryError"),
    ],
)
def test_failing_interpreter_is_told_and_leaves_nothing(said, hint, model, tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 3\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(RuntimeError, match=re.escape(hint)) as caught:
        kzoo.export_model(model, tmp_path / "out", python=python)
    assert str(caught.value).startswith(f"{python} must be able to write the export. Received: exit status 3.")
    assert everything_in(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "onyx"}, "`format` must be one of saved_model, onnx, litert, openvino. Received: format='onyx'."),
        ({"name": "../up"}, "`name` must be letters, digits, '_', '.' and '-'. Received: name='../up'."),
        ({"name": ""}, "`name` must be letters, digits, '_', '.' and '-'. Received: name=''."),
        ({"version": 0}, "`version` must be at least 1. Received: version=0."),
        ({"version": True}, "`version` must be an integer. Received: version=True."),
        ({"class_names": ["a"]}, "`class_names` must be 10 different names. Received: class_names=['a']."),
        (
            {"class_names": ["", *list("123456789")]},
            "one line each, not empty, without control characters. Received: [",
        ),
        ({"class_names": ["a\x85b", *list("123456789")]}, "without control characters. Received: ['a\\x85b']."),
        ({"class_names": ["a\u2028b", *list("123456789")]}, "without control characters. Received: ['a\\u2028b']."),
        ({"class_names": list(range(10))}, "`class_names` must be one line each"),
        ({"from_logits": False}, "`from_logits` must be what the model gives. Received: from_logits=False, rows are"),
        (
            {"images": np.zeros((6, 16, 16, 3), np.uint8)},
            "at least 7 uint8 images of shape (16, 16, 3). Received: shape=(6, 16, 16, 3), dtype=uint8.",
        ),
        ({"images": np.zeros((7, 16, 16, 3))}, "Received: shape=(7, 16, 16, 3), dtype=float64."),
    ],
)
def test_argument_out_of_place_is_told(arguments, message, model, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        kzoo.export_model(model, tmp_path, **arguments)
    assert everything_in(tmp_path) == []


def test_interpreter_that_does_not_exist_is_told(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="`python` must be the path of a Python interpreter. Received: "):
        kzoo.export_model(model, tmp_path, python="nowhere")


NO_CLASSIFIERS = ({"include_top": False}, {"input_shape": (16, 16, 2)}, {"input_shape": (None, 16, 3)})


@pytest.mark.parametrize("arguments", NO_CLASSIFIERS)
def test_model_that_is_no_classifier_of_images_is_told(arguments, tmp_path):
    model = kzoo.resnet(8, **arguments)
    with pytest.raises(ValueError, match="`model` must map images .* of a known size"):
        kzoo.export_model(model, tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")
@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels_are_exported(channels, tmp_path):
    model = kzoo.resnet(8, input_shape=(8, 8, channels))
    decoding = kzoo.Decoding((8, 8), "pad", channels, 0)
    exported = kzoo.export_model(model, tmp_path, decoding=decoding)
    card = json.loads((exported.directory / "card.json").read_text())
    assert kzoo.Decoding(**card["decoding"]) == decoding
    with pytest.raises(ValueError, match=f"takes, 8x8 pixels of {channels} channels. Received: Decoding"):
        kzoo.export_model(model, tmp_path / "other", decoding=kzoo.Decoding((8, 9), channels=channels))


def ending_in_softmax(kind):
    """A classifier whose probabilities come from somewhere else than the activation of its last layer."""
    logits = kzoo.resnet(8, input_shape=(16, 16, 3), classes=4, seed=2)
    images = keras.Input((16, 16, 3), name="image")
    if kind == "activation":
        return kzoo.resnet(8, input_shape=(16, 16, 3), classes=4, classifier_activation="softmax")
    if kind == "operation":
        return keras.Model(images, keras.ops.softmax(logits(images)))
    inner = keras.Sequential([keras.Input((16, 16, 3)), logits, keras.layers.Softmax()])
    if kind == "inner model":
        return keras.Model(images, inner(images))
    return keras.Model(images, keras.layers.Activation("linear")(keras.layers.Reshape((4,))(inner(images))))


@pytest.mark.parametrize("kind", ["activation", "operation", "inner model", "layers after it"])
def test_probabilities_are_exported_as_they_are(written, kind, digits, tmp_path):
    model = ending_in_softmax(kind)
    exported = kzoo.export_model(model, tmp_path, name="m", images=digits.test.images)
    assert exported.largest_logit > 1
    assert json.loads((exported.directory / "verification.json").read_text())["compared"] == "probabilities"
    expected = keras.ops.convert_to_numpy(model(digits.test.images[:7], training=False))
    answers = handover.answers_of(written["model"], digits.test.images[:7], from_logits=False)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
    np.testing.assert_allclose(np.exp(answers["logits"]), expected, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_model_with_a_model_inside_is_folded_there(written, precision, digits, tmp_path):
    kzoo.set_precision(precision)
    features = kzoo.resnet(8, input_shape=(16, 16, 3), include_top=False, pooling="avg")
    images = keras.Input((16, 16, 3), name="image")
    model = kzoo.Model(images, keras.layers.Dense(10, dtype="float32")(features(images)))
    kzoo.export_model(model, tmp_path, name="m", images=digits.test.images)
    (inner,) = [layer for layer in written["model"].layers if isinstance(layer, keras.Model)]
    assert not any(isinstance(layer, kzoo.BatchNorm) for layer in inner.layers)
    assert {layer.compute_dtype for layer in inner.layers if layer.weights} == {"float32"}


def test_what_cannot_be_folded_names_the_option(written, digits, tmp_path):
    images = keras.Input((16, 16, 3), name="image")
    x = keras.layers.BatchNormalization(axis=1)(images)
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(x)), name="m")
    with pytest.raises(ValueError, match=r"must act on the last axis.*Or export the model as it is, with `fold=False`"):
        kzoo.export_model(model, tmp_path)
    kzoo.export_model(model, tmp_path, fold=False, version=np.int64(2))


def test_class_names_come_back_to_the_letter(tmp_path):
    names = ["dog [old]", "a  b ", "\u00e9\u00a0t\u00e9", "c,d"]
    write_class_names(tmp_path / "classes.txt", names)
    assert read_class_names(tmp_path / "classes.txt", 4) == tuple(names)
    with pytest.raises(ValueError, match=r"classes.txt must have one name a class, 5. Received: 4\."):
        read_class_names(tmp_path / "classes.txt", 5)
    (tmp_path / "classes.txt").write_bytes("a\u2028b\nc\x85d\r\n".encode())
    assert read_class_names(tmp_path / "classes.txt", 2) == ("a\u2028b", "c\x85d\r")


def outputs_of(logits):
    return {"logits": np.float32(logits), "probabilities": np.exp(log_softmax(np.float32(logits)))}


def test_comparison_asks_for_the_same_shape():
    expected = {7: outputs_of(np.ones((7, 10)))}
    answers = {f"a/7/{name}": values[:, :9] for name, values in expected[7].items()}
    with pytest.raises(RuntimeError, match=re.escape("a/7/logits must answer with shape (7, 10). Received: (7, 9).")):
        verifying.compare({"runtime": "r", **answers}, expected, from_logits=True)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_comparison_sees_a_wrong_output_of_either_kind(from_logits, output):
    expected = {7: outputs_of(np.eye(7) * 3)}
    answers = {f"a/7/{name}": values + (name == output) * np.eye(7) * 0.2 for name, values in expected[7].items()}
    with pytest.raises(RuntimeError, match=r"Received: a difference of .*, from r in a/7 \(signature/batch\)"):
        verifying.compare({"runtime": "r", **answers}, expected, from_logits=from_logits)
