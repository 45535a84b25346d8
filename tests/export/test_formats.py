"""The formats beside SavedModel, each where its library is installed."""

import importlib.util
import json

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
    return kzoo.export(model, out, format=request.param, class_names=digits.class_names, images=digits.test.images)


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
    assert np.abs(answer("serving_default", images) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_openvino_reads_the_saved_model(exported, model, digits):
    pytest.importorskip("openvino")
    expected = keras.ops.convert_to_numpy(model(digits.test.images[:7], training=False))
    answer = READERS["openvino"](str(exported.directory))[2]
    assert np.abs(answer("serving_default", digits.test.images[:7]) - expected).max() <= 1e-5 * np.abs(expected).max()
