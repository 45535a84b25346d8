"""What callers pass, checked and brought into one form. NumPy is imported where there are arrays."""

import operator
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_MOST_PIXELS = 1 << 28
ImageSize = int | Sequence[int]


def integer(value: Any, name: str, *, least: int | None = None) -> int:
    """Returns an integer, of Python or NumPy, as Python's own.

    Args:
        value: What was given.
        name: String, the argument's name.
        least: Integer, the smallest that is allowed, or `None` for any. Defaults to `None`.

    Raises:
        ValueError: If it is no integer (a boolean and a float are none), or below `least`.
    """
    try:
        # By its name: NumPy has a class `bool` of its own, which its older versions take for an index.
        number = None if type(value).__name__ == "bool" else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise ValueError(f"`{name}` must be an integer. Received: {name}={value!r}.")
    if least is not None and number < least:
        raise ValueError(f"`{name}` must be at least {least}. Received: {name}={number}.")
    return number


def image_size(value: ImageSize | None) -> tuple[int, int] | None:
    """Returns the size of an image as `(height, width)` in pixels; an integer is the side of a square.

    Raises:
        ValueError: If it is neither that, nor two integers of at least 1, nor `None`.
    """
    if value is None:
        return None
    try:
        sizes: Any = value if isinstance(value, Iterable) else (value, value)
        height, width = (integer(size, "image_size", least=1) for size in sizes)
    except (TypeError, ValueError):
        raise ValueError(
            "`image_size` must be (height, width) in pixels, or an integer for a square. "
            f"Received: image_size={value!r}."
        ) from None
    if height * width > _MOST_PIXELS:
        raise ValueError(f"`image_size` must be at most {_MOST_PIXELS:,} pixels. Received: image_size={value!r}.")
    return height, width


def class_labels(labels: Any) -> "npt.NDArray[np.int64]":
    """Returns the classes of images as an int64 array of shape `(n,)`.

    Args:
        labels: Integers of any width, an array or a list, of shape `(n,)` or, as Keras's CIFAR has them, `(n, 1)`.

    Raises:
        ValueError: If they are something else, such as floats or one-hot rows.
    """
    import numpy as np

    array = _array(labels, "labels")
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu" or array.shape not in ((len(array),), (len(array), 1)):
        raise ValueError(f"`labels` must be integers of shape (n,) or (n, 1). Received: {described(array)}.")
    return array.reshape(-1).astype(np.int64, copy=False)


def image_array(images: Any, shape: Sequence[int | None] | None) -> "npt.NDArray[Any]":
    """Returns images as an array.

    Args:
        images: Numbers, an array or nested lists, of shape `(n, *shape)`.
        shape: Shape of an image, `None` where any size will do; or `None` if it is not known.

    Raises:
        ValueError: If they are something else.
    """
    array = _array(images, "images")
    fits = shape is None or (
        array.ndim == len(shape) + 1
        and all(size in (None, given) for size, given in zip(shape, array.shape[1:], strict=True))
    )
    if array.dtype.kind not in "iuf" or array.ndim < 2 or not fits:
        expected = "(n, ...)" if shape is None else f"(n, {', '.join(map(str, shape))})"
        raise ValueError(f"`images` must be numbers of shape {expected}. Received: {described(array)}.")
    return array


def described(array: "npt.NDArray[Any]") -> str:
    """Returns what an error says of an array."""
    return f"dtype={array.dtype}, shape={array.shape}"


def _array(values: Any, name: str) -> "npt.NDArray[Any]":
    import numpy as np

    try:
        return np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise ValueError(f"`{name}` must be an array. Received: {error}") from None
