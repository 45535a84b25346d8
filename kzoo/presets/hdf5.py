"""The `.weights.h5` format of Keras, read as what a stranger may have written.

A file is a tree of groups, one a layer, named by class and index: `layers/conv2d_3/vars/0`. Only plain tensors are
read: in one piece, in the file itself, uncompressed, of a shape and dtype known before. So reading takes no more memory
than the model, whatever the file says. Files written here carry a CRC-32 beside every tensor; Keras ignores it.
"""

import dataclasses
import io
import math
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from kzoo.presets.values import FileError, check_dtype, converted

Tensors = Mapping[str, npt.NDArray[Any]]

_CHECKSUM = "crc32"


class Slot(NamedTuple):
    """Where one tensor belongs: what it must be, and the layer whose it is."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    layer: str


@dataclasses.dataclass(frozen=True)
class Structure:
    """What a model's file consists of.

    Attributes:
        groups: Path of each group of variables, with the layer's name.
        slots: Key of each tensor, with what it must be.
    """

    groups: dict[str, str]
    slots: dict[str, Slot]


def structure_of(path: Path) -> Structure:
    """Returns the structure of a file that Keras wrote here, the optimizer's state aside."""
    groups: dict[str, str] = {}
    slots: dict[str, Slot] = {}

    def visit(key: str, item: Any) -> None:
        if key.startswith("optimizer/"):
            return
        if isinstance(item, h5py.Dataset):
            slots[key] = Slot(item.shape, item.dtype, groups.get(key.rpartition("/")[0], ""))
        elif key.rpartition("/")[2] == "vars":
            groups[key] = str(item.attrs.get("name", ""))

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return Structure(groups, slots)


def write_file(path: Path, groups: Mapping[str, str], tensors: Tensors) -> None:
    """Writes a file, the same bytes for the same content.

    It is made in memory: HDF5 that meets a full disk ends the process when it closes the file.
    """
    with h5py.File(path, "w", libver="earliest", driver="core", backing_store=False) as file:
        for group, layer in groups.items():
            attributes = file.create_group(group).attrs
            if layer:
                attributes["name"] = layer
        for key, value in tensors.items():
            file.create_dataset(key, data=value).attrs[_CHECKSUM] = _checksum(key, value)
        file.flush()
        path.write_bytes(file.id.get_file_image())


def read_file(content: bytes, slots: Mapping[str, Slot], optional: Collection[str] = ()) -> dict[str, npt.NDArray[Any]]:
    """Reads the tensors of a file, of exactly the keys of `slots`, in the dtypes of `slots`.

    Args:
        content: The file.
        slots: What is expected.
        optional: Paths of groups that the file may lack, or have where `slots` does not; then nobody looks at them.

    Raises:
        ValueError: If something is missing, left over, of another shape or kind of dtype, not finite, or damaged. The
            message begins with the name of the tensor, where one is at fault.
    """
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            found = set(_keys(file, slots, optional))
            for key in slots:
                if key not in found and not _belongs(key, optional):
                    raise FileError(f"{_named(key, slots)} is missing")
            return {key: _tensor(file, key, slots) for key in slots if key in found}
    except FileError as error:
        raise ValueError(str(error)) from error.__cause__
    except Exception as error:  # h5py raises whatever a damaged file makes it raise
        raise ValueError(f"it is not a whole HDF5 file ({error})") from error


def _named(key: str, slots: Mapping[str, Slot]) -> str:
    return f"{key} (of {slots[key].layer!r})" if key in slots and slots[key].layer else key


def _belongs(key: str, groups: Collection[str]) -> bool:
    return any(key.startswith(f"{group}/") for group in groups)


def _keys(file: Any, slots: Mapping[str, Slot], optional: Collection[str]) -> Iterator[str]:
    """Yields the key of each tensor, and raises at the first that is not expected."""
    waiting, seen = [("", file)], {file}
    while waiting:
        prefix, group = waiting.pop()
        for name in sorted(group):
            key = prefix + name
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise FileError(f"{key} must be in the file itself. Received: a link, or a damaged one")
            if key in optional and not any(slot.startswith(f"{key}/") for slot in slots):
                continue
            item = group[name]
            if isinstance(item, h5py.Group):
                if item in seen:
                    raise FileError(f"{key} must be there once. Received: a group of two names")
                seen.add(item)
                waiting.append((f"{key}/", item))
            elif key in slots:
                yield key
            else:
                raise FileError(f"{key} is left over: the model has no such tensor")


def _tensor(file: Any, key: str, slots: Mapping[str, Slot]) -> npt.NDArray[Any]:
    try:
        value = _plain(file[key], slots[key])
        if not _intact(file[key], key, value):
            raise FileError("is damaged: its CRC-32 is not the one in the file")
        return converted(value, slots[key].dtype)
    except FileError as error:
        raise FileError(f"{_named(key, slots)} {error}") from None
    except Exception as error:  # as above
        raise FileError(f"{_named(key, slots)} cannot be read ({error})") from error


def _plain(dataset: Any, slot: Slot) -> npt.NDArray[Any]:
    """Reads a tensor, once all that is said about it is as expected."""
    if dataset.shape != slot.shape:
        raise FileError(f"must have shape {slot.shape}. Received: {dataset.shape}")
    check_dtype(dataset.dtype, slot.dtype)
    created = dataset.id.get_create_plist()
    in_one_piece = created.get_layout() in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)
    if not in_one_piece or created.get_external_count() or created.get_nfilters():
        raise FileError("must be stored in one piece, in the file itself, uncompressed. Received: another storage")
    size_bytes = math.prod(slot.shape) * dataset.dtype.itemsize
    if dataset.id.get_storage_size() != size_bytes:
        raise FileError(f"must take {size_bytes} bytes. Received: {dataset.id.get_storage_size()}")
    return np.asarray(dataset[()])


def _intact(dataset: Any, key: str, value: npt.NDArray[Any]) -> bool:
    if _CHECKSUM not in dataset.attrs:
        return True
    stored = dataset.attrs.get_id(_CHECKSUM)
    return stored.shape == () and stored.dtype == np.uint32 and dataset.attrs[_CHECKSUM] == _checksum(key, value)


def _checksum(key: str, value: npt.NDArray[Any]) -> np.uint32:
    return np.uint32(zlib.crc32(value.tobytes(), zlib.crc32(f"{key} {value.dtype.str} {value.shape}".encode())))
