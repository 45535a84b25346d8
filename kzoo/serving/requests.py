"""From what a client sent to one array of pixels, or to a message that says what was wrong with it."""

import base64
import binascii
import dataclasses
import io
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo.data.images import Decoding
from kzoo.export.signatures import INPUTS
from kzoo.serving.errors import BadRequest, short
from kzoo.serving.limits import Limits

Array = npt.NDArray[Any]
FLOATS = "float_images"
_SIGNATURES = ("serving_default", *(name for name in INPUTS if name != "serving_default"))
_EXPECTED = "integers in [0, 255]"


@dataclasses.dataclass
class Asked:
    """The images that a request asks about: pixels, uint8 or float32, or files that are to be decoded.

    Attributes:
        images: Array of shape `(batch, height, width, channels)`, or `None`.
        files: The files, where there are no pixels.
        columns: Boolean, whether the answer is one list an output, rather than one dictionary an image (V1).
    """

    images: Array | None = None
    files: Sequence[bytes] = ()
    columns: bool = False

    @property
    def batch(self) -> int:
        """Integer, how many images there are."""
        return len(self.files) if self.images is None else len(self.images)


def asked_by_v1(payload: Any, decoding: Decoding, limits: Limits) -> Asked:
    """Reads a request of the V1 protocol, as TensorFlow Serving takes it.

    In the row format (`instances`) an instance is an image as nested lists of numbers, or a file as `{"b64": ...}`,
    alone or under the name of the input: `{"image": [...]}`, `{"image_bytes": {"b64": ...}}`. In the columnar format
    (`inputs`) there is one list of them, alone or under that name.

    Args:
        payload: What the JSON of the body said.
        decoding: `Decoding`, to what the model takes.
        limits: The `Limits`.

    Raises:
        BadRequest: If the payload is anything else.
    """
    given = payload if isinstance(payload, dict) else {}
    if ("instances" in given) == ("inputs" in given):
        raise BadRequest('The body must be a JSON object with a list of "instances", or with "inputs".')
    columns = "inputs" in given
    instances = _of_columns(given["inputs"]) if columns else given["instances"]
    if not isinstance(instances, list):
        raise BadRequest('The body must be a JSON object with a list of "instances", or with "inputs".')
    check_batch(len(instances), limits)
    signature = given.get("signature_name") or _SIGNATURES[0]
    if signature not in _SIGNATURES:
        raise BadRequest(f'"signature_name" must be one of {", ".join(_SIGNATURES)}. Received: {short(signature)}.')
    bare = [_bare(instance) for instance in instances]
    encoded = [isinstance(instance, dict) for instance in bare]
    named = given.get("signature_name") is not None
    if (named and set(encoded) != {signature == "encoded_images"}) or len(set(encoded)) > 1:
        raise BadRequest(f'Expected instances with "{INPUTS[signature]}" only.')
    if encoded[0]:
        files = [of_base64(instance["b64"], f"instance {index}") for index, instance in enumerate(bare)]
        return Asked(files=files, columns=columns)
    shape = (len(bare), *shape_of(decoding))
    images = _array_of_lists(bare, shape, decoding)
    return Asked(checked_pixels(images, decoding, floats=signature == FLOATS), columns=columns)


def asked_by_v2(name: str, datatype: str, array: Array, decoding: Decoding, limits: Limits) -> Asked:
    """Reads the input tensor of a request of the Open Inference Protocol.

    Args:
        name: String, `image` or `image_bytes`.
        datatype: String, `UINT8` or `FP32` for `image`, `BYTES` for `image_bytes`.
        array: Numbers, or an object array of files, each as bytes or as base64 text.
        decoding: As for `asked_by_v1`.
        limits: As for `asked_by_v1`.

    Raises:
        BadRequest: If the tensor is anything else.
    """
    check_batch(len(array) if array.ndim else 0, limits)
    if name == "image":
        return Asked(checked_pixels(array, decoding, floats=datatype == "FP32"))
    if name != "image_bytes":
        raise BadRequest(f'The input must be named "image" or "image_bytes". Received: {short(name)}.')
    if array.ndim != 1:
        raise BadRequest(f'Input "image_bytes" must have shape [batch]. Received: {list(array.shape)}.')
    return Asked(
        files=[
            item if isinstance(item, bytes) else of_base64(item, f"item {index}") for index, item in enumerate(array)
        ]
    )


def check_files(files: Iterable[bytes], limits: Limits) -> list[int]:
    """Looks at what each file says of its size, before the first is decoded.

    Returns:
        How many pixels each has.

    Raises:
        BadRequest: If one is no JPEG or PNG file, or they have too many pixels.
    """
    from PIL import Image

    sizes: list[int] = []
    for index, file in enumerate(files):
        try:
            with Image.open(io.BytesIO(file), formats=("JPEG", "PNG")) as image:
                width, height = image.size
        except Exception:  # which exceptions a decoder raises on broken data is nowhere specified
            raise BadRequest(f"Image {index} must be a JPEG or PNG file. Received: {len(file)} other bytes.") from None
        sizes.append(width * height)
        if sizes[-1] > limits.pixels:
            size = f"{width}x{height}, {sizes[-1]:,}"
            raise BadRequest(f"Image {index} must have at most {limits.pixels:,} pixels. Received: {size}.")
        if sum(sizes) > limits.request_pixels:
            raise BadRequest(
                f"The images of a request must have at most {limits.request_pixels:,} pixels together. "
                f"Received: {sum(sizes):,} up to image {index}."
            )
    return sizes


