"""Smaller forms of an export, by the libraries made for them. Runs in the process that has TensorFlow.

| format | int8 | float16 |
|---|---|---|
| `litert` | LiteRT's converter, full-integer; what it cannot do so stays in float32, and is named | its converter |
| `onnx` | ONNX Runtime's static quantization, QDQ, a scale a channel | ONNX Runtime's converter |
| `openvino` | nncf's post-training quantization | weights in float16 |

The last operations (softmax, the best class) stay in float32 where the format lets them. float16 holds weights; how it
is computed with is the runtime's choice.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo.export.signatures import FILES

Images = npt.NDArray[np.uint8]
Quantizer = Callable[[Path, Path, Path, Images], dict[str, Any]]

_QUANTIZED_OPERATIONS = ["Conv", "Gemm", "MatMul", "Add", "Relu", "GlobalAveragePool", "ReduceMean", "Concat", "Pad"]


def litert_int8(saved_model: Path, floats: Path, result: Path, images: Images) -> dict[str, Any]:
    """Writes `model.tflite` in int8, and returns what of it stays in float32."""
    import tensorflow as tf

    def representative() -> Iterator[dict[str, Images]]:
        for image in images:
            yield {"image": image[None]}

    def converter() -> Any:
        made = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=["serving_default"])
        made.optimizations = [tf.lite.Optimize.DEFAULT]
        made.representative_dataset = representative
        return made

    whole = converter()
    whole.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    try:
        content, fallback = whole.convert(), False
    except Exception:  # the converter names operations in many words and kinds of errors; the fallback says which
        partly = converter()
        partly.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
        content, fallback = partly.convert(), True
    (result / FILES["litert"]).write_bytes(content)
    interpreter = tf.lite.Interpreter(model_content=content)
    kept = sorted({one["name"] for one in interpreter.get_tensor_details() if one["dtype"] == np.float32})
    return {"float_fallback": fallback, "float_tensors": kept[:50]}


def litert_float16(saved_model: Path, floats: Path, result: Path, images: Images) -> dict[str, Any]:
    """Writes `model.tflite` with weights in float16."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=["serving_default"])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    (result / FILES["litert"]).write_bytes(converter.convert())
    return {}


def onnx_int8(saved_model: Path, floats: Path, result: Path, images: Images) -> dict[str, Any]:
    """Writes `model.onnx` in int8."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        """Gives one image after another."""

        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, Images] | None:
            image = next(self.left, None)
            return None if image is None else {"image": image[None]}

    quantize_static(
        str(floats / FILES["onnx"]),
        str(result / FILES["onnx"]),
        Reader(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_QUANTIZED_OPERATIONS,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return {}


def onnx_float16(saved_model: Path, floats: Path, result: Path, images: Images) -> dict[str, Any]:
    """Writes `model.onnx` in float16, with inputs and outputs as they were."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load(str(floats / FILES["onnx"])), keep_io_types=True)
    onnx.save(model, str(result / FILES["onnx"]))
    return {}


def openvino_int8(saved_model: Path, floats: Path, result: Path, images: Images) -> dict[str, Any]:
    """Writes `model.xml` and `model.bin` in int8."""
    import nncf
    import openvino

    model = openvino.Core().read_model(floats / FILES["openvino"])
    data = nncf.Dataset([image[None] for image in images])
    quantized = nncf.quantize(model, data, subset_size=len(images))
    openvino.save_model(quantized, result / FILES["openvino"], compress_to_fp16=False)
    return {}


def openvino_float16(saved_model: Path, floats: Path, result: Path, images: Images) -> dict[str, Any]:
    """Writes `model.xml` and `model.bin` with weights in float16."""
    import openvino

    model = openvino.Core().read_model(floats / FILES["openvino"])
    openvino.save_model(model, result / FILES["openvino"], compress_to_fp16=True)
    return {}


QUANTIZERS: dict[tuple[str, str], Quantizer] = {
    ("litert", "int8"): litert_int8,
    ("litert", "float16"): litert_float16,
    ("onnx", "int8"): onnx_int8,
    ("onnx", "float16"): onnx_float16,
    ("openvino", "int8"): openvino_int8,
    ("openvino", "float16"): openvino_float16,
}
