"""Tensors in a `.safetensors` file, read as what a stranger may have written.

The file is the length of a header, the header (JSON: name, dtype, shape and place of each tensor) and the numbers. All
that the header says is checked here, against the file's size and against what is expected, before the numbers are read
and before the `safetensors` library, which then takes them apart, sees any of it.

Reference:
    - [Safetensors, format](https://github.com/huggingface/safetensors#format)
"""

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kzoo.bounded import read_bytes
from kzoo.presets.values import INTEGERS

_LENGTH_BYTES = 8
_MOST_HEADER = 1 << 23  # that of ResNet-1202 has some 800 kB
_MOST_BYTES = 1 << 32
_MOST_AXES = 8
_DTYPES = {
    "BOOL": np.dtype("bool"),
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
    **{f"{dtype.kind.upper()}{8 * dtype.itemsize}": dtype.newbyteorder("<") for dtype in INTEGERS},
}


class TensorInfo(NamedTuple):
    """What a header says of a tensor: its dtype, its shape, and between which bytes after the header it lies."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Reads what a file says of its tensors, without their numbers.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is a link, too large, or the header is damaged or contradicts itself or the size of the file.
            The message names the file, and the tensor where one is at fault.
    """
    if path.is_symlink() or not path.is_file():
        read_bytes(path, 0, links=False)  # which says what is wrong
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            header = _header_of(file.read(_LENGTH_BYTES), file, size)
            return _checked(header, size - file.tell())
    except _HeaderError as error:
        raise ValueError(f"{path} must be a whole safetensors file: {error}.") from error.__cause__


def read_tensors(path: Path, *, size_bytes: int, sha256: str) -> dict[str, npt.NDArray[Any]]:
    """Reads all tensors of a file whose header has been checked.

    Args:
        path: Path of the file.
        size_bytes: Integer, its size.
        sha256: String, its SHA-256 in hexadecimal digits.

    Raises:
        ValueError: If it has another size or SHA-256.
    """
    import safetensors.numpy

    content = read_bytes(path, _MOST_BYTES, links=False)
    received = hashlib.sha256(content).hexdigest()
    if (len(content), received) != (size_bytes, sha256):
        raise ValueError(
            f"{path} must be {size_bytes:,} bytes with the SHA-256 {sha256}, as config.json says. "
            f"Received: {len(content):,} bytes, {received}."
        )
    try:
        return dict(safetensors.numpy.load(content))
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} must be a whole safetensors file. Received: {error}.") from error


def file_of(tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Returns the content of a file with these tensors, the same bytes for the same content."""
    import safetensors.numpy

    return safetensors.numpy.save({name: np.array(value, order="C") for name, value in tensors.items()})


class _HeaderError(Exception):
    """What is wrong with a header, in words."""


def _header_of(first: bytes, file: Any, size: int) -> Any:
    length = struct.unpack("<Q", first)[0] if len(first) == _LENGTH_BYTES else -1
    most = min(_MOST_HEADER, size - _LENGTH_BYTES)
    if not 0 < length <= most:
        raise _HeaderError(f"its header must have 1 to {max(most, 1):,} bytes. Received: {length:,}")
    if size > _MOST_BYTES:
        raise _HeaderError(f"it must have at most {_MOST_BYTES:,} bytes. Received: {size:,}")
    try:
        return json.loads(file.read(length), object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise _HeaderError(f"its header must be JSON. Received: {error}") from error


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name that is there twice")
    return found


def _checked(header: Any, size: int) -> dict[str, TensorInfo]:
    """Returns what a header says of tensors that take `size` bytes, each right after the one before."""
    if not isinstance(header, dict):
        raise _HeaderError(f"its header must be an object. Received: {type(header).__name__}")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _HeaderError(f"its '__metadata__' must be texts. Received: {_short(metadata)}")
    found = {name: _info(name, said, size) for name, said in header.items()}
    length = 0
    for name, info in sorted(found.items(), key=lambda item: (item[1].begin, item[1].end)):
        if info.begin != length:
            raise _HeaderError(f"{name[:100]!r} must begin at byte {length:,}. Received: {info.begin:,}")
        length = info.end
    if length != size:
        raise _HeaderError(f"its tensors must take {size:,} bytes, all that follow the header. Received: {length:,}")
    return found


def _info(name: str, said: Any, size: int) -> TensorInfo:
    shown = repr(name[:100])
    if not isinstance(said, dict) or said.keys() != {"dtype", "shape", "data_offsets"}:
        raise _HeaderError(f"{shown} must have a dtype, a shape and data_offsets. Received: {_short(said)}")
    dtype, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise _HeaderError(f"{shown} must be one of {', '.join(_DTYPES)}. Received: {_short(dtype)}")
    if not _are_sizes(shape, size) or len(shape) > _MOST_AXES:
        raise _HeaderError(f"{shown} must have a shape of at most {_MOST_AXES} sizes. Received: {_short(shape)}")
    if not _are_sizes(offsets, size) or len(offsets) != 2:
        raise _HeaderError(f"{shown} must lie between two bytes of the file. Received: {_short(offsets)}")
    expected = math.prod(shape) * _DTYPES[dtype].itemsize
    if offsets[1] - offsets[0] != expected:
        raise _HeaderError(f"{shown} must take {expected:,} bytes. Received: {offsets[1] - offsets[0]:,}")
    return TensorInfo(_DTYPES[dtype], tuple(shape), *offsets)


def _are_sizes(value: Any, most: int) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one <= most for one in value)


def _short(value: Any) -> str:
    text = str(value) if not isinstance(value, int) else f"a number of {value.bit_length()} bits"
    return text if len(text) <= 80 else f"{text[:77]}..."
