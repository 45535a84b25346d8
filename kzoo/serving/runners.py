"""The runtimes that compute what a server answers: OpenVINO, ONNX Runtime, LiteRT, TensorFlow.

Each is imported where it is used. All of them run what the file of an export holds; of TensorFlow alone that may be
operations that read and write files.
"""

import importlib.util
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kzoo.choices import check_choice
from kzoo.export.signatures import FILES, OUTPUTS

Outputs = dict[str, npt.NDArray[Any]]
Predict = Callable[[npt.NDArray[Any]], Outputs]


class Runner(NamedTuple):
    """A model that is loaded.

    Attributes:
        runtime: String, which computes.
        format: String, of what it read.
        predict: From images `(batch, height, width, channels)` in uint8 to the outputs; several threads may call it at
            once.
        predict_floats: The same from float32, or `None` where what was exported takes integers alone.
    """

    runtime: str
    format: str
    predict: Predict
    predict_floats: Predict | None = None


# Format and runtime, best first: what was made for a runtime is run by it.
PREFERENCES = (
    ("openvino", "openvino"),
    ("onnx", "onnxruntime"),
    ("saved_model", "openvino"),
    ("onnx", "openvino"),
    ("litert", "litert"),
    ("saved_model", "tensorflow"),
)
RUNTIMES = tuple(dict.fromkeys(runtime for _, runtime in PREFERENCES))
_MODULES = {"litert": "ai_edge_litert"}
_EXTRAS = {"openvino": "serve", "onnxruntime": "serve", "litert": "litert", "tensorflow": "tensorflow-cpu"}


def load_runner(path: Path, runtime: str | None = None) -> Runner:
    """Loads the best of the formats in a folder that an installed runtime computes.

    Args:
        path: Path of the folder of one version.
        runtime: String, the runtime to take. Defaults to `None`, the best that is installed.

    Raises:
        FileNotFoundError: If there is no model in the folder.
        ImportError: If no runtime for it is installed.
        ValueError: If the model is damaged, or holds what the runtime does not run; or if there is no such runtime.
    """
    if runtime is not None:
        check_choice("runtime", runtime, RUNTIMES)
    there = [(kind, by) for kind, by in PREFERENCES if (path / FILES[kind]).is_file() and runtime in (None, by)]
    if not there:
        files = " or ".join(dict.fromkeys(FILES[kind] for kind, by in PREFERENCES if runtime in (None, by)))
        raise FileNotFoundError(f"Expected {files}. Received: {path}, where there is none.")
    for kind, by in there:
        if importlib.util.find_spec(_MODULES.get(by, by)) is not None:
            return _loaded(path, kind, by)
    needed = " or ".join(dict.fromkeys(f"'kzoo[{_EXTRAS[by]}]'" for _, by in there))
    raise ImportError(f"{path} needs a runtime for {there[0][0]}. Received: none that is installed. Install {needed}.")


def _loaded(path: Path, kind: str, runtime: str) -> Runner:
    try:
        return _LOADERS[runtime](path, kind)
    except Exception as error:  # runtimes raise whatever a damaged or strange model makes them raise
        said = " ".join(str(error).split())[:500]
        named = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime", "litert": "LiteRT", "tensorflow": "TensorFlow"}
        raise ValueError(f"{path} must hold a model that {named[runtime]} can run. Received: {said}") from error


def _by_openvino(path: Path, kind: str) -> Runner:
    import openvino

    core = openvino.Core()
    # Threads that wait for requests answer several at once, one core each.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}

    def read() -> Any:
        return openvino.convert_model(path) if kind == "saved_model" else core.read_model(path / FILES[kind])

    def compiled(model: Any) -> Predict:
        network = core.compile_model(model, "CPU", settings)
        local = threading.local()  # a request has one set of buffers: threads must not share it

        def predict(images: npt.NDArray[Any]) -> Outputs:
            if not hasattr(local, "request"):
                local.request = network.create_infer_request()
            outputs = local.request.infer({"image": images})
            return {name: np.array(outputs[name]) for name in OUTPUTS}

        return predict

    floats: list[Predict] = []
    lock = threading.Lock()

    def predict_floats(images: npt.NDArray[Any]) -> Outputs:
        with lock:
            if not floats:  # few ask for it, so it is compiled for the first who does
                floats.append(compiled(_taking_floats(read(), openvino)))
        return floats[0](images)

    return Runner("openvino", kind, compiled(read()), predict_floats)


def _taking_floats(model: Any, openvino: Any) -> Any:
    """Gives a model of OpenVINO an input in float32 for the one in uint8, which it converts to that first."""
    from openvino import opset8

    (before,) = model.get_parameters()
    after = opset8.parameter(before.get_partial_shape(), np.float32, name="image")
    after.output(0).set_names(before.output(0).get_names())
    for use in before.output(0).get_target_inputs():
        use.replace_source_output(after.output(0))
    changed = openvino.Model(model.get_results(), [after], "float_images")
    changed.validate_nodes_and_infer_types()
    return changed


def _by_onnxruntime(path: Path, kind: str) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # as above: several requests at once, one core each
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path / FILES[kind]), options, providers=["CPUExecutionProvider"])

    def predict(images: npt.NDArray[Any]) -> Outputs:
        return dict(zip(OUTPUTS, session.run(list(OUTPUTS), {"image": images}), strict=True))

    return Runner("onnxruntime", kind, predict)


def _by_litert(path: Path, kind: str) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    local = threading.local()  # an interpreter has one set of buffers: threads must not share it

    def predict(images: npt.NDArray[Any]) -> Outputs:
        if not hasattr(local, "runner"):
            local.interpreter = Interpreter(model_path=str(path / FILES[kind]), num_threads=1)
            local.runner = local.interpreter.get_signature_runner("serving_default")
        outputs = local.runner(image=images)
        return {name: np.array(outputs[name]) for name in OUTPUTS}

    Interpreter(model_path=str(path / FILES[kind]))  # says at once what is wrong with it
    return Runner("litert", kind, predict)


def _by_tensorflow(path: Path, kind: str) -> Runner:
    import tensorflow as tf

    warnings.warn(
        f"TensorFlow runs whatever the graph in {path} does, reading and writing files too: serve only exports that "
        "you trust, or install OpenVINO, which does neither.",
        stacklevel=5,
    )
    loaded = tf.saved_model.load(str(path))

    def by(signature: str) -> Predict:
        def predict(images: npt.NDArray[Any]) -> Outputs:
            outputs = loaded.signatures[signature](image=tf.constant(images))
            return {name: outputs[name].numpy() for name in OUTPUTS}

        return predict

    floats = by("float_images") if "float_images" in loaded.signatures else None
    return Runner("tensorflow", kind, by("serving_default"), floats)


_LOADERS: dict[str, Callable[[Path, str], Runner]] = {
    "openvino": _by_openvino,
    "onnxruntime": _by_onnxruntime,
    "litert": _by_litert,
    "tensorflow": _by_tensorflow,
}
