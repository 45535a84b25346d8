"""Exports in int8 and float16, and several formats at once."""

import json
import re
import sys

import keras
import numpy as np
import pytest
from needs import skip_without

import kzoo
from kzoo.export import handover
from kzoo.export.quantizing import Quantizing, quantizing_of

SHAPE = (16, 16, 3)


def split_of(count=10, shape=SHAPE):
    random = np.random.RandomState(0)
    return kzoo.Split(random.randint(0, 256, (count, *shape), np.uint8), np.arange(count) % 10)


IMAGES = split_of().images


@pytest.fixture
def written(monkeypatch):
    """Replaces the other processes: the export answers as its source, but in int8 is wrong `written["wrong"]` times."""
    state = {"wrong": 0, "read": []}

    def worker(python, folder):
        job = json.loads((folder / handover.JOB).read_text())
        for name in (handover.RESULT, *([handover.FLOATS] if job["quantize"] else [])):
            (folder / name).mkdir()
            for file in ("model.onnx", "model.tflite"):
                (folder / name / file).write_bytes(b"1" * (10 if name == handover.RESULT else 40))
        (folder / handover.NOTES).write_text(json.dumps({"litert": {"float_tensors": ["logits"]}}))
        state["model"] = keras.models.model_from_json((folder / handover.ARCHITECTURE).read_text())
        state["model"].load_weights(folder / handover.WEIGHTS)
        if job["quantize"]:
            state["calibration"] = np.load(folder / handover.CALIBRATION)
            state["validation"] = np.load(folder / handover.VALIDATION)

    def reader(python, name, folder, directory=handover.RESULT):
        state["read"].append((name, directory))
        with np.load(folder / handover.REFERENCE) as reference:
            images = reference["images"]
        answers = handover.answers_of(state["model"], images, from_logits=True)
        found = {"runtime": f"{name} 1", "milliseconds": 2.0}
        if (folder / handover.VALIDATION).is_file():
            classes = np.arange(10)
            found["classes"] = classes.copy()
            if directory == handover.RESULT:
                found["classes"][: state["wrong"]] += 1
        return {**found, **{f"serving_default/7/{one}": values for one, values in answers.items()}}

    monkeypatch.setattr(handover, "run_worker", worker)
    monkeypatch.setattr(handover, "run_reader", reader)
    monkeypatch.setattr(handover, "interpreter", lambda python: sys.executable)
    return state


def test_several_formats_are_one_folder(written, model, tmp_path):
    exported = kzoo.export_model(model, tmp_path, name="m", format=["onnx", "litert"])
    assert [one.format for one in exported.formats] == ["onnx", "litert"]
    assert (exported.format, exported.runtime) == ("onnx", "onnx 1")
    card = json.loads((exported.directory / "card.json").read_text())
    assert card["precision"] == "float32"
    assert card["formats"]["onnx"] == {
        "precision": "float32",
        "bytes": 10,
        "milliseconds": 2.0,
        "accuracy": None,
        "runtime": "onnx 1",
    }
    verification = json.loads((exported.directory / "verification.json").read_text())
    assert verification["formats"].keys() == {"onnx", "litert"}
    assert written["read"] == [("onnx", "result"), ("litert", "result")]


def test_examples_say_what_each_format_answers(written, model, digits, tmp_path):
    images, labels = digits.test.images[:7], digits.test.labels[:7]
    exported = kzoo.export_model(model, tmp_path, name="m", format=["onnx", "litert"], images=images, labels=labels)
    examples = json.loads((exported.directory / "examples.json").read_text())
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    assert [one["label"] for one in examples] == labels[:6].tolist()
    for example, row in zip(examples, expected, strict=False):
        np.testing.assert_allclose(example["logits"]["litert"], row, atol=1e-4)


def test_accuracy_before_and_after_is_in_the_card(written, model, tmp_path):
    written["wrong"] = 1
    options = {"quantize": "int8", "calibration": IMAGES[:3], "validation": split_of(), "max_drop": 0.1}
    exported = kzoo.export_model(model, tmp_path, name="m", format=["onnx", "litert"], **options)
    card = json.loads((exported.directory / "card.json").read_text())
    assert card["precision"] == "int8"
    about = card["formats"]["litert"]
    assert (about["precision"], about["bytes"], about["accuracy"]) == ("int8", 10, 0.9)
    assert about["float32"] == {"precision": "float32", "bytes": 40, "milliseconds": 2.0, "accuracy": 1.0}
    assert about["float_tensors"] == ["logits"]
    np.testing.assert_array_equal(written["calibration"], IMAGES[:3])
    np.testing.assert_array_equal(written["validation"], IMAGES)
    assert written["read"][:2] == [("onnx", "floats"), ("onnx", "result")]


