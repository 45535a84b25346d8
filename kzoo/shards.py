"""The part of a batch that one of several workers computes.

Several devices train as one where each takes a part of every batch, and what concerns the whole batch (statistics of
batch normalization, positions of dropout's masks, the mean of the loss) is computed as if there were no parts. A step
says which part it computes, and the operations that concern the whole batch ask for it here.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

Tensor = Any


@dataclasses.dataclass(frozen=True)
class Part:
    """The rows of a batch that a worker computes. All workers but the last ones have equally many.

    Args:
        first: Integer or scalar tensor, the position of its first row in the batch.
        rows: Integer or scalar tensor, how many rows it computes.
        total: Integer or scalar tensor, how many rows the batch has.
        workers: Integer, how many workers there are.
        all_sum: Returns the sum of a tensor over all workers; its gradient is the sum of theirs.
        kept: Boolean tensor of shape `(rows,)`, false for rows that only fill up the part: there are more places than
            rows. Defaults to `None`, no such row.
        all_gather: Returns a tensor of every worker, stacked in the order of the workers, or `None` where the backend
            has no need of it. Defaults to `None`.
        loss_is_divided_by: Integer, what Keras divides a loss by in the steps of workers: on TensorFlow their number.
            Defaults to `1`.
    """

    first: Any
    rows: Any
    total: Any
    workers: int
    all_sum: Callable[[Tensor], Tensor]
    kept: Tensor | None = None
    all_gather: Callable[[Tensor], Tensor] | None = None
    loss_is_divided_by: int = 1


_current: contextvars.ContextVar[Part | None] = contextvars.ContextVar("kzoo_part", default=None)


def current() -> Part | None:
    """Returns the part that is computed now in this thread, or `None`: the whole batch."""
    return _current.get()


@contextlib.contextmanager
def computing(part: Part) -> Iterator[None]:
    """Says meanwhile which part this thread computes."""
    token = _current.set(part)
    try:
        yield
    finally:
        _current.reset(token)


def rows_of_each(total: int, workers: int) -> int:
    """Returns how many rows of a batch each worker has, but for the last ones, which may have fewer."""
    return max(-(-total // workers), 1)
