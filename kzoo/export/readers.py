"""Reads an export with the runtime of its format alone, in a process of its own, and writes down what it answers.

This file is run by its path, so neither kzoo nor Keras is imported: what it reads is what a server reads.

    python -P readers.py FORMAT DIRECTORY REFERENCE.npz ANSWERS.npz [VALIDATION.npy]

`REFERENCE.npz` holds `images`, uint8 `(n, height, width, 3)`, `encoded`, the same as PNG files, and `batches`.
`ANSWERS.npz` gets `<signature>/<batch>/<output>` for the first `batch` images, of the outputs `logits` and
`probabilities`; `runtime`; `milliseconds`, the median time for one image; and `classes`, the likeliest class of each
image of `VALIDATION.npy`, if there is one.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Answer = Callable[[str, Any], dict[str, Any]]
_OUTPUTS = ["logits", "probabilities"]
_ROUNDS, _MOST_SECONDS = 50, 2.0
_BATCH = 64


def read_saved_model(directory: str) -> tuple[str, tuple[str, ...], Answer]:
    """Opens a SavedModel with TensorFlow, and without Keras, which TensorFlow would import if it could.

    TensorFlow runs whatever is in its graph, so this is for what the export that asks for it has just written.
    """
    sys.modules["keras"] = None  # type: ignore[assignment]
    import tensorflow as tf

    loaded = tf.saved_model.load(directory)

    def answer(signature: str, images: Any) -> dict[str, Any]:
        name = "image_bytes" if signature == "encoded_images" else "image"
        outputs = loaded.signatures[signature](**{name: tf.constant(images)})
        return {name: outputs[name].numpy() for name in _OUTPUTS}

    return f"tensorflow {tf.__version__}", ("serving_default", "float_images", "encoded_images"), answer


def read_onnx(directory: str) -> tuple[str, tuple[str, ...], Answer]:
    """Opens an ONNX file with ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(f"{directory}/model.onnx", providers=["CPUExecutionProvider"])

    def answer(signature: str, images: Any) -> dict[str, Any]:
        return dict(zip(_OUTPUTS, session.run(_OUTPUTS, {"image": images}), strict=True))

    return f"onnxruntime {onnxruntime.__version__}", ("serving_default",), answer


def read_litert(directory: str) -> tuple[str, tuple[str, ...], Answer]:
    """Opens a LiteRT file with the LiteRT interpreter."""
    import importlib.metadata

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=f"{directory}/model.tflite")
    runner = interpreter.get_signature_runner("serving_default")

    def answer(signature: str, images: Any) -> dict[str, Any]:
        outputs = runner(image=images)
        return {name: outputs[name] for name in _OUTPUTS}

    return f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}", ("serving_default",), answer


def read_openvino(directory: str) -> tuple[str, tuple[str, ...], Answer]:
    """Opens an OpenVINO model, or the `serving_default` of a SavedModel, with OpenVINO."""
    import os

    import openvino

    path = f"{directory}/model.xml"
    core = openvino.Core()
    model = core.read_model(path) if os.path.exists(path) else openvino.convert_model(directory)
    # Some processors' plugins compute in bfloat16 unless told not to.
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def answer(signature: str, images: Any) -> dict[str, Any]:
        outputs = compiled({"image": images})
        return {name: np.array(outputs[name]) for name in _OUTPUTS}

    version = openvino.__version__.partition("-")[0]  # without build and branch
    return f"openvino {version}", ("serving_default",), answer


READERS = {
    "saved_model": read_saved_model,
    "onnx": read_onnx,
    "litert": read_litert,
    "openvino": read_openvino,
}


def milliseconds_of(answer: Answer, image: Any) -> float:
    """Returns the median time for one image."""
    times: list[float] = []
    while len(times) < _ROUNDS and sum(times) < _MOST_SECONDS:
        start = time.perf_counter()
        answer("serving_default", image)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times[len(times) // 5 :]))


def classes_of(answer: Answer, images: Any) -> Any:
    """Returns the likeliest class of each image."""
    batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    return np.concatenate([answer("serving_default", batch)["logits"].argmax(axis=1) for batch in batches])


def main(
    format_name: str, directory: str, reference_path: str, answers_path: str, validation_path: str | None = None
) -> None:
    """Asks every signature about every batch."""
    runtime, signatures, answer = READERS[format_name](directory)
    if loaded := [name for name in ("keras", "kzoo", "tf_keras") if sys.modules.get(name)]:
        raise RuntimeError(f"Expected a process without Keras and kzoo. Received: {', '.join(loaded)}.")
    with np.load(reference_path) as reference:
        images, batches = reference["images"], reference["batches"].tolist()
        files = [bytes(file) for file in np.split(reference["encoded"], np.cumsum(reference["encoded_sizes"])[:-1])]
    kinds = {"serving_default": images, "float_images": images.astype(np.float32), "encoded_images": files}
    answers = {
        f"{signature}/{batch}/{output}": value
        for signature in signatures
        for batch in batches
        for output, value in answer(signature, kinds[signature][:batch]).items()
    }
    answers["milliseconds"] = milliseconds_of(answer, images[:1])
    if validation_path is not None:
        answers["classes"] = classes_of(answer, np.load(validation_path, mmap_mode="r"))
    np.savez(answers_path, runtime=np.array(runtime), **answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
