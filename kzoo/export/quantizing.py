"""What an export in int8 or float16 needs of the data: images to calibrate with, and a split to measure it on."""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo.arguments import instance, integer, number
from kzoo.choices import check_choice
from kzoo.data import Dataset, Split
from kzoo.errors import ExportError
from kzoo.export.signatures import PRECISIONS
from kzoo.streams import stream

MAX_DROP = 0.01
CALIBRATE = 256
_SEED = 0


@dataclasses.dataclass(frozen=True)
class Quantizing:
    """How an export becomes smaller, and what it may cost.

    Args:
        precision: String, `"int8"` or `"float16"`.
        calibration: uint8 images `(n, height, width, channels)` by which the ranges of activations are seen; float16
            needs none.
        validation: `Split` to measure the accuracy on.
        max_drop: Number, how much accuracy may be lost: 0.01 is one in a hundred images.

    Raises:
        ValueError: If one of them is none, or missing.
    """

    precision: str
    calibration: npt.NDArray[np.uint8] | None
    validation: Split
    max_drop: float = MAX_DROP

    def __post_init__(self) -> None:
        check_choice("quantize", self.precision, [name for name in PRECISIONS if name != "float32"])
        instance(self.validation, "validation", Split, "a kzoo.Split to measure the accuracy on, with `quantize`")
        object.__setattr__(self, "max_drop", number(self.max_drop, "max_drop"))
        if not 0 <= self.max_drop <= 1:
            raise ValueError(f"`max_drop` must be in [0, 1]. Received: max_drop={self.max_drop}.")
        if len(self.validation) == 0:
            raise ValueError("`validation` must have images. Received: none.")
        if self.precision == "int8" and self.calibration is None:
            raise ValueError("`calibration` must be images, with quantize='int8'. Received: calibration=None.")

    def check(self, shape: tuple[int, ...], formats: tuple[str, ...]) -> None:
        """Sees that the images are what the model takes, and that each format has this precision.

        Raises:
            ValueError: If they are not, or one has not.
        """
        if "saved_model" in formats:
            raise ValueError(
                f"`quantize` must be None with format 'saved_model', which has float32 alone. "
                f"Received: quantize={self.precision!r}. The others have it: onnx, litert, openvino."
            )
        if self.calibration is not None:
            images = np.asarray(self.calibration)
            if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
                raise ValueError(
                    f"`calibration` must be uint8 images of shape {shape}. "
                    f"Received: shape={images.shape}, dtype={images.dtype}."
                )
        if self.validation.image_shape != shape:
            raise ValueError(
                f"`validation` must have images of shape {shape}. Received: shape={self.validation.image_shape}."
            )

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The classes of the validation images."""
        return self.validation.labels

    def check_drop(self, name: str, before: float | None, after: float | None) -> None:
        """Raises an `ExportError` unless the accuracy is nearly what it was in float32."""
        if before is None or after is None or before - after > self.max_drop:
            raise ExportError(
                f"{name} in {self.precision} must be at most {self.max_drop:g} less accurate than in float32, on "
                f"{len(self.validation):,} validation images. Received: {after} after {before}. Nothing was left. "
                "More images to calibrate with (--calibrate) may help, or a larger --max-drop."
            )


def quantizing_of(
    dataset: Dataset, precision: str, calibrate: int, max_drop: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Chooses the images of a data set by which an export is quantized: some of the training split, by a seed.

    Args:
        dataset: The `Dataset`.
        precision: String, `"int8"` or `"float16"`.
        calibrate: Integer, how many images.
        max_drop: Number, as of `Quantizing`.

    Returns:
        The arguments of `export_model`, and what the card says of them.
    """
    calibrate = integer(calibrate, "calibrate", least=1)
    about: dict[str, Any] = {"validation_images": len(dataset.validation), "max_drop": max_drop}
    arguments: dict[str, Any] = {"quantize": precision, "validation": dataset.validation, "max_drop": max_drop}
    if precision == "int8":
        count = min(calibrate, len(dataset.train))
        order = stream(_SEED, "calibration").permutation(len(dataset.train))[:count]
        images = dataset.train.read(order)
        arguments["calibration"] = images
        about["calibration"] = {
            "split": "train",
            "seed": _SEED,
            "images": count,
            "indices": order.tolist(),
            "sha256": hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest(),
        }
    return arguments, about
