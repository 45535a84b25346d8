"""Files that a stranger may have written, of a size that is looked at before memory is taken."""

import json
import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

_SPARE_BYTES = 1 << 28  # what a packed archive may have in any case
_PACKED = 100  # how much smaller than its content an archive may be: images of one colour are


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """Reads a file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is longer.
    """
    if not path.is_file():  # a pipe and a device have no end
        raise FileNotFoundError(f"Expected a file. Received: {path}, which is none.")
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"{path} must be at most {most_bytes:,} bytes. Received: {path.stat().st_size:,} bytes.")
    return content


def read_json(path: Path, most_bytes: int) -> Any:
    """Reads a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is longer, or no JSON.
    """
    content = read_bytes(path, most_bytes)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON, as kzoo wrote it. Received: {error}.") from error


def read_arrays(path: Path, *, packed: bool) -> dict[str, npt.NDArray[Any]]:
    """Reads an .npz file of arrays of numbers and texts. Nothing in it is unpickled.

    All that the archive and its arrays say of their sizes is compared with the file's before an array is read.

    Args:
        path: Path of the file.
        packed: Boolean, whether its arrays may be compressed; if not, they take no more memory than the file.

    Raises:
        ValueError: If it is no such file, is damaged, or has more in it than a file of its size should.
    """
    try:
        _check_archive(path, packed)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except MemoryError:
        raise
    except Exception as error:  # NumPy and zipfile stumble over damage in a dozen ways
        raise ValueError(f"{str(path)!r} must be a readable .npz file of arrays. Received: {error}.") from error


def _check_archive(path: Path, packed: bool) -> None:
    size = path.stat().st_size
    most_bytes = max(_PACKED * size, _SPARE_BYTES) if packed else size
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if not packed and any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("compressed arrays")
        if (total := sum(entry.file_size for entry in entries)) > most_bytes:
            raise ValueError(f"{total:,} bytes of arrays, more than {most_bytes:,}")
        for entry in entries:
            with archive.open(entry) as file:
                _check_array(file, entry)


def _check_array(file: IO[bytes], entry: zipfile.ZipInfo) -> None:
    """Raises `ValueError` unless an .npy file has the bytes that it says it has."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError(f"objects in {entry.filename}")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != entry.file_size - file.tell():
        raise ValueError(f"another number of bytes in {entry.filename} than shape {shape} of {dtype} takes")
