"""What goes from the process that has the model to those that have TensorFlow or another runtime."""

import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kzoo.archives import write_arrays
from kzoo.arguments import path
from kzoo.errors import ExportError
from kzoo.evaluation import as_logits, log_softmax
from kzoo.export.quantizing import Quantizing
from kzoo.presets import save_weights
from kzoo.recursion import deep_recursion

ARCHITECTURE = "model.json"
WEIGHTS = "model.weights.h5"
JOB = "job.json"
EXAMPLE = "example.png"
REFERENCE = "reference.npz"
CALIBRATION = "calibration.npy"
VALIDATION = "validation.npy"
SAVED_MODEL = "saved_model"
FLOATS = "floats"
RESULT = "result"
NOTES = "notes.json"

_TIMEOUT_SECONDS = 1800


@deep_recursion()
def in_float32(model: keras.Model) -> keras.Model:
    """Returns a model that computes in float32, and so do the models inside of it: the same one if it does already."""
    if _is_in_float32(model):
        return model

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return in_float32(layer)
        dtype = {"dtype": "float32"} if isinstance(layer, keras.layers.Layer) else {}  # `x + y` is an operation alone
        return type(layer).from_config({**layer.get_config(), **dtype})

    cloned = keras.models.clone_model(model, clone_function=clone)
    cloned.set_weights([np.asarray(keras.ops.convert_to_numpy(weight), np.float32) for weight in model.weights])
    return cloned


def _is_in_float32(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.Model):
        return all(map(_is_in_float32, layer.layers))
    return layer.compute_dtype == layer.variable_dtype == "float32"


def answers_of(model: keras.Model, images: npt.NDArray[np.uint8], from_logits: bool) -> dict[str, npt.NDArray[Any]]:
    """Returns the `logits` and `probabilities` that the source model answers with, one call for all images."""
    outputs = np.asarray(keras.ops.convert_to_numpy(model(images, training=False)))
    probabilities = np.exp(log_softmax(outputs)) if from_logits else outputs
    return {"logits": np.asarray(as_logits(outputs, from_logits)), "probabilities": probabilities}


def write_model(model: keras.Model, folder: Path) -> None:
    """Writes architecture and weights; no code and no pickle."""
    (folder / ARCHITECTURE).write_text(model.to_json())
    save_weights(model, folder / WEIGHTS)


def write_reference(images: npt.NDArray[np.uint8], batches: Sequence[int], folder: Path) -> None:
    """Writes the images to ask every runtime about, as pixels and as PNG files."""
    files = [png_of(image) for image in images]
    (folder / EXAMPLE).write_bytes(files[0])
    arrays: dict[str, npt.ArrayLike] = {
        "images": images,
        "encoded": np.frombuffer(b"".join(files), np.uint8),
        "encoded_sizes": [len(file) for file in files],
        "batches": list(batches),
    }
    write_arrays(folder / REFERENCE, arrays)


def write_quantizing(quantizing: Quantizing, folder: Path) -> None:
    """Writes the images to calibrate with, and those to measure the accuracy on, some at a time."""
    if quantizing.calibration is not None:
        np.save(folder / CALIBRATION, quantizing.calibration)
    split, start = quantizing.validation, 0
    shape = (len(split), *split.image_shape)
    images = np.lib.format.open_memmap(folder / VALIDATION, "w+", np.uint8, shape)
    for chunk in split.chunks():
        images[start : start + len(chunk)] = chunk
        start += len(chunk)
    images.flush()


def interpreter(python: str | os.PathLike[str] | None) -> str:
    """Returns the interpreter that has TensorFlow: the one named, or else this one.

    Raises:
        FileNotFoundError: If the one named does not exist.
        ImportError: If none is named and this one has no TensorFlow.
    """
    if python is not None:
        if not path(python, "python").is_file():
            raise FileNotFoundError(f"`python` must be the path of a Python interpreter. Received: python={python}.")
        return os.fspath(python)
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            f"Exporting needs TensorFlow, on every backend. Received: {sys.executable}, which has none. Install "
            "'kzoo[tensorflow-cpu]' beside this backend, or in an environment of its own whose interpreter you name "
            "by `python` (on the command line: --python PATH)."
        )
    return sys.executable


def run_worker(python: str, folder: Path) -> None:
    """Runs the half of the export that needs TensorFlow.

    Raises:
        kzoo.errors.ExportError: If it fails; with the end of what it said.
    """
    _run([python, "-m", "kzoo.export.worker", str(folder)], "write the export")


def notes_of(folder: Path) -> dict[str, Any]:
    """Returns what the worker noted of each format."""
    file = folder / NOTES
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def run_reader(python: str, format_name: str, folder: Path, directory: str = RESULT) -> dict[str, Any]:
    """Reads the export in a process without Keras and kzoo.

    Args:
        python: Path of the interpreter.
        format_name: String, what to read.
        folder: Path of the private folder.
        directory: String, which folder in it to read. Defaults to that of the result.

    Returns:
        What `kzoo/export/readers.py` writes down.

    Raises:
        kzoo.errors.ExportError: If it fails; with the end of what it said.
    """
    answers = folder / "answers.npz"
    script = Path(__file__).with_name("readers.py")
    # -P: what lies beside the script must not be taken for packages of the same name.
    command = [python, "-P", str(script), format_name, str(folder / directory), str(folder / REFERENCE), str(answers)]
    if (folder / VALIDATION).is_file():
        command.append(str(folder / VALIDATION))
    _run(command, "read the export back")
    with np.load(answers) as content:
        return dict(content)


def _run(command: list[str], what: str) -> None:
    settings = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    result = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
    )
    if result.returncode == 0:
        return
    said = "\n".join(result.stderr.strip().splitlines()[-12:])
    hint = _hint(said)
    raise ExportError(f"{command[0]} must be able to {what}. Received: exit status {result.returncode}.{hint}\n{said}")


def _hint(said: str) -> str:
    extras = {"tensorflow": "tensorflow-cpu", "kzoo": "tensorflow-cpu", "tf2onnx": "onnx", "onnx": "onnx"}
    extras |= {"nncf": "quantize", "onnxruntime": "onnx", "ai_edge_litert": "litert", "openvino": "openvino"}
    for module, extra in extras.items():
        if f"No module named '{module}'" in said or f"No module named {module}" in said:
            return f" Install 'kzoo[{extra}]' for that interpreter."
    return ""


def png_of(image: npt.NDArray[np.uint8]) -> bytes:
    """Returns an image as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    return file.getvalue()
