"""From a model on any backend to a verified export on disk."""

import dataclasses
import datetime
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kzoo.arguments import boolean, instance, integer, path
from kzoo.choices import check_choice
from kzoo.data.images import Decoding
from kzoo.durable import private_folder, put_in_place, told
from kzoo.errors import ExportError
from kzoo.evaluation import gives_logits, log_softmax
from kzoo.export import handover
from kzoo.export.class_names import check_name, checked_class_names, write_class_names
from kzoo.export.signatures import CARD, CLASSES, FORMATS, INPUTS, OUTPUTS, VERIFICATION

TOLERANCE = 1e-4
BATCHES = (1, 7)
_INPUTS = {1: "grey", 3: "RGB", 4: "RGB and opacity"}


@dataclasses.dataclass(frozen=True)
class Exported:
    """An export that has been read back and found to answer as its source does.

    Attributes:
        directory: Path of the version's folder.
        format: String, one of `saved_model`, `onnx`, `litert`, `openvino`.
        runtime: String, what read it back, with its version.
        largest_difference: Float, between a logit of the export and of its source; between probabilities if the source
            gives those.
        largest_logit: Float, the largest logit of the source in absolute value.
    """

    directory: Path
    format: str
    runtime: str
    largest_difference: float
    largest_logit: float


def export_model(
    model: keras.Model,
    out: str | os.PathLike[str],
    *,
    format: str = "saved_model",  # noqa: A002
    name: str | None = None,
    version: int = 1,
    class_names: Sequence[str] | None = None,
    images: npt.NDArray[np.uint8] | None = None,
    fold: bool = True,
    python: str | os.PathLike[str] | None = None,
    card: Mapping[str, Any] | None = None,
    from_logits: bool | None = None,
    decoding: Decoding | None = None,
) -> Exported:
    """Exports a classifier to `out/name/version`, and verifies it there before it counts.

    TensorFlow writes the export in a process of its own, whatever backend the model is on; this process never imports
    it. Another process, which has neither Keras nor kzoo, reads it back with the runtime of the format and answers for
    real images at batch sizes 1 and 7. Beside the model lie `classes.txt`, `card.json` and `verification.json`.

    A SavedModel has three signatures, each with the outputs `logits`, `probabilities` and `class_index`:
    `serving_default` (`image`: uint8 `(batch, height, width, channels)`), `float_images` (the same in float32) and
    `encoded_images` (`image_bytes`: JPEG or PNG files, of any size). The other formats have the first alone.

    Args:
        model: A `keras.Model` from images in [0, 255], `(batch, height, width, channels)`, to one logit or probability
            a class.
        out: Path of the folder of all exports.
        format: `"saved_model"`, `"onnx"`, `"litert"` or `"openvino"`. Defaults to `"saved_model"`.
        name: String, what servers call the model. Defaults to the model's name.
        version: Integer, 1 or larger. Defaults to `1`.
        class_names: One name a class. Defaults to the numbers.
        images: uint8 array `(n, height, width, channels)` of real images to verify with, at least 7. Defaults to
            handwritten digits.
        fold: Boolean, whether to fold batch normalization into the convolutions. Defaults to `True`.
        python: Path of an interpreter that has kzoo and TensorFlow (and the format's library). Defaults to this one.
        card: What else `card.json` should say. Defaults to nothing.
        from_logits: Boolean, whether the model gives logits. Defaults to `None`, to see it by what the model answers to
            a few images, as `kzoo.evaluate` does.
        decoding: How `encoded_images` and servers make pixels of files, to the size and channels of the model's input.
            Defaults to `None`, to stretch images.

    Returns:
        An `Exported`.

    Raises:
        ValueError: If an argument is none of those above, the model's answers contradict `from_logits`, or its batch
            normalization cannot be folded.
        FileExistsError: If that version exists.
        ImportError: If there is no TensorFlow.
        OSError: If the disk is full, or `out` cannot be written to.
        kzoo.errors.ExportError: If the export cannot be written or read, or answers differently by more than 1e-4: of
            the largest logit, or in a probability if the model gives probabilities. Nothing is left of it.

    Example:
        >>> kzoo.export_model(model, "served", name="digits", class_names=list("0123456789")).directory
        PosixPath('served/digits/1')
    """
    instance(model, "model", keras.Model, "a keras.Model, such as `kzoo.create_model` returns")
    name = model.name if name is None else name
    out, fold = path(out, "out"), boolean(fold, "fold")
    card = _checked_card(card)
    version = integer(version, "version", least=1)
    _check(model, format, name)
    classes = model.output_shape[-1]
    class_names = checked_class_names(map(str, range(classes)) if class_names is None else class_names, classes)
    decoding = _decoding_to(model.input_shape[1:], decoding)
    images = _digits(decoding) if images is None else np.asarray(images)
    _check_images(images, model.input_shape[1:])
    from_logits = gives_logits(model, from_logits=from_logits)
    python = handover.interpreter(python)
    target = Path(out, name, str(version))
    _refuse_existing(target)
    source = handover.in_float32(model)
    expected = {batch: handover.answers_of(source, images[:batch], from_logits) for batch in BATCHES}
    source = _folded(source) if fold else source
    about = {**_card(source, name, version, format, decoding), "classes": class_names, **card}
    root = target.parents[1]  # outside the tree that a server watches, on the same disk
    root.mkdir(parents=True, exist_ok=True)
    with private_folder(root) as folder, told(target, folder):
        handover.write_model(source, folder)
        handover.write_reference(images[: max(BATCHES)], BATCHES, folder)
        write_class_names(folder / CLASSES, class_names)
        (folder / CARD).write_text(json.dumps(about, indent=2) + "\n")
        job = {"format": format, "name": name, "from_logits": from_logits, "decoding": dataclasses.asdict(decoding)}
        (folder / handover.JOB).write_text(json.dumps(job))
        handover.run_worker(python, folder)
        result = folder / handover.RESULT
        answers = handover.run_reader(python, format, folder)
        verification = compare(answers, expected, from_logits)
        (result / VERIFICATION).write_text(json.dumps(verification, indent=2) + "\n")
        for file in (CARD, CLASSES):
            shutil.copy(folder / file, result / file)
        target.parent.mkdir(parents=True, exist_ok=True)
        _refuse_existing(target)
        put_in_place(result, target)
    return Exported(
        target, format, verification["runtime"], verification["largest_difference"], verification["largest_logit"]
    )


