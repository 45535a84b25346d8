"""Room for calls within each other, for models of a thousand layers in a row."""

import contextlib
import sys
import threading
from collections.abc import Iterator

_DEEPEST = 100_000  # Keras takes some ten for each layer in a row


class _Recursion:
    """How many threads are within `deep_recursion`, and the limit that they found."""

    lock = threading.Lock()
    threads = 0
    limit = 0


@contextlib.contextmanager
def deep_recursion() -> Iterator[None]:
    """Allows many calls within each other: Keras finds the order of a model's layers by recursion when it is built.

    The limit is the whole process's. The last thread to leave gives back what the first one found.
    """
    with _Recursion.lock:
        if not _Recursion.threads:
            _Recursion.limit = sys.getrecursionlimit()
            sys.setrecursionlimit(max(_Recursion.limit, _DEEPEST))
        _Recursion.threads += 1
    try:
        yield
    finally:
        with _Recursion.lock:
            _Recursion.threads -= 1
            if not _Recursion.threads:
                sys.setrecursionlimit(_Recursion.limit)
