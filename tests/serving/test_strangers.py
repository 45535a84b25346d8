"""Exports of strangers."""

import importlib.util
import json
import re

import numpy as np
import pytest

from kzoo.serving.card import read_examples
from kzoo.serving.runners import Runner
from kzoo.serving.runtime import load_export

CARD = {"name": "digits", "version": 1, "image_size": [8, 8], "decoding": {"image_size": [8, 8]}}


@pytest.fixture
def export(tmp_path):
    (tmp_path / "card.json").write_text(json.dumps(CARD))
    (tmp_path / "classes.txt").write_text("a\nb\n")
    (tmp_path / "saved_model.pb").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "</script>"}, "`name` must be letters, digits, '_', '.' and '-'. Received: name='</script>'."),
        ({"name": "../digits"}, "`name` must be letters"),
        ({"name": ["digits"]}, "`name` must be letters"),
        ({"decoding": {"image_size": [8, 8], "command": "rm"}}, "must be a card that `kzoo export` wrote."),
        (
            {"decoding": {"image_size": [10**6, 10**6]}},
            "`image_size` must be (height, width) in pixels, at most 89,478,485, ",
        ),
        ({"decoding": {}}, "must be a card that `kzoo export` wrote. Received: image_size=None."),
        ({"decoding": None}, "must be a card that `kzoo export` wrote."),
    ],
)
def test_card_of_a_stranger_is_checked_before_the_model_is_loaded(changes, message, export):
    (export / "card.json").write_text(json.dumps({**CARD, **changes}))
    with pytest.raises(ValueError, match=re.escape(message)):
        load_export(export)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"name": "a"}'])
def test_damaged_card_is_told(content, export):
    (export / "card.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"card.json must be "):
        load_export(export)


@pytest.mark.parametrize("name", ["card.json", "classes.txt", "examples.json"])
def test_files_without_end_are_not_read(name, export, monkeypatch):
    monkeypatch.setattr("kzoo.serving.runtime.load_runner", lambda *_: Runner("test", "test", answer))
    assert load_export(export).class_names == ("a", "b")
    with (export / name).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match=r"must be at most 67,108,864 bytes. Received: 1,099,511,627,776 bytes."):
        load_export(export)


def answer(images):
    return {"logits": np.zeros((len(images), 2), np.float32)}


@pytest.fixture
def saved_model(export):
    """Returns a function that writes a SavedModel, which may write a file when it is asked."""
    tf = pytest.importorskip("tensorflow")

    def save(to_write=None):
        class Served(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.uint8, name="image")])
            def serving_default(self, image):
                if to_write is not None:
                    tf.io.write_file(str(to_write), "written")
                logits = tf.reduce_sum(tf.cast(image, tf.float32), axis=[1, 2])[:, :2]
                classes = tf.argmax(logits, axis=-1)
                return {"logits": logits, "probabilities": tf.nn.softmax(logits), "class_index": classes}

        module = Served()
        tf.saved_model.save(module, str(export), {"serving_default": module.serving_default})
        return export

    return save


def test_openvino_runs_no_graph_that_writes_files(saved_model, tmp_path):
    pytest.importorskip("openvino")
    directory = saved_model(to_write=tmp_path / "written")
    with pytest.raises(ValueError, match=r"must hold a model that OpenVINO can run. Received: .*WriteFile"):
        load_export(directory)
    assert not (tmp_path / "written").exists()


def test_tensorflow_is_warned_of(saved_model, monkeypatch):
    directory = saved_model()
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find_spec(name))
    with pytest.warns(UserWarning, match="TensorFlow runs whatever the graph in .* does, reading and writing files"):
        assert load_export(directory).runtime == "tensorflow"


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"3",
        b"[3]",
        b'[{"png": 3}]',
        b'[{"png": "", "logits": {"a": "b"}}]',
        b'[{"png": "", "logits": 3}]',
        b'[{"png": "", "label": []}]',
    ],
)
def test_damaged_examples_are_told(content, export):
    (export / "examples.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"examples.json must be examples that `kzoo export` wrote."):
        read_examples(export)


@pytest.mark.parametrize(
    ("file", "runtime", "named"),
    [("model.xml", "openvino", "OpenVINO"), ("model.onnx", "onnxruntime", "ONNX Runtime")],
)
def test_damaged_model_is_told_by_its_runtime(file, runtime, named, export):
    pytest.importorskip(runtime)
    (export / "saved_model.pb").unlink()
    (export / file).write_bytes(b"no model")
    with pytest.raises(ValueError, match=f"must hold a model that {named} can run. Received: "):
        load_export(export)


def test_model_without_its_runtime_names_the_extra(export, monkeypatch):
    (export / "saved_model.pb").unlink()
    (export / "model.tflite").write_bytes(b"")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"needs a runtime for litert. Received: none .* Install 'kzoo\[litert\]'"):
        load_export(export)


def test_runtime_that_the_export_is_not_for_is_told(export):
    with pytest.raises(FileNotFoundError, match=r"Expected model.onnx. Received: .*, where there is none."):
        load_export(export, "onnxruntime")