def decoded(file: bytes, index: int, decoding: Decoding) -> npt.NDArray[np.uint8]:
    """Decodes one file that `check_files` has let pass.

    Raises:
        BadRequest: If it is damaged.
    """
    try:
        return decoding.decode(file, f"image {index}")
    except ValueError as error:
        raise BadRequest(str(error)) from error


def pixels_of(asked: Asked, decoding: Decoding, limits: Limits) -> Array:
    """Returns the pixels that a request asks about, decoding its files one after another."""
    if asked.images is not None:
        return asked.images
    check_files(asked.files, limits)
    return np.stack([decoded(file, index, decoding) for index, file in enumerate(asked.files)])


def checked_pixels(images: Array, decoding: Decoding, *, floats: bool = False) -> Array:
    """Returns images as uint8, or as float32 where those were asked for.

    Raises:
        BadRequest: If they have another shape, or are no numbers in [0, 255].
    """
    expected = "numbers in [0, 255]" if floats else _EXPECTED
    if images.shape[1:] != shape_of(decoding):
        raise BadRequest(f"Every image must be {_described(decoding)}. Received: {short(list(images.shape[1:]))}.")
    if images.dtype.kind not in ("iuf" if floats else "iu"):
        raise BadRequest(f"Pixels must be {expected}. Received: {images.dtype.name} values.")
    least, most = images.min(), images.max()
    if not (least >= 0 and most <= 255):  # not a number is neither
        raise BadRequest(f"Pixels must be {expected}. Received: {least} to {most}.")
    return images.astype(np.float32 if floats else np.uint8)


def numbers_of(flat: Sequence[Any]) -> Array:
    """Returns numbers of JSON as an array of the type that they have; one truth value makes it boolean.

    Raises:
        BadRequest: If there is something else among them, or a number that no array holds.
    """
    kinds = set(map(type, flat))
    if bool in kinds:
        return np.zeros(len(flat), bool)
    if not kinds <= {int, float}:
        raise BadRequest(f"Pixels must be {_EXPECTED}. Received: something that is no number.")
    try:
        return np.array(flat, np.int64 if kinds == {int} else np.float64)
    except OverflowError:
        raise BadRequest(f"Pixels must be {_EXPECTED}. Received: a number of more than 64 bits.") from None


def flat_of(values: Any, most: int) -> list[Any]:
    """Returns what is in nested lists, of any depth, one after another.

    Raises:
        BadRequest: If there are no lists, or more in them than `most`.
    """
    if not isinstance(values, list):
        raise BadRequest("Expected a list of values.")
    while values and isinstance(values[0], list):
        if not all(isinstance(one, list) for one in values):
            raise BadRequest("Expected lists of the same depth. Received: lists beside values.")
        values = list(itertools.islice(itertools.chain.from_iterable(values), most + 1))
    if len(values) > most:
        raise BadRequest(f"Expected at most {most:,} values.")
    return values


def check_batch(count: int, limits: Limits) -> None:
    """Raises a `BadRequest` unless a request may hold that many images."""
    if not 1 <= count <= limits.batch:
        raise BadRequest(f"A request must hold 1 to {limits.batch} images. Received: {count}.")


def of_base64(text: Any, name: str) -> bytes:
    """Returns the bytes of a file that came as base64 text.

    Raises:
        BadRequest: If it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise BadRequest(f"The file of {name} must be base64 text.") from None


def most_lists(decoding: Decoding, limits: Limits) -> int:
    """Returns how many lists and objects a request may need: twice those of its images' rows and pixels, and some."""
    height, width, _ = shape_of(decoding)
    return 2 * limits.batch * (height * width + height + 3) + 1000


def shape_of(decoding: Decoding) -> tuple[int, ...]:
    """Returns `(height, width, channels)` of what a model takes."""
    return (*(decoding.image_size or ()), decoding.channels)


def _of_columns(inputs: Any) -> Any:
    """Takes the name of the input off the columnar format."""
    if isinstance(inputs, dict) and len(inputs) == 1 and next(iter(inputs)) in INPUTS.values():
        inputs = next(iter(inputs.values()))
    return [inputs] if isinstance(inputs, dict) else inputs


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
        f"Received: keys {short(sorted(instance))}."
    )


def _array_of_lists(images: list[Any], shape: tuple[int, ...], decoding: Decoding) -> Array:
    """Returns nested lists as an array of that shape, looking at the length of each."""
    values: list[Any] = images
    for length in shape[1:]:
        if not all(isinstance(one, list) and len(one) == length for one in values):
            raise BadRequest(f"Every image must be {_described(decoding)}. Received: {_lengths(images[0])}")
        values = list(itertools.chain.from_iterable(values))
    if any(isinstance(one, list) for one in values[:1]):
        raise BadRequest(f"Every image must be {_described(decoding)}. Received: {_lengths(images[0])}")
    return numbers_of(values).reshape(shape)


def _lengths(lists: Any) -> str:
    """Returns what an error says of nested lists of another shape, by the first of each."""
    lengths: list[int] = []
    while isinstance(lists, list) and len(lengths) < 6:
        lengths.append(len(lists))
        lists = lists[0] if lists else None
    return f"lists of lengths {lengths}, or lists of different lengths." if lengths else "no lists."


def _described(decoding: Decoding) -> str:
    return f"{'x'.join(map(str, shape_of(decoding)))} (height x width x channels)"
