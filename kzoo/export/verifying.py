"""Whether an export answers as its source does, and what it costs."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo.errors import ExportError
from kzoo.evaluation import log_softmax
from kzoo.export import handover
from kzoo.export.quantizing import Quantizing
from kzoo.export.signatures import FILES, VERIFICATION

TOLERANCE = 1e-4
# Of the largest logit, or of a probability; int8 is judged by its accuracy instead.
_TOLERANCES = {"float32": TOLERANCE, "float16": 2e-2, "int8": np.inf}
_APART = {"float32": TOLERANCE, "float16": 2e-3, "int8": 2e-2}  # LiteRT's int8 gives probabilities in steps of 1/256

Expected = Mapping[int, Mapping[str, npt.NDArray[Any]]]


@dataclasses.dataclass(frozen=True)
class Measured:
    """What one format is like: how large, how fast for one image, how often right on the validation split.

    Attributes:
        precision: String, `float32`, `float16` or `int8`.
        bytes: Integer, of its files.
        milliseconds: Float, the median time for one image by the runtime that read it back, on this machine.
        accuracy: Float, or `None` where it was not measured.
    """

    precision: str
    bytes: int
    milliseconds: float
    accuracy: float | None = None


@dataclasses.dataclass(frozen=True)
class ExportedFormat:
    """One format of an export.

    Attributes:
        format: String, such as `onnx`.
        runtime: String, what read it back, with its version.
        largest_difference: Float, as of `Exported`.
        measured: What it is like.
        source: What it is like in float32, where it was quantized; `None` elsewhere.
    """

    format: str
    runtime: str
    largest_difference: float
    measured: Measured
    source: Measured | None = None


@dataclasses.dataclass(frozen=True)
class Verified:
    """A format that has been read back: what `verification.json` says, and what it answered."""

    about: ExportedFormat
    content: dict[str, Any]
    logits: npt.NDArray[np.float32]


def verified(
    python: str, name: str, folder: Path, expected: Expected, from_logits: bool, quantizing: Quantizing | None
) -> Verified:
    """Reads one format back and compares it with the source; a quantized one also with its own float32.

    Raises:
        kzoo.errors.ExportError: If it cannot be read, answers something else, or is less accurate than is allowed.
    """
    source = None
    if quantizing is not None:
        answers = handover.run_reader(python, name, folder, handover.FLOATS)
        compare(answers, expected, from_logits)
        source = _measured(answers, folder / handover.FLOATS, name, "float32", quantizing)
    precision = "float32" if quantizing is None else quantizing.precision
    answers = handover.run_reader(python, name, folder)
    content = compare(answers, expected, from_logits, precision)
    measured = _measured(answers, folder / handover.RESULT, name, precision, quantizing)
    if source is not None and quantizing is not None:
        quantizing.check_drop(name, source.accuracy, measured.accuracy)
    about = ExportedFormat(name, content["runtime"], content["largest_difference"], measured, source)
    return Verified(about, content, answers[f"serving_default/{max(expected)}/logits"])


def write_verification(found: Sequence[Verified], folder: Path) -> None:
    """Writes `verification.json`: that of the first format, and beside it those of all where there are several."""
    content = found[0].content
    if len(found) > 1:
        content = {**content, "formats": {one.about.format: one.content for one in found}}
    (folder / VERIFICATION).write_text(json.dumps(content, indent=2) + "\n")


def compare(
    answers: Mapping[str, Any], expected: Expected, from_logits: bool, precision: str = "float32"
) -> dict[str, Any]:
    """Compares what the export answers with what its source does.

    What the source gives is compared, logits or probabilities. The probabilities of the export must also be those of
    its logits.

    Args:
        answers: What the reader wrote down: `runtime`, and an array for each `signature/batch/output`.
        expected: Batch size to the `logits` and `probabilities` of the source.
        from_logits: Boolean, whether the source gives logits.
        precision: String, of the export. Defaults to `"float32"`.

    Returns:
        What `verification.json` says.

    Raises:
        kzoo.errors.ExportError: If a difference is above 1e-4 (of the largest logit, for logits; in float16 2e-2), or
            is not a number.
    """
    tolerance = _TOLERANCES[precision]
    largest_logit = max(float(np.abs(outputs["logits"]).max()) for outputs in expected.values())
    compared, limit = ("logits", tolerance * largest_logit) if from_logits else ("probabilities", tolerance)
    differences = {}
    for key in dict.fromkeys(key.rpartition("/")[0] for key in answers if "/" in key):
        reference = expected[int(key.rpartition("/")[2])]
        given = {output: answers[f"{key}/{output}"] for output in reference}
        for output, values in given.items():
            if values.shape != reference[output].shape:
                raise ExportError(
                    f"{key}/{output} must answer with shape {reference[output].shape}. Received: {values.shape}."
                )
        differences[key] = _difference(given[compared], reference[compared])
        apart = _difference(given["probabilities"], np.exp(log_softmax(given["logits"])))
        if not (differences[key] <= limit and np.isfinite(differences[key]) and apart <= _APART[precision]):
            raise ExportError(
                f"The export must answer as its source does, its {compared} to {limit:.4g} (the largest logit is "
                f"{largest_logit:.4g}), and its probabilities must be those of its logits. Received: a difference of "
                f"{differences[key]:.4g}, and {apart:.4g}, from {answers['runtime']} in {key} (signature/batch). "
                "Nothing was left."
            )
    return {
        "runtime": str(answers["runtime"]),
        "compared": compared,
        "tolerance": tolerance if np.isfinite(tolerance) else None,
        "largest_difference": max(differences.values()),
        "largest_logit": largest_logit,
        "differences": differences,
    }


def _difference(values: npt.NDArray[Any], reference: npt.NDArray[Any]) -> float:
    return float(np.abs(values.astype(np.float64) - reference).max())


def _measured(
    answers: Mapping[str, Any], directory: Path, name: str, precision: str, quantizing: Quantizing | None
) -> Measured:
    accuracy = None
    if quantizing is not None and "classes" in answers:
        accuracy = float(np.mean(answers["classes"] == quantizing.labels))
    milliseconds = float(answers.get("milliseconds", np.nan))
    return Measured(precision, _bytes_of(directory, name), milliseconds, accuracy)


def _bytes_of(directory: Path, name: str) -> int:
    """Returns the size of the files that a runtime reads."""
    model = directory / FILES[name]
    files = [model, model.with_suffix(".bin")] if name == "openvino" else [model]
    files += (directory / "variables").glob("*") if name == "saved_model" else []
    return sum(file.stat().st_size for file in files if file.is_file())
