"""Tensors of the Open Inference Protocol, in JSON and in the binary form of its extension.

Reference:
    - [Open Inference Protocol](https://github.com/kserve/open-inference-protocol)
    - [Binary tensor data extension](https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md)
"""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kzoo.serving.errors import BadRequest, short
from kzoo.serving.requests import flat_of, numbers_of

_TYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype("<u1"), "FP32": np.dtype("<f4")}
_NAMES = {"logits": "FP32", "probabilities": "FP32", "class_index": "INT64"}
_BINARY: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8")}
DATATYPES = {"image": ("UINT8", "FP32"), "image_bytes": ("BYTES",)}


class Tensor(NamedTuple):
    """An input: its name, datatype and values; an object array for `BYTES`."""

    name: str
    datatype: str
    values: npt.NDArray[Any]


def read_tensor(given: Any, binary: memoryview, most: int) -> tuple[Tensor, memoryview]:
    """Reads one input.

    Args:
        given: What the JSON says of it.
        binary: What follows the JSON.
        most: Integer, the most values.

    Returns:
        The `Tensor`, and what of `binary` is left.

    Raises:
        BadRequest: If it is not what its datatype and shape say.
    """
    if not isinstance(given, dict):
        raise BadRequest('An input must be an object with "name", "shape" and "datatype".')
    name, datatype = given.get("name"), given.get("datatype")
    if not isinstance(name, str) or name not in DATATYPES:
        raise BadRequest(f'The input must be named "image" or "image_bytes". Received: {short(name)}.')
    if datatype not in DATATYPES[name]:
        expected = " or ".join(DATATYPES[name])
        raise BadRequest(f'Input "{name}" must have datatype {expected}. Received: {_word(datatype)}.')
    shape = _shape(given.get("shape"), name)
    if math.prod(shape) > most:
        raise BadRequest(f'Input "{name}" must have at most {most:,} values. Received: shape {short(shape)}.')
    parameters = given.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        return Tensor(name, datatype, _of_json(given.get("data"), name, datatype, shape)), binary
    if "data" in given:
        raise BadRequest(f'Input "{name}" must have "data" or "binary_data_size". Received: both.')
    if type(size) is not int or not 0 <= size <= len(binary):
        raise BadRequest(
            f'Input "{name}" must have a "binary_data_size" of what follows. Received: {short(size)}, '
            f"where {len(binary)} bytes follow."
        )
    return Tensor(name, datatype, _of_binary(binary[:size], name, datatype, shape)), binary[size:]


def written_output(
    name: str, values: npt.NDArray[Any], wanted: Mapping[str, Any], binary: bool, class_names: Sequence[str]
) -> tuple[dict[str, Any], bytes]:
    """Returns what the JSON of an answer says of an output, and its bytes if it is binary.

    Args:
        name: String, of the output.
        values: Its values.
        wanted: The parameters that the request has for it: `binary_data`, `classification`.
        binary: Boolean, whether it is binary where they do not say.
        class_names: One name a class, for `classification`.

    Raises:
        BadRequest: If `classification` is asked of an output that has no classes.
    """
    datatype, classes = _NAMES[name], wanted.get("classification")
    binary = wanted.get("binary_data", binary) is True
    output = {"name": name, "datatype": datatype, "shape": list(values.shape)}
    if classes is not None:
        if type(classes) is not int or classes < 1 or values.ndim != 2:
            raise BadRequest(f'"classification" must be 1 or larger, of an output of classes. Received: {name}.')
        best = _best(values, classes, class_names)
        output |= {"datatype": "BYTES", "shape": [len(best), len(best[0])]}
        flat = [text for row in best for text in row]
        data: Any = flat
        content = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in flat)
    else:
        data = values.reshape(-1).tolist()
        content = values.astype(_BINARY[datatype]).tobytes()
    if not binary:
        return {**output, "data": data}, b""
    return {**output, "parameters": {"binary_data_size": len(content)}}, content


def described_outputs(classes: int) -> list[dict[str, Any]]:
    """Returns what the metadata of a model says of its outputs."""
    shapes = {"class_index": [-1]}
    return [{"name": name, "datatype": kind, "shape": shapes.get(name, [-1, classes])} for name, kind in _NAMES.items()]


def _shape(given: Any, name: str) -> tuple[int, ...]:
    if not isinstance(given, list) or not 1 <= len(given) <= 8:
        raise BadRequest(f'Input "{name}" must have a "shape", a list of integers.')
    if not all(type(size) is int and 0 <= size < 2**31 for size in given):
        raise BadRequest(f'Input "{name}" must have a shape of integers. Received: {short(given)}.')
    return tuple(given)


def _of_json(data: Any, name: str, datatype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    count = math.prod(shape)
    values = flat_of(data, count) if isinstance(data, list) else []
    if len(values) != count:
        raise BadRequest(
            f'Input "{name}" must hold what its datatype and shape say, {count:,} values. Received: {len(values):,}.'
        )
    if datatype != "BYTES":
        return numbers_of(values).reshape(shape)
    array = np.empty(count, object)
    array[:] = values
    return array.reshape(shape)


def _of_binary(content: memoryview, name: str, datatype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    count = math.prod(shape)
    if datatype == "BYTES":
        return _texts(content, name, count).reshape(shape)
    kind = _TYPES[datatype]
    if len(content) != count * kind.itemsize:
        raise BadRequest(
            f'Input "{name}" must hold what its datatype and shape say, {count * kind.itemsize:,} bytes. '
            f"Received: {len(content):,}."
        )
    return np.frombuffer(content, kind).reshape(shape)


def _texts(content: memoryview, name: str, count: int) -> npt.NDArray[Any]:
    """Reads `BYTES`: each item is its length, four bytes, least first, and what it holds."""
    found = np.empty(count, object)
    start = 0
    for index in range(count):
        length = int.from_bytes(content[start : start + 4], "little")
        if start + 4 + length > len(content) or len(content) < start + 4:
            raise BadRequest(f'Input "{name}" must hold {count} items, each after its length. Item {index} does not.')
        found[index] = bytes(content[start + 4 : start + 4 + length])
        start += 4 + length
    if start != len(content):
        raise BadRequest(f'Input "{name}" must hold {count} items. Received: {len(content) - start} bytes more.')
    return found


def _best(values: npt.NDArray[Any], classes: int, class_names: Sequence[str]) -> list[list[str]]:
    order = np.argsort(-values, axis=1, kind="stable")[:, :classes]
    return [
        [f"{row[index]:f}:{index}:{class_names[index]}" for index in best]
        for row, best in zip(values, order.tolist(), strict=True)
    ]


def _word(value: Any) -> str:
    return value[:20] if isinstance(value, str) else short(value)
