"""Runs an exported model by whichever runtime is installed."""

import dataclasses
import importlib.util
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kzoo.bounded import read_json
from kzoo.data.images import Decoding
from kzoo.export.class_names import check_name, read_class_names
from kzoo.export.signatures import CARD, CLASSES, FILES, OUTPUTS

_CARD_BYTES = 1 << 26

Outputs = dict[str, npt.NDArray[Any]]
Predict = Callable[[npt.NDArray[np.uint8]], Outputs]


@dataclasses.dataclass(frozen=True)
class ExportedModel:
    """An export ready to answer.

    Attributes:
        name: String, what clients call it.
        version: String.
        class_names: One name a class.
        decoding: `Decoding`, how image files become what the model takes.
        runtime: `"tensorflow"` or `"openvino"`.
        predict: From uint8 images `(batch, height, width, channels)` to the outputs; may be called by several threads
            at once.
    """

    name: str
    version: str
    class_names: tuple[str, ...]
    decoding: Decoding
    runtime: str
    predict: Predict


def load_export(directory: str | os.PathLike[str]) -> ExportedModel:
    """Loads an export that `kzoo export` wrote as SavedModel or for OpenVINO, and asks it once.

    A SavedModel runs by OpenVINO where that is installed, by TensorFlow elsewhere. TensorFlow runs whatever is in the
    graph of a SavedModel, and its operations read and write files: a warning says so. OpenVINO has no such operations.

    Args:
        directory: Path of a version, or of the folder of all versions, of which the highest is taken.

    Raises:
        FileNotFoundError: If there is no such export.
        ImportError: If neither runtime is installed.
        ValueError: If the export is damaged, holds what OpenVINO cannot run, or does not name as many classes as the
            model has.
    """
    path = _version(Path(directory))
    card = read_card(path)
    runtime = "openvino" if importlib.util.find_spec("openvino") else "tensorflow"
    if importlib.util.find_spec(runtime) is None:
        raise ImportError("Serving needs OpenVINO or TensorFlow. Received: neither. Install 'kzoo[serve]'.")
    if runtime == "tensorflow" and not (path / FILES["saved_model"]).is_file():
        raise ImportError(f"{path} needs OpenVINO, which is not installed. Install 'kzoo[openvino]'.")
    predict = _LOADERS[runtime](path)
    outputs = predict(np.zeros((1, *card.image_size, card.decoding.channels), np.uint8))
    names = read_class_names(path / CLASSES, outputs["logits"].shape[-1])
    return ExportedModel(card.name, card.version, names, card.decoding, runtime, predict)


class Card(NamedTuple):
    """What an export says of itself, as far as a server asks."""

    name: str
    version: str
    image_size: tuple[int, int]
    decoding: Decoding


def read_card(path: Path) -> Card:
    """Reads the card of an export.

    Args:
        path: Path of the export, of one version.

    Raises:
        ValueError: If it is none that `kzoo export` wrote.
    """
    card = read_json(path / CARD, _CARD_BYTES)
    try:
        name, version = card["name"], card["version"]
        decoding = Decoding(**card.get("decoding", {"image_size": card["image_size"]}))
        check_name(name)
        if (image_size := decoding.image_size) is None:
            raise ValueError("image_size=None")
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path / CARD} must be a card that `kzoo export` wrote. Received: {error}.") from error
    return Card(name, str(version), image_size, decoding)


def _version(directory: Path) -> Path:
    versions = sorted((path for path in directory.glob("*") if path.name.isdigit()), key=lambda path: int(path.name))
    path = directory if (directory / CARD).is_file() or not versions else versions[-1]
    models = [path / FILES[name] for name in ("saved_model", "openvino")]
    if not (path / CARD).is_file() or not any(model.is_file() for model in models):
        raise FileNotFoundError(
            f"Expected an export for servers, with {CARD} and {models[0].name} or {models[1].name}. Received: {path}."
        )
    return path


def _by_tensorflow(path: Path) -> Predict:
    import tensorflow as tf

    warnings.warn(
        f"TensorFlow runs whatever the graph in {path} does, reading and writing files too: serve only exports that "
        "you trust, or install OpenVINO, which does neither.",
        stacklevel=3,
    )
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]

    def predict(images: npt.NDArray[np.uint8]) -> Outputs:
        outputs = signature(image=tf.constant(images))
        return {name: outputs[name].numpy() for name in OUTPUTS}

    predict.loaded = loaded  # type: ignore[attr-defined]  # a signature holds its model by a weak reference
    return predict


def _by_openvino(path: Path) -> Predict:
    import openvino

    core = openvino.Core()
    file = path / FILES["openvino"]
    try:
        model = core.read_model(file) if file.is_file() else openvino.convert_model(path)
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except Exception as error:  # OpenVINO raises whatever a damaged or strange model makes it raise
        said = " ".join(str(error).split())[:500]
        raise ValueError(f"{path} must hold a model that OpenVINO can run. Received: {said}") from error
    local = threading.local()  # a request has one set of buffers: threads must not share it

    def predict(images: npt.NDArray[np.uint8]) -> Outputs:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        outputs = local.request.infer({"image": images})
        return {name: np.array(outputs[name]) for name in OUTPUTS}

    return predict


_LOADERS: dict[str, Callable[[Path], Predict]] = {"tensorflow": _by_tensorflow, "openvino": _by_openvino}
