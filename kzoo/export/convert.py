"""From a SavedModel to the other formats, by the libraries made for them. Runs in the process that has TensorFlow."""

from pathlib import Path
from typing import Any

import keras

from kzoo.export.saved_model import served
from kzoo.export.signatures import FILES, OUTPUTS

_OPSET = 18


def write_onnx(model: keras.Model, saved_model: Path, directory: Path, **options: Any) -> None:
    """Writes `model.onnx` with tf2onnx; `options` are those of `served`."""
    import onnx
    import tf2onnx

    module = served(model, **options)  # a tf.function holds its module by a weak reference
    function = module.serving_default
    graph, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=_OPSET)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, directory / FILES["onnx"])


def write_litert(model: keras.Model, saved_model: Path, directory: Path, **options: Any) -> None:
    """Writes `model.tflite`, of built-in operations only."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=["serving_default"])
    (directory / FILES["litert"]).write_bytes(converter.convert())


def write_openvino(model: keras.Model, saved_model: Path, directory: Path, **options: Any) -> None:
    """Writes `model.xml` and `model.bin`, in float32."""
    import openvino

    converted: Any = openvino.convert_model(saved_model)
    names = {name for output in converted.outputs for name in output.get_names()}
    if missing := set(OUTPUTS) - names:
        raise RuntimeError(f"OpenVINO must keep the outputs {', '.join(OUTPUTS)}. Received: without {missing}.")
    openvino.save_model(converted, directory / FILES["openvino"], compress_to_fp16=False)


WRITERS = {"onnx": write_onnx, "litert": write_litert, "openvino": write_openvino}
