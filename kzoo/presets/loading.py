"""Weights between a model and a `.weights.h5` file."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import h5py
import keras
import numpy as np

from kzoo import arguments
from kzoo.durable import private_folder, remove_left, written_file
from kzoo.presets.hdf5 import Structure, Tensors, read_file, structure_of, write_file
from kzoo.presets.values import FileError, check_divisor

_SPARE_BYTES = 1 << 20  # what a file may be larger than its tensors make it


def load_weights(model: keras.Model, path: str | os.PathLike[str], *, optional: Collection[str] = ()) -> None:
    """Loads a `.weights.h5` file into a built model of the same architecture, all of it or nothing.

    Made for files from anywhere: size, keys, shapes, dtypes, checksums and finiteness are checked before anything is
    assigned, no more is read than the model can hold, and Keras, which takes what fits and skips the rest, never opens
    the file. It may come from `save_weights` or from Keras; an optimizer's state in it is ignored.

    Args:
        model: A built `keras.Model`, of kzoo or not.
        path: Path of the file. Floats of 16, 32 and 64 bits are converted to what the model has.
        optional: Paths of groups of tensors, for example `"layers/dense"`, that the file and the model may have without
            the other. Defaults to `()`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no weights file, is damaged, not of this architecture, or holds a variance below 0 or a
            deviation of the input of 0 or less. The message names the tensor.

    Example:
        >>> kzoo.save_weights(kzoo.resnet(8, seed=1), "mine.weights.h5")
        >>> kzoo.load_weights(kzoo.resnet(8), "mine.weights.h5")
    """
    check_model(model)
    if (
        isinstance(optional, str)
        or not isinstance(optional, Collection)
        or not all(isinstance(group, str) for group in optional)
    ):
        raise ValueError(f"`optional` must be the paths of groups, strings. Received: optional={optional!r}.")
    path = _checked_path(path)
    with _snapshot(model) as copy:
        content = _content(path, 4 * copy.stat().st_size + _SPARE_BYTES)  # with an optimizer's state
        try:
            structure = structure_of(copy)
            tensors = read_file(content, structure.slots, {*optional, "optimizer"})
            _check_statistics(model, structure, tensors)
        except ValueError as error:
            raise ValueError(f"{path} does not hold weights of {model.name!r}: {error}.") from error
        with h5py.File(copy, "r+") as file:
            for key, value in tensors.items():
                file[key][()] = value
        model.load_weights(copy)


def save_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Saves a model's weights, each with a checksum, and not the optimizer's state; the format is Keras's own.

    Written aside first, so that a file of that name is whole or as it was.

    Args:
        model: A built `keras.Model`.
        path: Path of the file, which ends in `.weights.h5`.

    Raises:
        ValueError: If the path ends otherwise, or the model is not built.

    Example:
        >>> model = kzoo.resnet(8)
        >>> kzoo.save_weights(model, "mine.weights.h5")
    """
    check_model(model)
    path = named_as_weights(path)
    with _snapshot(model) as copy:
        structure = structure_of(copy)
        with h5py.File(copy, "r") as file:
            replace_file(path, structure.groups, {key: file[key][()] for key in structure.slots})


def _check_statistics(model: keras.Model, structure: Structure, tensors: Tensors) -> None:
    """Raises `ValueError` for what a normalization divides by and cannot: its results would not be numbers."""
    names: dict[str, list[str]] = {}  # layer -> its variables, in the order in which Keras writes them
    for variable in model.variables:
        layer, _, name = str(variable.path).rpartition("/")
        names.setdefault(layer.rpartition("/")[2], []).append(name)
    for key, value in tensors.items():
        of_layer, index = names.get(structure.slots[key].layer, []), key.rpartition("/")[2]
        name = of_layer[int(index)] if index.isdigit() and int(index) < len(of_layer) else ""
        if name == "std" and "/pixel_normalization" not in f"/{key}":
            continue
        try:
            check_divisor(name, value)
        except FileError as error:
            raise ValueError(f"{key} (of {structure.slots[key].layer!r}) {error}") from None


def structure_of_model(model: keras.Model) -> Structure:
    """Returns what a weights file of the model consists of."""
    with _snapshot(model) as copy:
        return structure_of(copy)


def replace_file(path: Path, groups: Mapping[str, str], tensors: Tensors) -> None:
    """Writes a weights file aside, then renames it."""
    with written_file(path) as aside:
        write_file(aside, groups, tensors)


def _checked_path(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a weights file, if it is there and named like one."""
    path = arguments.path(path, "path")
    if not path.is_file():
        raise FileNotFoundError(f"Expected a weights file. Received: {path}, which does not exist.")
    return named_as_weights(path)


def check_model(model: keras.Model) -> None:
    """Raises a `ValueError` unless an argument is a model."""
    arguments.instance(model, "model", keras.Model, "a keras.Model, such as `kzoo.create_model` returns")


def named_as_weights(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a weights file; raises a `ValueError` if it is not named like one."""
    path = arguments.path(path, "path")
    if not path.name.endswith(".weights.h5"):
        raise ValueError(f"Expected a file named *.weights.h5. Received: {path}.")
    return path


@contextlib.contextmanager
def _snapshot(model: keras.Model) -> Iterator[Path]:
    """Lets Keras write the model's weights, so that nothing here need know how it walks through a model.

    HDF5 that meets a full disk ends the process: where the temporary folder has too little room, memory is taken.
    """
    needed = 2 * sum(int(np.prod(weight.shape)) * 8 for weight in model.variables) + (1 << 20)
    folders = [Path(tempfile.gettempdir()), Path("/dev/shm"), Path.cwd()]
    for folder in folders:
        remove_left(folder)
    roomy = [folder for folder in folders if folder.is_dir() and shutil.disk_usage(folder).free > needed]
    if not roomy:
        raise OSError(
            errno.ENOSPC, f"Saving weights takes {needed:,} bytes for a while, and no disk has them", str(folders[0])
        )
    with private_folder(roomy[0]) as private:
        copy = private / "copy.weights.h5"
        model.save_weights(copy)
        yield copy


def _content(path: Path, limit_bytes: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise ValueError(
            f"{path} must be at most {limit_bytes:,} bytes for this model. Received: {path.stat().st_size:,} bytes."
        )
    return content
