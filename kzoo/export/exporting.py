"""From a model on any backend to a verified export on disk."""

import base64
import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kzoo.arguments import boolean, class_labels, instance, integer, path
from kzoo.data import Decoding, Split
from kzoo.durable import private_folder, put_in_place, told
from kzoo.evaluation import gives_logits
from kzoo.export import checks, handover
from kzoo.export.checks import BATCHES
from kzoo.export.class_names import checked_class_names, write_class_names
from kzoo.export.quantizing import MAX_DROP, Quantizing
from kzoo.export.signatures import CARD, CLASSES, EXAMPLES
from kzoo.export.verifying import ExportedFormat, Verified, verified, write_verification

MOST_EXAMPLES, MOST_EXAMPLE_PIXELS = 6, 1 << 18


@dataclasses.dataclass(frozen=True)
class Exported:
    """An export that has been read back and found to answer as its source does.

    Attributes:
        directory: Path of the version's folder.
        format: String, one of `saved_model`, `onnx`, `litert`, `openvino`; of several the first, as what follows.
        runtime: String, what read it back, with its version.
        largest_difference: Float, between a logit of the export and of its source; between probabilities if the source
            gives those.
        largest_logit: Float, the largest logit of the source in absolute value.
        formats: An `ExportedFormat` for each: size, time for one image, accuracy, before and after quantization.

    Example:
        >>> exported = kzoo.export_saved("runs/mine", "exports")  # doctest: +SKIP
        >>> exported.runtime, exported.largest_difference  # doctest: +SKIP
        ('OpenVINO 2026.4.1', 1.9e-06)
    """

    directory: Path
    format: str
    runtime: str
    largest_difference: float
    largest_logit: float
    formats: tuple[ExportedFormat, ...] = ()


def export_model(
    model: keras.Model,
    out: str | os.PathLike[str],
    *,
    format: str | Sequence[str] = "saved_model",  # noqa: A002
    name: str | None = None,
    version: int = 1,
    class_names: Sequence[str] | None = None,
    images: npt.NDArray[np.uint8] | None = None,
    fold: bool = True,
    python: str | os.PathLike[str] | None = None,
    card: Mapping[str, Any] | None = None,
    from_logits: bool | None = None,
    decoding: Decoding | None = None,
    labels: Sequence[int] | None = None,
    quantize: str | None = None,
    calibration: npt.NDArray[np.uint8] | None = None,
    validation: Split | None = None,
    max_drop: float = MAX_DROP,
) -> Exported:
    """Exports a classifier to `out/name/version`, and verifies it there before it counts.

    TensorFlow writes the export in a process of its own, whatever backend the model is on; this process never imports
    it. Another process, which has neither Keras nor kzoo, reads it back with the runtime of the format and answers for
    real images at batch sizes 1 and 7. Beside the model lie `classes.txt`, `card.json`, `verification.json` and
    `examples.json`: some of these images with what the export answers, by which a server sees that it is whole.

    A SavedModel has three signatures, each with the outputs `logits`, `probabilities` and `class_index`:
    `serving_default` (`image`: uint8 `(batch, height, width, channels)`), `float_images` (the same in float32) and
    `encoded_images` (`image_bytes`: JPEG or PNG files, of any size). The other formats have the first alone.

    Args:
        model: A `keras.Model` from images in [0, 255], `(batch, height, width, channels)`, to one logit or probability
            a class.
        out: Path of the folder of all exports.
        format: `"saved_model"`, `"onnx"`, `"litert"` or `"openvino"`, or several of them for one folder. Defaults to
            `"saved_model"`.
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
        labels: The class of each of `images`, for the examples. Defaults to `None`, not known.
        quantize: `"int8"` or `"float16"`, for all formats but SavedModel. Defaults to `None`, float32.
        calibration: uint8 images as the model was trained on, by which int8 sees the ranges of activations; some
            hundreds. Defaults to `None`.
        validation: `kzoo.Split` on which the accuracy is measured before and after. Defaults to `None`.
        max_drop: Number, how much less accurate the quantized export may be. Defaults to `0.01`.

    Returns:
        An `Exported`.

    Raises:
        ValueError: If an argument is none of those above, the model's answers contradict `from_logits`, or its batch
            normalization cannot be folded.
        FileExistsError: If that version exists.
        ImportError: If there is no TensorFlow.
        OSError: If the disk is full, or `out` cannot be written to.
        kzoo.errors.ExportError: If the export cannot be written or read, or answers differently by more than 1e-4: of
            the largest logit, or in a probability if the model gives probabilities. A quantized one is judged by its
            accuracy. Nothing is left of it.

    Example:
        >>> model = kzoo.resnet20()
        >>> exported = kzoo.export_model(model, "served", name="digits", class_names="0123456789")  # doctest: +SKIP
        >>> exported.directory  # doctest: +SKIP
        PosixPath('served/digits/1')
    """
    instance(model, "model", keras.Model, "a keras.Model, such as `kzoo.create_model` returns")
    name = model.name if name is None else name
    out, fold = path(out, "out"), boolean(fold, "fold")
    card = checks.checked_card(card)
    version = integer(version, "version", least=1)
    formats = checks.checked_formats(format)
    checks.check_model(model, name)
    shape = tuple(model.input_shape[1:])
    classes = model.output_shape[-1]
    class_names = checked_class_names(map(str, range(classes)) if class_names is None else class_names, classes)
    decoding = checks.decoding_to(shape, decoding)
    images = checks.digits(decoding) if images is None else np.asarray(images)
    checks.check_images(images, shape)
    shown = _labels(labels, len(images), classes)
    quantizing = None if quantize is None else Quantizing(quantize, calibration, validation, max_drop)  # type: ignore[arg-type]
    if quantizing is not None:
        quantizing.check(shape, formats)
    from_logits = gives_logits(model, from_logits=from_logits)
    python = handover.interpreter(python)
    target = Path(out, name, str(version))
    _refuse_existing(target)
    source = handover.in_float32(model)
    expected = {batch: handover.answers_of(source, images[:batch], from_logits) for batch in BATCHES}
    source = _folded(source) if fold else source
    precision = "float32" if quantize is None else quantize
    about = {**checks.card_of(source, name, version, formats, precision, decoding), "classes": class_names, **card}
    root = target.parents[1]  # outside the tree that a server watches, on the same disk
    root.mkdir(parents=True, exist_ok=True)
    with private_folder(root) as folder, told(target, folder):
        handover.write_model(source, folder)
        handover.write_reference(images[: max(BATCHES)], BATCHES, folder)
        if quantizing is not None:
            handover.write_quantizing(quantizing, folder)
        write_class_names(folder / CLASSES, class_names)
        _write_json(folder / CARD, about)
        job = {"formats": formats, "quantize": quantize, "name": name, "from_logits": from_logits}
        _write_json(folder / handover.JOB, {**job, "decoding": dataclasses.asdict(decoding)})
        handover.run_worker(python, folder)
        result = folder / handover.RESULT
        found = [verified(python, one, folder, expected, from_logits, quantizing) for one in formats]
        write_verification(found, result)
        _write_json(result / CARD, {**about, "formats": _measures(found, handover.notes_of(folder))})
        shutil.copy(folder / CLASSES, result / CLASSES)
        _write_examples(images, shown, found, result)
        target.parent.mkdir(parents=True, exist_ok=True)
        _refuse_existing(target)
        put_in_place(result, target)
    first, largest = found[0].about, found[0].content["largest_logit"]
    told_formats = tuple(one.about for one in found)
    return Exported(target, first.format, first.runtime, first.largest_difference, largest, told_formats)


