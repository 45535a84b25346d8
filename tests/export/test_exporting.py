import importlib.util
import re
import stat
import sys

import keras
import numpy as np
import pytest

import kzoo
from kzoo.export import exporting, handover


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
        logits = handover.logits_of(state["model"], images)
        return {"runtime": "test 1", "serving_default/7": logits + np.float32(state["error"])}

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
    with pytest.raises(RuntimeError, match=r"to 0.0001 of the largest logit, .* Received: a difference of .* test 1"):
        kzoo.export_model(model, tmp_path)
    assert everything_in(tmp_path) == []


def test_version_is_never_overwritten(written, model, tmp_path):
    kzoo.export_model(model, tmp_path, name="m", version=3)
    before = everything_in(tmp_path)
    with pytest.raises(FileExistsError, match="An export never overwrites a version. Received: .*m/3, which exists."):
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
        ({"version": 0}, "`version` must be an integer of at least 1. Received: version=0."),
        ({"version": True}, "`version` must be an integer of at least 1. Received: version=True."),
        ({"class_names": ["a"]}, "`class_names` must be 10 different names. Received: class_names=['a']."),
        ({"class_names": ["", *list("123456789")]}, "`class_names` must be one line each, not empty. Received: ['']."),
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


@pytest.mark.parametrize("arguments", [{"include_top": False}, {"input_shape": (16, 16, 1)}])
def test_model_that_is_no_classifier_of_colour_images_is_told(arguments, tmp_path):
    model = kzoo.resnet(8, **arguments)
    with pytest.raises(ValueError, match=re.escape("`model` must map images (batch, height, width, 3)")):
        kzoo.export_model(model, tmp_path)


def test_softmax_is_undone(written, tmp_path):
    model = kzoo.resnet(8, input_shape=(16, 16, 3), classifier_activation="softmax")
    assert kzoo.export_model(model, tmp_path).largest_logit > 1


def test_comparison_asks_for_the_same_shape():
    expected = {7: np.ones((7, 10), np.float32)}
    with pytest.raises(RuntimeError, match=re.escape("a/7 must answer with shape (7, 10). Received: (7, 9).")):
        exporting.compare({"runtime": "r", "a/7": np.ones((7, 9), np.float32)}, expected)
