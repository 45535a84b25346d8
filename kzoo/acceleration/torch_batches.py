"""Batches of arrays on PyTorch, in their order, without a `DataLoader`.

For each batch of `predict`, `evaluate` and `fit(shuffle=False)` Keras gathers images by a list of indices, in a loader
of PyTorch's. To copy a slice takes a quarter of that.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from keras import ops, tree

from kzoo.acceleration.arrays import SPLIT
from kzoo.acceleration.registry import Acceleration, find

Tensor = Any

_ADAPTER = "keras.src.trainers.data_adapters.array_data_adapter:ArrayDataAdapter"
_CAN_CONVERT = "keras.src.trainers.data_adapters.array_data_adapter:can_convert_arrays"
_SLICEABLE = "keras.src.trainers.data_adapters.array_slicing:convert_to_sliceable"


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayBatches:
    """The batches of nested arrays, copies: what a layer writes into its inputs leaves the user's arrays alone."""

    arrays: Any
    samples: int
    batch_size: int

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        torch.empty((), dtype=torch.int64).random_()  # as each loader does, so that later shuffles stay the same
        return self._batches()

    def _batches(self) -> Iterator[Any]:
        for start in range(0, self.samples, self.batch_size):
            take = functools.partial(_take, start=start, stop=min(start + self.batch_size, self.samples))
            yield tree.map_structure(take, self.arrays, none_is_leaf=False)


def _is_dense(array: Any) -> bool:
    return isinstance(array, np.ndarray) or (isinstance(array, torch.Tensor) and array.layout is torch.strided)


def _take(array: Any, start: int, stop: int) -> Tensor:
    part = array[start:stop]
    if not (part.is_contiguous() if isinstance(part, torch.Tensor) else part.flags.c_contiguous):
        return ops.convert_to_tensor(array[list(range(start, stop))])  # lays them out as Keras does
    return ops.convert_to_tensor(part.clone() if isinstance(part, torch.Tensor) else part.copy())


@functools.cache
def _adapter() -> Any:
    """Returns the class of Keras's pipelines of arrays, with another way to take batches in order."""

    class InOrder(find(_ADAPTER)):  # type: ignore[misc]
        def get_torch_dataloader(self) -> Any:
            sliceables = find(_SLICEABLE)(self._inputs, target_backend="torch")
            arrays = tree.map_structure(lambda sliceable: sliceable.array, sliceables, none_is_leaf=False)
            if not all(array is None or _is_dense(array) for array in tree.flatten(arrays)):
                return super().get_torch_dataloader()
            return ArrayBatches(arrays, self._num_samples, self._batch_size)

    return InOrder


def pipeline(x: Any, y: Any, sample_weight: Any, *, shuffle: Any, **options: Any) -> Any:
    """Returns a pipeline of arrays in their order, or `None` for other data, and where they are shuffled."""
    size = options["batch_size"]
    suits = shuffle is False and (size is None or (type(size) is int and size > 0))
    if not suits or not find(_CAN_CONVERT)((x, y, sample_weight)):
        return None
    return _adapter()(x, y, sample_weight, shuffle=False, **options)


def _check() -> bool:
    array = np.arange(6).reshape(3, 2)
    batches = _adapter()(array, array, batch_size=2, shuffle=False).get_torch_dataloader()
    # Past `__iter__`, which draws a random number of the user's.
    served = [tensor for batch in batches._batches() for tensor in tree.flatten(batch)]
    expected = [torch.from_numpy(array[start : start + 2]) for start in (0, 0, 2, 2)]
    return all(torch.equal(a.cpu(), b) for a, b in zip(served, expected, strict=True))


ACCELERATION = Acceleration(
    "batches are slices",
    does="arrays are cut into batches by copying slices, instead of gathering by indices in a DataLoader",
    brings="1 to 2 % of a batch in inference on CPUs",
    versions={"keras": ">=3.15,<3.16", "torch": ">=2.10,<2.15"},
    needs=(_ADAPTER, _CAN_CONVERT, _SLICEABLE, SPLIT),
    check=_check,
)
