"""Models from presets: folders, names that kzoo knows, repositories on the Hugging Face hub."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from kzoo.acceleration.names import variables_without_values
from kzoo.models.arguments import Arguments
from kzoo.ops import precision
from kzoo.presets.cache import folder_of
from kzoo.presets.config import TENSORS, PresetConfig
from kzoo.presets.construction import Construction
from kzoo.presets.finding import find_preset, find_weights
from kzoo.presets.folder import check_header, load_tensors, variables_of
from kzoo.presets.hub import HubName
from kzoo.presets.registry import PresetInfo, preset_info
from kzoo.presets.tensors import read_header
from kzoo.presets.values import FileError
from kzoo.recursion import deep_recursion


class Preset:
    """A preset on this machine: a model in a folder, with the names of its classes and how it takes images.

    It may be a stranger's: nothing in it is run or imported.

    Args:
        source: Path of a folder, a name from `kzoo.list_presets()`, or `"hf://owner/name"`, with `"@revision"` for a
            branch, a tag or a commit. What is not on this machine is fetched, verified and kept.

    Attributes:
        folder: Path of the folder.
        config: The `PresetConfig`, all that `config.json` says.

    Raises:
        ValueError: If there is no such preset, or something in its `config.json` is missing, unknown or wrong.
        FileNotFoundError: If the folder is none of a preset.
        ImportError: If PyTorch is missing and a checkpoint must be converted, or `huggingface_hub` for an address.
        kzoo.download.DownloadError: If it cannot be fetched, or what comes is not what it should be.

    Example:
        >>> kzoo.Preset("digits/resnet20").class_names[3]
        '3'
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self.folder = folder_of(find_preset(source), built_from)
        self.config = PresetConfig.read(self.folder)

    @classmethod
    def of(cls, found: PresetInfo | HubName | Path) -> "Preset":
        """Returns the preset of what `find_preset` has `found`."""
        preset = cls.__new__(cls)
        preset.folder = folder_of(found, built_from)
        preset.config = PresetConfig.read(preset.folder)
        return preset

    def __repr__(self) -> str:
        return f"Preset({str(self.folder)!r})"

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """One name a class, or `None` if they are not known."""
        return self.config.class_names

    @property
    def temperature(self) -> float | None:
        """What to divide logits by for probabilities that can be believed, or `None` if it is not known."""
        return self.config.temperature

    def decoding(self, model: keras.Model | None = None) -> Any:
        """Returns the `kzoo.Decoding` by which files become what the `model` takes, as in its training."""
        return self.config.decoding()

    def load_model(self, custom_objects: Mapping[str, Any] | None = None) -> keras.Model:
        """Builds the model, on any backend, in the precision that it was trained in, and loads its weights.

        The model is not compiled. No more memory is taken than the weights in the folder need.

        Args:
            custom_objects: Not used: presets consist of kzoo's layers alone. Defaults to `None`.

        Returns:
            A `kzoo.Model`.

        Raises:
            FileNotFoundError: If the preset has no weights.
            ValueError: If they are damaged, not finite, or not of this model. The message names file and tensor.
        """
        construction, path = self.config.construction, self.folder / TENSORS
        header = read_header(path)
        if sum(construction.sizes[:1]) > 10 + len(header):  # each layer has a tensor; to build many takes its time
            raise ValueError(
                f"{path} must have tensors for a depth of {construction.sizes[0]}. Received: {len(header)} tensors."
            )
        with precision(self.config.precision):
            try:
                with variables_without_values(), deep_recursion():
                    model = built_by(construction)
                    check_header(header, variables_of(model))
            except FileError as error:
                raise ValueError(f"{path} does not hold weights of {construction.model}: {error}.") from None
            except ValueError as error:  # of a depth that there is not
                raise ValueError(f"{self.folder / 'config.json'} must be that of a preset: {error}") from error
            load_tensors(model, self.folder, self.config, header)
        model.class_names = self.class_names
        return model


