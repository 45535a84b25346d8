"""Archives of NumPy arrays (`.npz`): written, and read as what a stranger may have written."""

import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_PACKED = 1032  # times smaller than what it holds: more than that deflate cannot do
_USUALLY_PACKED = 100  # and all arrays of one together: images of one colour are
_SPARE_BYTES = 1 << 28  # that they may take in any case
_NUMBERS = "biuf"  # and booleans: nothing that is unpickled
_TEXTS = "U"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# What damage makes these libraries raise.
_DAMAGE = (
    OSError,
    EOFError,
    OverflowError,
    RuntimeError,  # encrypted; NotImplementedError is one
    SyntaxError,
    TypeError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(
    path: str | os.PathLike[str], *, packed: bool = True, texts: bool = False, most_bytes: int | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Reads all arrays of an archive. What they would take in memory is checked before, against the file's size.

    Args:
        path: Path of the archive.
        packed: Boolean, whether its arrays may be compressed: then they may take a hundred times the memory that the
            file takes on the disk, or 256 MiB. Defaults to `True`.
        texts: Boolean, whether arrays of texts are read too. Defaults to `False`.
        most_bytes: Integer, what all arrays may take, or `None` for what is plausible. Defaults to `None`.

    Returns:
        Name of each array, without `.npy`, to the array.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no archive of arrays of such values, or damaged. The message does not name the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename.removesuffix(".npy") for entry in entries]
            if len(set(names)) < len(names):
                raise ValueError("two arrays of one name")
            if sum(entry.compress_size for entry in entries) > os.path.getsize(path):
                raise ValueError("arrays that take more than the file")
            size_bytes = sum(entry.file_size for entry in entries)
            plausible = max(_USUALLY_PACKED * os.path.getsize(path), _SPARE_BYTES)
            most_bytes = plausible if most_bytes is None else min(most_bytes, plausible)
            if size_bytes > most_bytes:
                raise ValueError(f"arrays of {size_bytes:,} bytes, and at most {most_bytes:,} are read")
            allowed = _NUMBERS + _TEXTS if texts else _NUMBERS
            return {name: _array(archive, entry, packed, allowed) for name, entry in zip(names, entries, strict=True)}
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from error


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, npt.ArrayLike], *, packed: bool = False) -> None:
    """Writes an archive as `numpy.savez` does, which up to NumPy 2.0 leaves a file open that it cannot finish.

    Args:
        path: Path of the archive.
        arrays: Name of each array to the array.
        packed: Boolean, whether to compress them. Defaults to `False`.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, packed: bool, allowed: str) -> npt.NDArray[Any]:
    """Reads an array, once its header and the size of the file say the same."""
    most = {zipfile.ZIP_STORED: 1} | ({zipfile.ZIP_DEFLATED: _MOST_PACKED} if packed else {})
    if entry.compress_type not in most:
        raise ValueError(f"{entry.filename!r}, compressed in a way that is not read")
    if entry.file_size > most[entry.compress_type] * entry.compress_size:
        raise ValueError(f"{entry.filename!r} of {entry.file_size:,} bytes, of which there are fewer")
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{entry.filename!r} of version {version}")
        shape, _, dtype = _HEADERS[version](file)
        if dtype.kind not in allowed or dtype.itemsize == 0:
            raise ValueError(f"{entry.filename!r} of {dtype}")
        if math.prod(shape) * dtype.itemsize != entry.file_size - file.tell():
            raise ValueError(f"{entry.filename!r} of shape {shape} and {dtype} in {entry.file_size:,} bytes")
    with archive.open(entry) as file:
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array
