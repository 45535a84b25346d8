"""A preset's folder: made of a model, and its numbers into a model again."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import numpy.typing as npt

from kzoo import arguments
from kzoo.choices import Precision
from kzoo.data.images import Decoding
from kzoo.durable import written_folder
from kzoo.presets.card import card
from kzoo.presets.config import CARD, CONFIG, TENSORS, PresetConfig
from kzoo.presets.construction import Construction
from kzoo.presets.loading import check_model
from kzoo.presets.tensors import TensorInfo, file_of, read_header, read_tensors
from kzoo.presets.values import FileError, check_divisor, check_dtype, converted

_NO_DECODING = {"image_size": None, "resize": "stretch", "background": 255}


def save_preset(
    model: keras.Model,
    directory: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    decoding: Decoding | None = None,
    temperature: float | None = None,
    about: Mapping[str, Any] | None = None,
    construction: Construction | None = None,
) -> Path:
    """Saves a model of kzoo as a preset: a folder with `config.json`, `model.safetensors` and a card, `README.md`.

    A preset of that name is replaced, whole or not at all. `Run.save_preset` does this with all that a run knows.

    Args:
        model: A model that a constructor of kzoo has built, such as `kzoo.resnet20`.
        directory: Path of the folder, new, empty or of a preset.
        class_names: One name a class. Defaults to `model.class_names`, those of the preset or run that it was loaded
            from, if any.
        decoding: How image files become what the model takes. Defaults to `None`, to stretch them.
        temperature: Float above 0, what to divide logits by for probabilities that can be believed. Defaults to `None`.
        about: What else is known, as JSON can say it; the card shows it. See `docs/presets.md` for the names that it
            knows. Defaults to nothing.
        construction: How the model was built, if it does not know it itself. Defaults to `model.construction`.

    Returns:
        The path of the folder.

    Raises:
        ValueError: If an argument is none of those above, or a weight is not a finite number.
        FileExistsError: If the folder has other content.
        OSError: If it cannot be written.

    Example:
        >>> kzoo.save_preset(kzoo.resnet(8, classes=2), "my-preset", class_names=["oak", "elm"])
        PosixPath('my-preset')
    """
    check_model(model)
    path = arguments.path(directory, "directory")
    construction = getattr(model, "construction", None) if construction is None else construction
    if not isinstance(construction, Construction):
        raise ValueError(
            "`model` must be as a constructor of kzoo has built it, such as `kzoo.resnet20`; other models are saved by "
            f"`kzoo.save_weights` or `model.save`. Received: {model.name!r}."
        )
    if decoding is not None:
        arguments.instance(decoding, "decoding", Decoding, "a kzoo.Decoding")
    if class_names is None:
        class_names = getattr(model, "class_names", None)
    if class_names is not None:
        class_names = arguments.names(class_names, "class_names", construction.classes or 0)
    arguments.instance(about, "about", (Mapping, type(None)), "what JSON can say, by its names, or None")
    tensors = tensors_of(model)
    content = file_of(tensors)
    config = PresetConfig(
        construction,
        precision_of(model),
        None if class_names is None else tuple(class_names),
        _normalization_of(tensors),
        _NO_DECODING if decoding is None else _images_of(decoding, construction),
        None if temperature is None else arguments.number(temperature, "temperature"),
        len(content),
        hashlib.sha256(content).hexdigest(),
        dict(about or {}),
    )
    try:
        text = config.text()
        PresetConfig.from_json(config.to_json())
    except (TypeError, ValueError) as error:
        raise ValueError(f"A preset must be one that can be loaded again. Received: {error}") from error
    _check_place(path)
    with written_folder(path) as aside:
        (aside / CONFIG).write_text(text, encoding="utf-8")
        (aside / TENSORS).write_bytes(content)
        (aside / CARD).write_text(card(config), encoding="utf-8")
    return path


def _check_place(path: Path) -> None:
    """Raises `FileExistsError` if a folder has what saving there would destroy."""
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"A preset needs the name of a folder. Received: {path}, a file.")
    names = {one.name for one in path.iterdir()} if path.exists() else set()
    if names - {CONFIG, TENSORS, CARD} or (names and TENSORS not in names):
        raise FileExistsError(f"A preset needs a folder that is new, empty or a preset. Received: {path}.")


def checked_preset(folder: Path) -> PresetConfig:
    """Returns what a preset's `config.json` says, once its weights are the ones that it names.

    Raises:
        FileNotFoundError: If there is no preset.
        ValueError: If it is none, or damaged.
    """
    config = PresetConfig.read(folder)
    read_header(folder / TENSORS)
    read_tensors(folder / TENSORS, size_bytes=config.size_bytes, sha256=config.sha256)
    return config


def key_of(layer: keras.layers.Layer, variable: Any) -> str:
    """Returns the name that a variable of a layer has in a file: `stem_conv/kernel`, wherever the model was built."""
    return f"{layer.name}/{str(variable.path).rpartition('/')[2]}"


def variables_of(model: keras.Model) -> dict[str, Any]:
    """Returns a model's variables by the names that they have in a file."""
    return {key_of(layer, variable): variable for layer in model.layers for variable in layer.weights}


