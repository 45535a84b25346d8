"""`config.json` of a preset: what a model is, beside the numbers in it. Nothing in it is run or imported."""

import dataclasses
import json
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args

from kzoo.bounded import read_json
from kzoo.choices import Precision
from kzoo.data.images import Decoding
from kzoo.presets.construction import Construction, check_keys, require

FORMAT = 1
CONFIG, TENSORS, CARD = "config.json", "model.safetensors", "README.md"
_MOST_BYTES = 1 << 22
_MOST_NAME = 1_000  # characters
_DEEPEST = 10  # values within each other in what is said about a preset
_SHA256 = re.compile("[0-9a-f]{64}")
_MOST_TEMPERATURE = 1_000.0
_KEYS = {
    "format",
    "model",
    "precision",
    "class_names",
    "normalization",
    "images",
    "temperature",
    "weights",
    "about",
}


@dataclasses.dataclass(frozen=True)
class PresetConfig:
    """What a preset's `config.json` says.

    Attributes:
        construction: How the model is built.
        precision: The precision that it was trained in and is built in again: `"float32"`, `"mixed_bfloat16"` or
            `"float64"`.
        class_names: One name a class, or `None` if they are not known.
        normalization: `mean` and `std` of pixels in [0, 1] that the model subtracts and divides by, as its weights say;
            `None` for a model without.
        images: How image files become pixels: `image_size` (`None` for that of the input), `resize` and `background`.
        temperature: What to divide logits by for probabilities that can be believed, or `None` if it is not known.
        size_bytes: Size of `model.safetensors`.
        sha256: Its SHA-256, 64 hexadecimal digits.
        about: What else is known: data, recipe, seed, versions, accuracy. For people; nothing depends on it.
    """

    construction: Construction
    precision: Precision
    class_names: tuple[str, ...] | None
    normalization: Mapping[str, Any] | None
    images: Mapping[str, Any]
    temperature: float | None
    size_bytes: int
    sha256: str
    about: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "PresetConfig":
        """Reads the `config.json` of a folder.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is none of a preset, or something in it is missing, unknown or of another kind.
        """
        path = folder / CONFIG
        if not path.is_symlink() and not path.is_file():
            raise FileNotFoundError(f"Expected a preset, a folder with {CONFIG} and {TENSORS}. Received: {folder}.")
        content = read_json(path, _MOST_BYTES, links=False)
        try:
            return cls.from_json(content)
        except ValueError as error:
            raise ValueError(f"{path} must be that of a preset: {error}") from error

    @classmethod
    def from_json(cls, content: Any) -> "PresetConfig":
        """Returns what `to_json` gave, which a stranger may have changed.

        Raises:
            ValueError: If something is missing, unknown or of another kind. The message begins with the place.
        """
        require(isinstance(content, dict), "config.json", "an object", content)
        model = content.get("model")
        is_of_run = isinstance(model, dict) and "architecture" in model
        require(not is_of_run, "model", "that of a preset; `kzoo preset save RUN DIR` makes one of a run", "a run's")
        check_keys(content, _KEYS)
        is_known = type(content["format"]) is int and content["format"] == FORMAT
        require(is_known, "format", f"{FORMAT}; a newer kzoo may know others", content["format"])
        construction = Construction.from_json(model)
        precision = content["precision"]
        is_known = isinstance(precision, str) and precision in get_args(Precision)
        require(is_known, "precision", f"one of {', '.join(get_args(Precision))}", precision)
        weights = content["weights"]
        _check_object(weights, "weights", {"bytes", "sha256"})
        size, sha256 = weights["bytes"], weights["sha256"]
        require(type(size) is int and 0 < size < 2**63, "weights.bytes", "a size", size)
        is_hash = isinstance(sha256, str) and bool(_SHA256.fullmatch(sha256))
        require(is_hash, "weights.sha256", "64 hexadecimal digits", sha256)
        temperature = content["temperature"]
        is_valid = temperature is None or (_is_number(temperature) and 0 < temperature <= _MOST_TEMPERATURE)
        require(is_valid, "temperature", f"null, or a number above 0 up to {_MOST_TEMPERATURE:g}", temperature)
        _check_about(content["about"])
        return cls(
            construction,
            content["precision"],
            _class_names(content["class_names"], construction.classes),
            _normalization(content["normalization"], construction),
            _images(content["images"], construction),
            None if temperature is None else float(temperature),
            size,
            sha256,
            content["about"],
        )

    def to_json(self) -> dict[str, Any]:
        """Returns what `from_json` takes."""
        return {
            "format": FORMAT,
            "model": self.construction.to_json(),
            "precision": self.precision,
            "class_names": None if self.class_names is None else list(self.class_names),
            "normalization": self.normalization,
            "images": self.images,
            "temperature": self.temperature,
            "weights": {"bytes": self.size_bytes, "sha256": self.sha256},
            "about": self.about,
        }

    def text(self) -> str:
        """Returns the content of the file."""
        return json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n"

    def decoding(self) -> Decoding:
        """Returns how image files become what the model takes.

        Raises:
            ValueError: If it takes something else than images of 1, 3 or 4 channels.
        """
        return _decoding(self.images, self.construction)


