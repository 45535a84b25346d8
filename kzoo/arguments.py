"""What callers pass, checked and brought into one form. NumPy is imported where there are arrays."""

import math
import numbers
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ImageSize = int | Sequence[int]
LARGEST_IMAGE = 89_478_485  # pixels, from where on Pillow warns of what takes more than a machine has


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


def number(value: Any, name: str) -> float:
    """Returns a finite number, of Python or NumPy, as Python's own.

    Raises:
        ValueError: If it is none: a boolean and a string are none.
    """
    try:
        found = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:  # of an integer that is larger than every float
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(f"`{name}` must be a finite number. Received: {name}={value!r}.")
    return found


def pair(values: Any, name: str) -> tuple[float, float]:
    """Returns two finite numbers, of Python or NumPy, as a tuple of Python's own.

    Raises:
        ValueError: If they are not two, or one is no number.
    """
    given = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else ()
    if len(given) != 2:
        raise ValueError(f"`{name}` must be two numbers. Received: {name}={values!r}.")
    return number(given[0], name), number(given[1], name)


def shares(values: Any, name: str) -> tuple[float, ...]:
    """Returns numbers above 0, up to 1, as a tuple of Python's own.

    Raises:
        ValueError: If they are something else.
    """
    are_several = isinstance(values, Iterable) and not isinstance(values, str)
    given = tuple(number(value, name) for value in values) if are_several else (0.0,)
    if not all(0 < value <= 1 for value in given):
        raise ValueError(f"`{name}` must be numbers above 0, up to 1. Received: {name}={values!r}.")
    return given


def boolean(value: Any, name: str) -> bool:
    """Returns a boolean, of Python or NumPy, as Python's own.

    Raises:
        ValueError: If it is none, such as `"no"`, which Python takes for true.
    """
    if type(value).__name__ not in ("bool", "bool_"):  # NumPy's, which is not imported here
        raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}.")
    return bool(value)


def text(value: Any, name: str) -> str:
    """Returns a string that is not empty.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{name}` must be a string that is not empty. Received: {name}={value!r}.")
    return value


def path(value: Any, name: str) -> Path:
    """Returns a path.

    Raises:
        ValueError: If it is none, or empty.
    """
    given = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(given, str) or not given or "\0" in given:
        raise ValueError(f"`{name}` must be a path. Received: {name}={value!r}.")
    return Path(given)


def instance(value: Any, name: str, kind: type | tuple[type, ...], expected: str) -> None:
    """Raises a `ValueError` unless an argument is of a class, which `expected` names with how to get one."""
    if not isinstance(value, kind):
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}.")


def objects(value: Any) -> None:
    """Raises a `ValueError` unless `custom_objects` are names with their classes or functions, or `None`."""
    instance(value, "custom_objects", (Mapping, NoneType), "a dictionary, or None")


def names(value: Any, name: str, count: int) -> tuple[str, ...]:
    """Returns strings as a tuple.

    Raises:
        ValueError: If they are not as many strings.
    """
    are_strings = isinstance(value, Iterable) and not isinstance(value, str)
    given = tuple(value) if are_strings else ()
    if len(given) != count or not all(isinstance(one, str) for one in given):
        raise ValueError(f"`{name}` must be {count} strings, one a class. Received: {name}={value!r}.")
    return given


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
        if height * width > LARGEST_IMAGE:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(
            "`image_size` must be (height, width) in pixels, at most 89,478,485, or an integer for a square. "
            f"Received: image_size={value!r}."
        ) from None
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
    if array.ndim and array.size == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu" or not array.ndim or array.shape not in ((len(array),), (len(array), 1)):
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


def numeric(values: Any, name: str) -> "npt.NDArray[Any]":
    """Returns numbers as an array.

    Raises:
        ValueError: If they are something else.
    """
    array = _array(values, name)
    if array.dtype.kind not in "iuf" or not array.size:
        raise ValueError(f"`{name}` must be numbers. Received: {described(array)}.")
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
