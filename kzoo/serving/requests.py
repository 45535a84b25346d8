"""From what a client sent to one uint8 array, or to a message that says what was wrong with it."""

import base64
import binascii
import io
from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo.data import Decoding
from kzoo.export.signatures import INPUTS
from kzoo.serving.limits import Limits

Pixels = npt.NDArray[np.uint8]


class BadRequest(ValueError):  # noqa: N818  the name that HTTP has for it
    """A request that cannot be answered, for a reason on the client's side."""


def images_of_v1(payload: Any, decoding: Decoding, limits: Limits) -> Pixels:
    """Reads a request of the V1 protocol, in the row format of TensorFlow Serving.

    An instance is an image as nested lists of integers, or a file as `{"b64": ...}`, alone or under the name of the
    input: `{"image": [[[0, 0, 0], ...], ...]}`, `{"image_bytes": {"b64": ...}}`.

    Args:
        payload: What the JSON of the body said.
        decoding: `Decoding`, to what the model takes.
        limits: The `Limits`.

    Returns:
        uint8 array of shape `(batch, height, width, channels)`.

    Raises:
        BadRequest: If the payload is anything else.
    """
    instances = payload.get("instances") if isinstance(payload, dict) else None
    if not isinstance(instances, list):
        raise BadRequest('The body must be a JSON object with a list of "instances".')
    _check_batch(len(instances), limits)
    signature = payload.get("signature_name")
    signatures = ("serving_default", "encoded_images")
    if signature not in (None, *signatures):
        raise BadRequest(f'"signature_name" must be one of {", ".join(signatures)}. Received: {_short(signature)}.')
    bare = [_bare(instance) for instance in instances]
    encoded = [isinstance(instance, dict) for instance in bare]
    if (signature is not None and set(encoded) != {signature == "encoded_images"}) or len(set(encoded)) > 1:
        raise BadRequest(f'Expected instances with "{INPUTS[signature or signatures[0]]}" only.')
    if encoded[0]:
        files = [_base64(instance["b64"], f"instance {index}") for index, instance in enumerate(bare)]
        return _decoded(files, decoding, limits)
    try:
        array = numbers_of(bare)
    except (ValueError, OverflowError):
        raise BadRequest(f"Every image must be {_shape(decoding)}. Received: lists of different lengths.") from None
    return _checked(array, decoding)


def images_of_v2(name: str, array: npt.NDArray[Any], decoding: Decoding, limits: Limits) -> Pixels:
    """Reads the input tensor of a request of the Open Inference Protocol.

    Args:
        name: String, `image` or `image_bytes`.
        array: Images of integers, or an object array of files, each as bytes or as base64 text.
        decoding: As for `images_of_v1`.
        limits: As for `images_of_v1`.

    Returns:
        As `images_of_v1`.

    Raises:
        BadRequest: If the tensor is anything else.
    """
    _check_batch(len(array) if array.ndim else 0, limits)
    if name == "image":
        return _checked(array, decoding)
    if name != "image_bytes":
        raise BadRequest(f'The input must be named "image" or "image_bytes". Received: {_short(name)}.')
    if array.ndim != 1:
        raise BadRequest(f'Input "image_bytes" must have shape [batch]. Received: {list(array.shape)}.')
    files = [item if isinstance(item, bytes) else _base64(item, f"item {index}") for index, item in enumerate(array)]
    return _decoded(files, decoding, limits)


def numbers_of(lists: Any) -> npt.NDArray[Any]:
    """Returns nested lists of JSON as an array of the type that their numbers have; one truth value makes it boolean.

    Raises:
        ValueError: If the lists are of different lengths.
        OverflowError: If a number is beyond all types.
    """
    array = np.asarray(lists)
    if array.dtype.kind in "iuf" and bool in set(map(type, np.asarray(lists, object).ravel().tolist())):
        return array.astype(bool)
    return array


def _bare(instance: Any) -> Any:
    """Takes the name of the input off an instance."""
    if not isinstance(instance, dict):
        return instance
    if len(instance) == 1:
        ((name, value),) = instance.items()
        if name == "b64":
            return instance
        if name == "image" and isinstance(value, list):
            return value
        if name == "image_bytes" and isinstance(value, dict) and value.keys() == {"b64"}:
            return value
    raise BadRequest(
        'An instance must be a list, {"image": [...]}, {"b64": "..."} or {"image_bytes": {"b64": "..."}}. '
        f"Received: keys {_short(sorted(instance))}."
    )


def _check_batch(count: int, limits: Limits) -> None:
    if not 1 <= count <= limits.batch:
        raise BadRequest(f"A request must hold 1 to {limits.batch} images. Received: {count}.")


def _checked(images: npt.NDArray[Any], decoding: Decoding) -> Pixels:
    if images.shape[1:] != (*(decoding.image_size or ()), decoding.channels):
        raise BadRequest(f"Every image must be {_shape(decoding)}. Received: {_short(list(images.shape[1:]))}.")
    if images.dtype.kind not in "iu":
        raise BadRequest(f"Pixels must be integers in [0, 255]. Received: {images.dtype.name} values.")
    if images.min() < 0 or images.max() > 255:
        raise BadRequest(f"Pixels must be integers in [0, 255]. Received: {images.min()} to {images.max()}.")
    return images.astype(np.uint8)


def _base64(text: Any, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise BadRequest(f"The file of {name} must be base64 text. Received: {error}.") from None


def _decoded(files: list[bytes], decoding: Decoding, limits: Limits) -> Pixels:
    """Decodes files to pixels of the model's size; how large they are is asked before the first is decoded."""
    for index, file in enumerate(files):
        _check_header(file, index, limits)
    try:
        return np.stack([decoding.decode(file, f"image {index}") for index, file in enumerate(files)])
    except ValueError as error:
        raise BadRequest(str(error)) from error


def _check_header(file: bytes, index: int, limits: Limits) -> None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(file), formats=("JPEG", "PNG")) as image:
            width, height = image.size
    except Exception:  # which exceptions a decoder raises on broken data is nowhere specified
        raise BadRequest(f"Image {index} must be a JPEG or PNG file. Received: {len(file)} other bytes.") from None
    if width * height > limits.pixels:
        raise BadRequest(
            f"Image {index} must have at most {limits.pixels:,} pixels. Received: {width}x{height}, {width * height:,}."
        )


def _shape(decoding: Decoding) -> str:
    sizes = [*(decoding.image_size or ()), decoding.channels]
    return f"{'x'.join(map(str, sizes))} (height x width x channels)"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