def _measures(found: Sequence[Verified], notes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the card says of each format."""
    measures = {}
    for one in found:
        about = dataclasses.asdict(one.about)
        name, measured = about.pop("format"), about.pop("measured")
        source = {} if about["source"] is None else {"float32": about["source"]}
        measures[name] = {**measured, "runtime": about["runtime"], **source, **notes.get(name, {})}
    return measures


def _write_examples(
    images: npt.NDArray[np.uint8], labels: list[int | None], found: Sequence[Verified], result: Path
) -> None:
    """Writes some of the images that were verified with, and what each format answers for them."""
    count = min(MOST_EXAMPLES, max(BATCHES)) if images[0, ..., 0].size <= MOST_EXAMPLE_PIXELS else 0
    examples = [
        {
            "png": base64.b64encode(handover.png_of(images[index])).decode(),
            "label": labels[index],
            "logits": {one.about.format: one.logits[index].astype(float).tolist() for one in found},
        }
        for index in range(count)
    ]
    _write_json(result / EXAMPLES, examples)


def _labels(labels: Any, count: int, classes: int) -> list[int | None]:
    if labels is None:
        return [None] * count
    given = class_labels(labels)
    if len(given) != count or not ((given >= 0) & (given < classes)).all():
        raise ValueError(f"`labels` must be {count} classes below {classes}. Received: labels={labels!r}.")
    return given.tolist()


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise FileExistsError(
            f"An export never overwrites a version: name a new `version`. Received: {target}, which exists."
        )


def _folded(model: keras.Model) -> keras.Model:
    from kzoo.folding.fold import fold_batch_norm

    try:
        return fold_batch_norm(model)
    except ValueError as error:
        raise ValueError(f"{error} Or export the model as it is, with `fold=False` (--no-fold).") from error
