"""Random streams keyed by what they are for, so that one seed gives one result everywhere.

A stream is never continued from an earlier draw: it is opened anew from `(seed, *what)`, for example
`(seed, "order", epoch)`. The key is hashed with SHA-256 into a counter-based generator, so streams with different keys
are independent, and a value never depends on the backend or on what was drawn before.

Reference:
    - [Salmon et al., 2011](https://doi.org/10.1145/2063384.2063405), Parallel random numbers: as easy as 1, 2, 3
"""

import hashlib
import operator

import numpy as np

_SEEDS = 2**64


def check_seed(seed: int, name: str = "seed") -> int:
    """Returns a seed as Python's integer.

    Args:
        seed: What the user gave.
        name: String, what the argument is called. Defaults to `"seed"`.

    Raises:
        ValueError: If streams cannot be opened from it.
    """
    try:
        number = None if isinstance(seed, bool) else operator.index(seed)
    except TypeError:
        number = None
    if number is None or not 0 <= number < _SEEDS:
        raise ValueError(f"`{name}` must be an integer, 0 or larger and below 2**64. Received: {name}={seed!r}.")
    return number


def _digest(seed: int, what: tuple[str | int, ...]) -> bytes:
    check_seed(seed)
    parts = [part if isinstance(part, str) else int(np.uint64(operator.index(part))) for part in (seed, *what)]
    return hashlib.sha256(repr(parts).encode()).digest()


def stream(seed: int, *what: str | int) -> np.random.RandomState:
    """Opens the random stream of `(seed, *what)`.

    NumPy freezes the bit stream of `Philox` and the distributions of `RandomState`, so the numbers survive upgrades;
    those of `numpy.random.Generator` may not.

    Args:
        seed: Integer, the user's seed; 0 or larger and below 2**64.
        *what: Strings and integers (0 or larger) naming the use, for example `"order", epoch`.

    Returns:
        A `numpy.random.RandomState` at its start.

    Raises:
        ValueError: If the seed is none.
        OverflowError: If another integer is negative or has more than 64 bits.
        TypeError: If something else is neither a string nor an integer.
    """
    key = np.frombuffer(_digest(seed, what)[:16], "<u8")
    return np.random.RandomState(np.random.Philox(key=key))


def key_words(seed: int, *what: str | int) -> tuple[int, int]:
    """Returns two signed 32-bit integers that key an on-device generator for `(seed, *what)`."""
    first, second = np.frombuffer(_digest(seed, what)[16:24], "<i4")
    return int(first), int(second)