def test_export_that_loses_more_is_refused_and_leaves_nothing(written, model, tmp_path):
    written["wrong"] = 2
    options = {"quantize": "int8", "calibration": IMAGES, "validation": split_of(), "max_drop": 0.15}
    message = "onnx in int8 must be at most 0.15 less accurate than in float32, on 10 validation images. Received: 0.8"
    with pytest.raises(RuntimeError, match=re.escape(message)):
        kzoo.export_model(model, tmp_path, name="m", format="onnx", **options)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "int4"}, "`quantize` must be one of int8, float16. Received: quantize='int4'."),
        ({"precision": "float32"}, "`quantize` must be one of int8, float16. Received: quantize='float32'."),
        ({"calibration": None}, "`calibration` must be images, with quantize='int8'. Received: calibration=None."),
        ({"validation": None}, "`validation` must be a kzoo.Split to measure the accuracy on, with `quantize`. Rec"),
        ({"max_drop": 1.5}, "`max_drop` must be in [0, 1]. Received: max_drop=1.5."),
        ({"max_drop": float("nan")}, "`max_drop` must be a finite number. Received: max_drop=nan."),
        ({"formats": ("onnx", "saved_model")}, "`quantize` must be None with format 'saved_model'"),
        ({"calibration": IMAGES[..., 0]}, f"`calibration` must be uint8 images of shape {SHAPE}. Received: shape="),
        ({"calibration": IMAGES / 2}, "dtype=float64."),
        ({"validation": split_of(3, (8, 8, 3))}, f"`validation` must have images of shape {SHAPE}. Received: shape="),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_quantized_is_told(changes, message):
    given = {"precision": "int8", "calibration": IMAGES, "validation": split_of(), "formats": ("onnx",), **changes}
    formats = given.pop("formats")
    with pytest.raises(ValueError, match=re.escape(message)):
        Quantizing(**given).check(SHAPE, formats)


@pytest.mark.parametrize("given", [[], ["onnx", "onnx"], ["onnx", 3], [None]])
def test_formats_that_are_none_are_told(given, model, tmp_path):
    with pytest.raises(ValueError, match="`format` must be "):
        kzoo.export_model(model, tmp_path, format=given)


def test_images_to_calibrate_with_are_chosen_by_a_seed_and_noted(digits):
    arguments, about = quantizing_of(digits, "int8", 32, 0.02)
    again, _ = quantizing_of(digits, "int8", 32, 0.02)
    np.testing.assert_array_equal(arguments["calibration"], again["calibration"])
    noted = about["calibration"]
    assert (noted["split"], noted["images"], len(set(noted["indices"]))) == ("train", 32, 32)
    np.testing.assert_array_equal(arguments["calibration"], digits.train.read(np.array(noted["indices"])))
    assert arguments["validation"] is digits.validation
    assert about["validation_images"] == len(digits.validation)
    assert len(quantizing_of(digits, "int8", 10**6, 0.02)[0]["calibration"]) == len(digits.train)
    assert "calibration" not in quantizing_of(digits, "float16", 32, 0.02)[0]


FORMATS = ["onnx", "openvino", "litert"]


@pytest.fixture(scope="module")
def quantized(model, digits, tmp_path_factory):
    """The network in int8, in the three formats at once; not trained, so only its answers count."""
    skip_without("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert", "openvino", "nncf")
    out = tmp_path_factory.mktemp("quantized")
    options = {"quantize": "int8", "calibration": digits.train.images[:32], "validation": digits.validation}
    return kzoo.export_model(
        model, out, name="m", format=FORMATS, images=digits.test.images[:7], max_drop=1.0, **options
    )


def test_int8_is_smaller_and_answers_nearly_the_same(quantized, model, digits):
    from kzoo.export.readers import READERS

    images = digits.test.images[:64]
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    for one in quantized.formats:
        assert one.measured.precision == "int8"
        assert one.measured.bytes < 0.6 * one.source.bytes
        answers = READERS[one.format](str(quantized.directory))[2]("serving_default", images)
        apart = np.abs(answers["logits"] - expected)
        assert 1e-4 < apart.max() < 0.3 * np.abs(expected).max(), one.format
        np.testing.assert_allclose(answers["probabilities"].sum(axis=1), 1, atol=0.05)


def test_int8_is_served_from_each_format(quantized, digits):
    from kzoo.serving.runtime import load_export

    for runtime, name in (("onnxruntime", "onnx"), ("openvino", "openvino"), ("litert", "litert")):
        loaded = load_export(quantized.directory, runtime)
        assert (loaded.runtime, loaded.format) == (runtime, name)
        assert len(loaded.examples) == 6
        assert loaded.predict(digits.test.images[:5])["class_index"].shape == (5,)
    card = json.loads((quantized.directory / "card.json").read_text())
    assert card["formats"]["litert"]["float_fallback"] is False
    assert card["formats"]["litert"]["float_tensors"]