def compare(
    answers: Mapping[str, Any], expected: Mapping[int, Mapping[str, npt.NDArray[Any]]], from_logits: bool
) -> dict[str, Any]:
    """Compares what the export answers with what its source does.

    What the source gives is compared, logits or probabilities. The probabilities of the export must also be those of
    its logits.

    Args:
        answers: What the reader wrote down: `runtime`, and an array for each `signature/batch/output`.
        expected: Batch size to the `logits` and `probabilities` of the source.
        from_logits: Boolean, whether the source gives logits.

    Returns:
        What `verification.json` says.

    Raises:
        kzoo.errors.ExportError: If a difference is above 1e-4 (of the largest logit, for logits), or is not a number.
    """
    largest_logit = max(float(np.abs(outputs["logits"]).max()) for outputs in expected.values())
    compared, limit = ("logits", TOLERANCE * largest_logit) if from_logits else ("probabilities", TOLERANCE)
    differences = {}
    for key in dict.fromkeys(key.rpartition("/")[0] for key in answers if key != "runtime"):
        reference = expected[int(key.rpartition("/")[2])]
        given = {output: answers[f"{key}/{output}"] for output in reference}
        for output, values in given.items():
            if values.shape != reference[output].shape:
                raise ExportError(
                    f"{key}/{output} must answer with shape {reference[output].shape}. Received: {values.shape}."
                )
        differences[key] = _difference(given[compared], reference[compared])
        apart = _difference(given["probabilities"], np.exp(log_softmax(given["logits"])))
        if not (differences[key] <= limit and apart <= TOLERANCE):
            raise ExportError(
                f"The export must answer as its source does, its {compared} to {limit:.4g} (the largest logit is "
                f"{largest_logit:.4g}), and its probabilities must be those of its logits. Received: a difference of "
                f"{differences[key]:.4g}, and {apart:.4g}, from {answers['runtime']} in {key} (signature/batch). "
                "Nothing was left."
            )
    return {
        "runtime": str(answers["runtime"]),
        "compared": compared,
        "tolerance": TOLERANCE,
        "largest_difference": max(differences.values()),
        "largest_logit": largest_logit,
        "differences": differences,
    }


