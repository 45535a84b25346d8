"""From what a user calls a preset to what it is: one known by name, a folder, one on the hub, a weights file."""

import os
from pathlib import Path

from kzoo import arguments
from kzoo.choices import hint
from kzoo.presets.config import TENSORS
from kzoo.presets.hub import HubName
from kzoo.presets.registry import PresetInfo, known_preset, list_presets


def find_preset(source: str | os.PathLike[str], argument: str = "source") -> PresetInfo | HubName | Path:
    """Returns the preset that a name, a path or an address stands for.

    A name that kzoo knows goes before a folder of that name: write `./name` for the folder.

    Args:
        source: `"digits/resnet20"`, `"akamaster_resnet20"`, the path of a folder, or `"hf://owner/name@revision"`.
        argument: String, what the caller calls it. Defaults to `"source"`.

    Returns:
        The `PresetInfo` of a name, the `HubName` of an address, or the path of a folder that is there.

    Raises:
        ValueError: If it is none of them; the message suggests the nearest name.
    """
    path = arguments.path(source, argument)
    text = os.fspath(source)
    if HubName.is_one(text):
        return HubName.parse(text)
    if (found := known_preset(text)) is not None:
        return found
    if path.is_dir():
        return path
    names = list_presets()
    raise ValueError(
        f"`{argument}` must be the name of a preset, one of {', '.join(names)}; the path of its folder; or "
        f"hf://owner/name. Received: {argument}={text!r}.{hint(text, names)}"
    )


def is_preset(source: str | os.PathLike[str]) -> bool:
    """Tells whether this is what a preset is called: a name that kzoo knows, an address on the hub, or its folder."""
    text = os.fspath(source)
    return HubName.is_one(text) or known_preset(text) is not None or (Path(source) / TENSORS).is_file()


def find_weights(weights: str | os.PathLike[str], model: str) -> PresetInfo | HubName | Path:
    """Returns what `weights=` of a constructor stands for.

    Args:
        weights: What `find_preset` takes, the data of a preset in the package (`"digits"`), or the path of a
            `.weights.h5` file.
        model: String, the name of the model.

    Returns:
        As `find_preset`, or the path of a weights file.

    Raises:
        ValueError: If it is none of them.
    """
    path = arguments.path(weights, "weights")
    text = os.fspath(weights)
    if (found := known_preset(f"{text}/{model}")) is not None:
        return found
    if known_preset(text) is None and not HubName.is_one(text) and (text.endswith(".h5") or path.is_file()):
        return path
    trained_on = [name.partition("/")[0] for name in list_presets() if "/" in name]
    if text in trained_on:
        models = ", ".join(name.partition("/")[2] for name in list_presets() if name.partition("/")[0] == text)
        raise ValueError(
            f"`weights` {text!r} must be there for {model}. Received: weights={text!r}, which there are for {models}."
        )
    return find_preset(weights, "weights")