def load_preset(source: str | os.PathLike[str]) -> keras.Model:
    """Loads a model from a preset, on any backend: what `Preset(source).load_model()` returns.

    Args:
        source: Path of a folder, a name from `kzoo.list_presets()`, or `"hf://owner/name"`, as of `kzoo.Preset`.

    Returns:
        A functional `keras.Model`, not compiled, with `class_names` if the preset has them.

    Raises:
        ValueError: If there is no such preset, or it is damaged, or not one that kzoo wrote; nothing in it is run.
        FileNotFoundError: If the folder is none of a preset.
        ImportError: If PyTorch is missing and a checkpoint must be converted, or `huggingface_hub` for an address.
        kzoo.download.DownloadError: If it cannot be fetched, or what comes is not what it should be.

    Example:
        >>> model = kzoo.load_preset("digits/resnet20")
        >>> model.class_names[3]
        '3'
    """
    return Preset(source).load_model()


def fetch_preset(source: str) -> Path:
    """Makes a preset ready for use without a network: downloads, verifies and converts it.

    Args:
        source: String, one of `kzoo.list_presets()`, or `"hf://owner/name"`.

    Returns:
        Path of the folder. It is there already if that has been done before, and is verified again.

    Raises:
        ValueError: If there is none of that name, or a file on this machine has changed.
        ImportError: If PyTorch is missing and a checkpoint must be converted, or `huggingface_hub` for an address.
        kzoo.download.DownloadError: If it cannot be fetched, or what comes is not what it should be.

    Example:
        >>> kzoo.fetch_preset("akamaster_resnet20")  # downloads 1 MB  # doctest: +SKIP
        PosixPath('/home/me/.kzoo/presets/akamaster_resnet20')
    """
    found = HubName.parse(source) if isinstance(source, str) and HubName.is_one(source) else preset_info(source)
    return folder_of(found, built_from)


def with_preset(constructor: str, sizes: tuple[int, ...], arguments: Arguments) -> Any:
    """Returns the arguments of a constructor with the preset that `weights` names in its place.

    Args:
        constructor: String, name of the constructor.
        sizes: Its depth, and width if it has one.
        arguments: Its other arguments.

    Returns:
        The arguments, of which `weights` is `None`, a `Preset` or the path of a `.weights.h5` file. What was not given
        of `input_shape`, `classes` and `shortcut` is the preset's.

    Raises:
        ValueError: If the preset is one of another model.
    """
    given: dict[str, Any] = dict(arguments)
    if given.get("weights") is None:
        return given
    weights = given.pop("weights")
    found = find_weights(weights, _construction(constructor, sizes, given).model)
    if isinstance(found, Path) and not found.is_dir():
        return given | {"weights": found}
    known = found if isinstance(found, PresetInfo) else Preset.of(found).config
    construction = known.construction
    names = ["input_shape"]
    if given.get("include_top", True):
        names.append("classes")
    if "none" not in (construction.arguments["shortcut"], given.get("shortcut")):
        names.append("shortcut")
    for name in names:
        if given.get(name) is None:
            given[name] = construction.arguments[name]
    construction.check(_construction(constructor, sizes, given), os.fspath(weights))
    return given | {"weights": Preset.of(found)}


def built_from(info: PresetInfo) -> keras.Model:
    """Returns a new model of a preset that kzoo knows by name, in float32 as those were published."""
    with precision("float32"):
        return built_by(info.construction)


def built_by(construction: Construction) -> keras.Model:
    """Returns a new model of a construction, in the precision of the process."""
    from kzoo.models import residual

    model: keras.Model = getattr(residual, construction.constructor)(*construction.sizes, **construction.arguments)
    return model


def _construction(constructor: str, sizes: tuple[int, ...], given: Mapping[str, Any]) -> Construction:
    return Construction.of(constructor, *sizes, **given)