def _difference(values: npt.NDArray[Any], reference: npt.NDArray[Any]) -> float:
    return float(np.abs(values.astype(np.float64) - reference).max())


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise FileExistsError(f"An export never overwrites a version. Received: {target}, which exists.")


def _folded(model: keras.Model) -> keras.Model:
    from kzoo.folding.fold import fold_batch_norm

    try:
        return fold_batch_norm(model)
    except ValueError as error:
        raise ValueError(f"{error} Or export the model as it is, with `fold=False` (--no-fold).") from error


def _card(model: keras.Model, name: str, version: int, format_name: str, decoding: Decoding) -> dict[str, Any]:
    from kzoo import __version__

    return {
        "name": name,
        "version": version,
        "format": format_name,
        "model": model.name,
        "parameters": model.count_params(),
        "input": f"{_INPUTS[decoding.channels]} in [0, 255], (batch, height, width, channels)",
        "image_size": list(model.input_shape[1:3]),
        "decoding": dataclasses.asdict(decoding),
        "signatures": INPUTS if format_name == "saved_model" else {"serving_default": INPUTS["serving_default"]},
        "outputs": list(OUTPUTS),
        "batch_norm": any("BatchNorm" in type(layer).__name__ for layer in model.layers),
        "source_backend": keras.backend.backend(),
        "keras": keras.__version__,
        "kzoo": __version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _decoding_to(shape: Sequence[int], decoding: Decoding | None) -> Decoding:
    height, width, channels = shape
    decoding = Decoding((height, width), channels=channels) if decoding is None else decoding
    instance(decoding, "decoding", Decoding, "a kzoo.Decoding")
    if (decoding.image_size, decoding.channels) != ((height, width), channels):
        raise ValueError(
            f"`decoding` must give what the model takes, {height}x{width} pixels of {channels} channels. "
            f"Received: {decoding}."
        )
    return decoding


def _checked_card(card: Any) -> dict[str, Any]:
    try:
        json.dumps(given := dict(card or {}))
    except (TypeError, ValueError):
        raise ValueError(f"`card` must be what JSON can say, by its names. Received: card={card!r}.") from None
    return given


def _digits(decoding: Decoding) -> npt.NDArray[np.uint8]:
    from kzoo.data import load_dataset

    return load_dataset("digits", **dataclasses.asdict(decoding)).test.read(np.arange(max(BATCHES)))


def _check(model: keras.Model, format_name: str, name: str) -> None:
    check_choice("format", format_name, FORMATS)
    check_name(name)
    shapes = model.input_shape, model.output_shape
    if not (_is_image(shapes[0]) and isinstance(shapes[1], tuple) and len(shapes[1]) == 2):
        raise ValueError(
            "`model` must map images (batch, height, width, channels) of a known size, of 1, 3 or 4 channels, to "
            f"classes (batch, classes). Received: input_shape={shapes[0]}, output_shape={shapes[1]}."
        )


def _is_image(shape: Any) -> bool:
    return isinstance(shape, tuple) and len(shape) == 4 and None not in shape[1:] and shape[-1] in _INPUTS


def _check_images(images: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    if images.dtype != np.uint8 or images.shape[1:] != tuple(shape) or len(images) < max(BATCHES):
        raise ValueError(
            f"`images` must be at least {max(BATCHES)} uint8 images of shape {tuple(shape)}. "
            f"Received: shape={images.shape}, dtype={images.dtype}."
        )
