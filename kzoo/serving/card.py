"""What an export says of itself: its card, the names of its classes, and examples with what they must come to."""

import base64
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo.bounded import read_json
from kzoo.data.images import Decoding
from kzoo.export.class_names import check_name
from kzoo.export.signatures import CARD, EXAMPLES

_CARD_BYTES = 1 << 26
_MOST_EXAMPLES = 64


@dataclasses.dataclass(frozen=True)
class Card:
    """What an export says of itself, as far as a server asks.

    Attributes:
        name: String, what clients call the model.
        version: String, an integer.
        image_size: `(height, width)`.
        decoding: `Decoding`, how image files become what the model takes.
        content: All that `card.json` says.
    """

    name: str
    version: str
    image_size: tuple[int, int]
    decoding: Decoding
    content: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Example:
    """An image that came with the export.

    Attributes:
        png: Bytes of the file.
        label: Integer, its class, or `None` if that is not known.
        logits: Format to what the export answered in it when it was made.
    """

    png: bytes
    label: int | None
    logits: Mapping[str, npt.NDArray[np.float32]]


def read_card(path: Path) -> Card:
    """Reads the card of an export.

    Args:
        path: Path of the export, of one version.

    Raises:
        FileNotFoundError: If it has none.
        ValueError: If it is none that `kzoo export` wrote.
    """
    card = read_json(path / CARD, _CARD_BYTES)
    try:
        name, version = card["name"], str(int(card["version"]))
        decoding = Decoding(**card.get("decoding", {"image_size": card["image_size"]}))
        check_name(name)
        if (image_size := decoding.image_size) is None:
            raise ValueError("image_size=None")
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path / CARD} must be a card that `kzoo export` wrote. Received: {error}.") from error
    return Card(name, version, image_size, decoding, card)


def read_examples(path: Path) -> list[Example]:
    """Reads the examples of an export; an older one has none.

    Raises:
        ValueError: If they are none that `kzoo export` wrote.
    """
    file = path / EXAMPLES
    if not file.is_file():
        return []
    content = read_json(file, _CARD_BYTES)
    try:
        return [_example(one) for one in content[:_MOST_EXAMPLES]]
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{file} must be examples that `kzoo export` wrote. Received: {error!r}.") from error


def _example(given: Mapping[str, Any]) -> Example:
    label = given.get("label")
    return Example(
        base64.b64decode(given["png"], validate=True),
        None if label is None else int(label),
        {str(kind): np.array(values, np.float32).reshape(-1) for kind, values in given.get("logits", {}).items()},
    )
