"""Parts of batches, where several processes share the reading."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kzoo.shards import rows_of_each


class OwnWorkers(NamedTuple):
    """The workers of this process: the first, the one after its last, and how many there are of all processes."""

    first: int
    last: int
    of: int


def read_part(split: Any, chosen: npt.NDArray[np.intp], own: OwnWorkers | None) -> npt.NDArray[np.uint8]:
    """Reads those images of a batch that the workers of this process compute; the others stay black.

    Args:
        split: The `Split`.
        chosen: Positions in the split of all images of the batch.
        own: The `OwnWorkers`, or `None` for all images.

    Returns:
        uint8 array of shape `(batch, height, width, channels)`.
    """
    if own is None:
        whole: npt.NDArray[np.uint8] = split.read(chosen)
        return whole
    rows = rows_of_each(len(chosen), own.of)
    images = np.zeros((len(chosen), *split.image_shape), np.uint8)
    mine = slice(own.first * rows, own.last * rows)
    if len(chosen[mine]):
        images[mine] = split.read(chosen[mine])
    return images