def tensors_of(model: keras.Model) -> dict[str, npt.NDArray[Any]]:
    """Returns the numbers of a model by the names that they have in a file.

    Raises:
        ValueError: If one is not finite.
    """
    found = {}
    for key, variable in variables_of(model).items():
        value = np.asarray(keras.ops.convert_to_numpy(variable))
        try:
            found[key] = converted(value, value.dtype)
        except FileError as error:
            raise ValueError(f"{key} of {model.name!r} {error}.") from None
    return found


def precision_of(model: keras.Model) -> Precision:
    """Returns the precision that a model computes in, as `kzoo.set_precision` names it."""
    policies = {layer.dtype_policy.name for layer in model.layers if layer.trainable_weights}
    return next((name for name in get_args(Precision) if policies == {name}), "float32")


def load_tensors(
    model: keras.Model, folder: Path, config: PresetConfig, header: Mapping[str, TensorInfo] | None = None
) -> None:
    """Gives a built model the numbers of a preset, all of them or none.

    What the model has no place for must be its classifier or its input normalization, left out on request.

    Args:
        model: The model.
        folder: Path of the preset.
        config: Its configuration.
        header: What its `model.safetensors` says, if that has been read. Defaults to `None`.

    Raises:
        FileNotFoundError: If the preset has no weights.
        ValueError: If they are damaged, not finite, or not of this model. The message names file and tensor.
    """
    path = folder / TENSORS
    wanted = variables_of(model)
    header = read_header(path) if header is None else header
    try:
        check_header(header, wanted)
    except FileError as error:
        raise ValueError(f"{path} does not hold weights of {model.name!r}: {error}.") from None
    tensors = read_tensors(path, size_bytes=config.size_bytes, sha256=config.sha256)
    values = {}
    for key in wanted.keys() & tensors.keys():
        try:
            values[key] = converted(tensors[key], np.dtype(wanted[key].dtype))
            check_divisor(key.rpartition("/")[2], values[key])
        except FileError as error:
            raise ValueError(f"{path} does not hold weights of {model.name!r}: {key} {error}.") from None
    _check_normalization(path, tensors, config)
    for key, value in values.items():
        wanted[key].assign(value)


def check_header(header: Mapping[str, TensorInfo], wanted: Mapping[str, Any]) -> None:
    """Raises `FileError` unless a file has the variables of a model, of their shapes and kinds."""
    for key, variable in wanted.items():
        if key not in header:
            if _is_counter(key):  # of dropout: trained without it, it may be trained on with it
                continue
            raise FileError(f"{key} is missing")
        info = header[key]
        try:
            if info.shape != tuple(variable.shape):
                raise FileError(f"must have shape {tuple(variable.shape)}. Received: {info.shape}")
            check_dtype(info.dtype.newbyteorder("="), np.dtype(variable.dtype))
        except FileError as error:
            raise FileError(f"{key} {error}") from None
    layers = {key.partition("/")[0] for key in wanted}
    for key in header:
        left_out = key.partition("/")[0] in {"classifier", "normalization"} - layers
        if key not in wanted and not left_out and not _is_counter(key):
            raise FileError(f"{key[:100]!r} is left over: the model has no such tensor")


def _is_counter(key: str) -> bool:
    return key.endswith("_dropout/step")


def _normalization_of(tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any] | None:
    if "normalization/mean" not in tensors:
        return None
    # Each as the shortest number that is this float32.
    return {name: [float(str(one)) for one in tensors[f"normalization/{name}"]] for name in ("mean", "std")}


def _check_normalization(path: Path, tensors: Mapping[str, npt.NDArray[Any]], config: PresetConfig) -> None:
    for name, said in (config.normalization or {}).items():
        key = f"normalization/{name}"
        if key not in tensors or not np.array_equal(np.float32(said), tensors[key].astype(np.float32)):
            raise ValueError(f"{path} must have what config.json says as {key}, {said}. Received: something else.")


def _images_of(decoding: Decoding, construction: Construction) -> dict[str, Any]:
    *size, channels = construction.arguments["input_shape"]
    given = decoding.image_size
    if decoding.channels != channels or (None not in size and given not in (None, tuple(size))):
        raise ValueError(
            f"`decoding` must give what the model takes, {tuple(size)} pixels of {channels} channels. "
            f"Received: {decoding}."
        )
    image_size = list(given) if given is not None and None in size else None
    return {"image_size": image_size, "resize": decoding.resize, "background": decoding.background}