def _decoding(images: Mapping[str, Any], construction: Construction) -> Decoding:
    *size, channels = construction.arguments["input_shape"]
    options: dict[str, Any] = {**images, "channels": channels}
    return Decoding(**(options if None in size else {**options, "image_size": tuple(size)}))


def _images(value: Any, construction: Construction) -> dict[str, Any]:
    _check_object(value, "images", {"image_size", "resize", "background"})
    *size, channels = construction.arguments["input_shape"]
    given = value["image_size"]
    is_valid = given is None or (None in size and isinstance(given, list))
    require(is_valid, "images.image_size", "null, or two sizes for a model of any size", given)
    require(isinstance(value["resize"], str), "images.resize", "a word", value["resize"])
    try:
        one_that_can = channels if channels in (1, 3, 4) else 3
        Decoding(tuple(given) if given else None, value["resize"], one_that_can, value["background"])
    except ValueError as error:
        raise ValueError(f"'images' must say how to decode: {str(error)[:300]}") from None
    return dict(value)


def _check_object(value: Any, place: str, keys: Collection[str]) -> None:
    require(isinstance(value, dict), place, "an object", value)
    check_keys(value, keys, f"{place}.")


def _class_names(value: Any, classes: int | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    are_names = isinstance(value, list) and len(value) == classes and all(map(_is_text, value))
    is_valid = are_names and all(0 < len(name) <= _MOST_NAME for name in value) and len(set(value)) == len(value)
    require(is_valid, "class_names", f"{classes} different texts, one a class, or null", value)
    return tuple(value)


def _normalization(value: Any, construction: Construction) -> dict[str, Any] | None:
    if not construction.arguments["include_preprocessing"]:
        require(value is None, "normalization", "null for a model without", value)
        return None
    channels = construction.arguments["input_shape"][2]
    _check_object(value, "normalization", {"mean", "std"})
    for name in ("mean", "std"):
        numbers = value[name]
        is_valid = isinstance(numbers, list) and len(numbers) == channels and all(map(_is_number, numbers))
        require(is_valid, f"normalization.{name}", f"{channels} numbers", numbers)
    return dict(value)


def _check_about(value: Any) -> None:
    """Checks that what is said for people is plain: texts, numbers, lists and objects of them, not too deep."""
    require(isinstance(value, dict), "about", "an object", value)
    waiting = [(value, 1)]
    while waiting:
        one, depth = waiting.pop()
        require(depth <= _DEEPEST, "about", f"at most {_DEEPEST} values deep", "more")
        if isinstance(one, dict):
            require(all(map(_is_text, one)), "about", "of names of whole characters", "others")
            waiting += ((inner, depth + 1) for inner in one.values())
        elif isinstance(one, list):
            waiting += ((inner, depth + 1) for inner in one)
        else:
            is_plain = one is None or isinstance(one, bool) or _is_text(one) or _is_number(one)
            require(is_plain, "about", "of texts, finite numbers, true, false and null", one)


def _is_number(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**63
    return isinstance(value, float) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)
