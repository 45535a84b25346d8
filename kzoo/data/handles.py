"""What is opened once a process."""

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Something that is opened when it is first needed, by each process for itself: after a fork, and when it is sent.

    Args:
        opener: Returns it. To be sent to another process it must be a function of a module, or a partial of one.
    """

    def __init__(self, opener: Callable[[], T]) -> None:
        self._opener = opener
        self._opened: dict[int, T] = {}

    def get(self) -> T:
        """Returns it, from any thread. Of two threads that open it at once one keeps what it opened."""
        process = os.getpid()
        if process not in self._opened:
            self._opened.setdefault(process, self._opener())
        return self._opened[process]

    def __reduce__(self) -> tuple[type, tuple[Callable[[], T]]]:
        return PerProcess, (self._opener,)
