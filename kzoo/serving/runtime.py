"""An export that is loaded, and found to answer what it answered when it was written."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo.data.images import Decoding
from kzoo.export.class_names import read_class_names
from kzoo.export.signatures import CARD, CLASSES, FILES
from kzoo.serving.card import Card, Example, read_card, read_examples
from kzoo.serving.runners import Outputs, Predict, Runner, load_runner

# Of the largest logit. An int8 model on a processor without the instructions for it may saturate.
_APART = {"float32": 1e-3, "float16": 2e-2, "int8": 0.2}


@dataclasses.dataclass(frozen=True)
class ExportedModel:
    """An export ready to answer.

    Attributes:
        name: String, what clients call it.
        version: String.
        class_names: One name a class.
        decoding: `Decoding`, how image files become what the model takes.
        runtime: String, which computes: `"openvino"`, `"onnxruntime"`, `"litert"` or `"tensorflow"`.
        predict: From uint8 images `(batch, height, width, channels)` to the outputs; may be called by several threads
            at once.
        predict_floats: The same from float32 images, or `None` where the export takes integers alone.
        format: String, what the runtime read.
        card: The `Card`.
        examples: The `Example`s that came with it.
        directory: Path of the version's folder.
    """

    name: str
    version: str
    class_names: tuple[str, ...]
    decoding: Decoding
    runtime: str
    predict: Predict
    predict_floats: Predict | None
    format: str
    card: Card
    examples: tuple[Example, ...]
    directory: Path

    def answer(self, images: npt.NDArray[Any]) -> Outputs:
        """Computes the outputs for images in uint8, or in float32 where `predict_floats` is there."""
        if images.dtype == np.uint8:
            return self.predict(images)
        assert self.predict_floats is not None
        return self.predict_floats(images)


def load_export(directory: str | os.PathLike[str], runtime: str | None = None) -> ExportedModel:
    """Loads an export that `kzoo export` wrote, asks it about its examples, and compares with what they came to then.

    What was exported for a runtime is run by it; a SavedModel by OpenVINO where that is installed, by TensorFlow
    elsewhere. TensorFlow runs whatever is in the graph of a SavedModel, and its operations read and write files: a
    warning says so. The other runtimes have no such operations.

    Args:
        directory: Path of a version, or of the folder of all versions, of which the highest is taken.
        runtime: String, the runtime to take. Defaults to `None`, the best that is installed.

    Raises:
        FileNotFoundError: If there is no such export.
        ImportError: If no runtime for it is installed.
        ValueError: If the export is damaged, holds what the runtime does not run, does not name as many classes as the
            model has, or answers something else than it did when it was written.
    """
    path = newest_version(Path(directory))
    card = read_card(path)
    examples = read_examples(path)
    runner = load_runner(path, runtime)
    outputs = _first_outputs(path, card, runner)
    names = read_class_names(path / CLASSES, outputs["logits"].shape[-1])
    _check_examples(path, card, runner.format, runner.predict, examples)
    return ExportedModel(
        card.name,
        card.version,
        names,
        card.decoding,
        runner.runtime,
        runner.predict,
        runner.predict_floats,
        runner.format,
        card,
        tuple(examples),
        path,
    )


def newest_version(directory: Path) -> Path:
    """Returns the folder of an export itself, or of its highest version.

    Raises:
        FileNotFoundError: If there is no export.
    """
    versions = sorted((path for path in directory.glob("*") if is_version(path)), key=lambda path: int(path.name))
    path = directory if (directory / CARD).is_file() or not versions else versions[-1]
    if not is_export(path):
        first, *others = FILES.values()
        raise FileNotFoundError(
            f"Expected an export for servers, with {CARD} and {first} or {', '.join(others)}. Received: {path}."
        )
    return path


def is_version(path: Path) -> bool:
    """Whether a folder is called as a version is."""
    return path.name.isascii() and path.name.isdigit()


def is_export(path: Path) -> bool:
    """Whether there is a card and a model in a folder."""
    return (path / CARD).is_file() and any((path / file).is_file() for file in FILES.values())


def _first_outputs(path: Path, card: Card, runner: Runner) -> Outputs:
    """Returns the outputs for one black image of the size that the card names."""
    shape = (*card.image_size, card.decoding.channels)
    expected = f"{path} must hold a model for images of {'x'.join(map(str, shape))}, as its card says"
    try:
        outputs = runner.predict(np.zeros((1, *shape), np.uint8))
    except Exception as error:  # runtimes raise whatever they like about images that the model does not take
        raise ValueError(f"{expected}. Received: {' '.join(str(error).split())[:500]}") from error
    if (answers := len(outputs["logits"])) != 1:  # or run what a part of the image would make
        raise ValueError(f"{expected}. Received: {answers} answers for one image.")
    return outputs


def _check_examples(path: Path, card: Card, kind: str, predict: Predict, examples: Sequence[Example]) -> None:
    precision = card.content.get("precision")
    limit = _APART.get(precision if isinstance(precision, str) else "float32", _APART["float32"])
    for index, example in enumerate(examples):
        if (expected := example.logits.get(kind)) is None:
            continue
        found = predict(card.decoding.decode(example.png, f"example {index}")[None])["logits"][0]
        if found.shape != expected.shape:
            raise ValueError(f"{path} must answer with {len(expected)} classes. Received: {len(found)}.")
        apart = float(np.abs(found - expected).max())
        largest = max(float(np.abs(expected).max()), 1.0)
        if not apart <= limit * largest:
            raise ValueError(
                f"{path} must answer as it did when it was written, its logits to {limit * largest:.3g}. "
                f"Received: a difference of {apart:.3g} for example {index} ({kind}). Its files may be damaged."
            )
