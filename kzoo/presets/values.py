"""What the numbers of a file must be before a model gets them, whatever the file's format."""

from typing import Any

import numpy as np
import numpy.typing as npt

FLOATS = tuple(map(np.dtype, ("float16", "float32", "float64")))
INTEGERS = tuple(np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64))
_FAMILIES = (FLOATS, INTEGERS, (np.dtype("bool"),))


class FileError(Exception):
    """What is wrong with a file, in words, without the name of the file or the tensor."""


def check_dtype(dtype: np.dtype[Any], wanted: np.dtype[Any]) -> None:
    """Raises `FileError` unless numbers of one dtype can become those of another: both floats, integers or booleans."""
    family = next((family for family in _FAMILIES if wanted in family), ())
    if dtype not in family:
        expected = ", ".join(map(str, family)) or "of a dtype that kzoo can check (float, integer, boolean)"
        raise FileError(f"must be {expected}. Received: {dtype.str}")


def converted(value: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Returns numbers in another dtype of the same family.

    Raises:
        FileError: If one is not finite, or out of the range of that dtype.
    """
    with np.errstate(over="ignore"):
        result = value.astype(dtype)
    valid = np.isfinite(result) if dtype in FLOATS else result == value
    if not valid.all():
        at = tuple(int(index[0]) for index in np.nonzero(np.atleast_1d(~valid)))
        received = np.atleast_1d(value)[at]
        raise FileError(f"must hold finite numbers in the range of {dtype}. Received: {received} at {list(at)}")
    return result


def check_divisor(name: str, value: npt.NDArray[Any]) -> None:
    """Raises `FileError` for what a normalization divides by and cannot: its results would not be numbers.

    Args:
        name: String, the variable's name, such as `moving_variance`.
        value: Its numbers.
    """
    if name in ("moving_variance", "variance") and (value < 0).any():
        raise FileError(f"must hold variances, 0 or larger. Received: {value.min()}")
    if name == "std" and (value <= 0).any():
        raise FileError(f"must hold deviations, above 0. Received: {value.min()}")
