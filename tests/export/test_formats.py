"""The formats beside SavedModel, each where its library is installed."""

import importlib.util
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import kzoo
from kzoo.export.readers import READERS
from kzoo.export.signatures import FILES

NEEDS = {
    "onnx": ("tensorflow", "tf2onnx", "onnxruntime"),
    "litert": ("tensorflow", "ai_edge_litert"),
    "openvino": ("tensorflow", "openvino"),
}


@pytest.fixture(scope="module", params=sorted(NEEDS))
def written(request, model, digits, tmp_path_factory):
    if missing := [name for name in NEEDS[request.param] if importlib.util.find_spec(name) is None]:
        pytest.skip(f"needs {' and '.join(missing)}: run by the serving-cpu environment")
    out = tmp_path_factory.mktemp(request.param)
    return kzoo.export_model(
        model, out, format=request.param, class_names=digits.class_names, images=digits.test.images
    )


def test_format_is_verified_by_its_own_runtime(written):
    verification = json.loads((written.directory / "verification.json").read_text())
    assert verification["differences"].keys() == {"serving_default/1", "serving_default/7"}
    assert written.largest_difference <= 1e-5 * written.largest_logit
    assert written.runtime.split()[0] in ("onnxruntime", "ai-edge-litert", "openvino")
    names = {path.name for path in written.directory.iterdir()}
    assert names >= {FILES[written.format], "card.json", "classes.txt", "verification.json"}


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_format_answers_for_any_batch(written, batch, model, digits):
    images = digits.test.images[:batch]
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    answer = READERS[written.format](str(written.directory))[2]
    assert np.abs(answer("serving_default", images)["logits"] - expected).max() <= 1e-5 * np.abs(expected).max()


ASK_OPENVINO = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "kzoo"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import numpy as np, openvino

core = openvino.Core()
model = core.compile_model(core.read_model(sys.argv[1]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
images = np.load(sys.argv[2])
np.savez(sys.argv[3], **{str(n): model({"image": images[:n]})["logits"] for n in (1, 7, 64)})
"""


def test_openvino_reads_the_saved_model_without_tensorflow(exported, model, digits, tmp_path):
    pytest.importorskip("openvino")
    images = digits.test.images[:64]
    np.save(tmp_path / "images.npy", images)
    files = [exported.directory, tmp_path / "images.npy", tmp_path / "logits.npz"]
    command = [sys.executable, "-P", "-c", ASK_OPENVINO, *map(str, files)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    with np.load(tmp_path / "logits.npz") as logits:
        assert set(logits) == {"1", "7", "64"}
        for batch, answer in logits.items():
            assert np.abs(answer - expected[: int(batch)]).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["saved_model", *sorted(NEEDS)])
def test_probabilities_that_underflow_are_exported(name, digits, tmp_path, monkeypatch):
    if missing := [module for module in NEEDS.get(name, ("tensorflow",)) if importlib.util.find_spec(module) is None]:
        pytest.skip(f"needs {' and '.join(missing)}: run by the serving-cpu environment")
    logits = kzoo.resnet(8, input_shape=digits.image_shape)
    scaled = keras.layers.Rescaling(100.0)(logits.output)
    model = kzoo.Model(logits.input, keras.layers.Reshape((10,))(keras.ops.softmax(scaled)), name="certain")
    images = digits.test.images[:7]
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    assert (expected == 0).any()
    exported = kzoo.export_model(model, tmp_path, format=name, images=images)
    monkeypatch.setitem(sys.modules, "keras", keras)  # which the reader of SavedModels takes away
    answers = READERS[name](str(exported.directory))[2]("serving_default", images)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-4)
    assert np.isfinite(answers["logits"]).all()
