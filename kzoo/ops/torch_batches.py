"""Batches of arrays on PyTorch, in their order, without a `DataLoader`.

For each batch of `predict` and `evaluate` Keras gathers images by a list of indices, in a loader of PyTorch's. To copy
a slice takes a quarter of that.
"""

import contextlib
import functools
import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from keras import ops, tree
from keras.src.trainers.data_adapters.array_slicing import convert_to_sliceable

Tensor = Any


class ArrayBatches(NamedTuple):
    """The batches of nested arrays, copies: what a layer writes into its inputs leaves the user's arrays alone."""

    arrays: Any
    samples: int
    batch_size: int

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


def install() -> None:
    """Lets Keras take batches of arrays so from now on. Where its name for that is not found it is left as it is."""
    with contextlib.suppress(ImportError, AttributeError):
        adapter = importlib.import_module("keras.src.trainers.data_adapters.array_data_adapter").ArrayDataAdapter
        if not hasattr(adapter.get_torch_dataloader, "__wrapped__"):
            adapter.get_torch_dataloader = _in_order(adapter.get_torch_dataloader)


def _in_order(make: Any) -> Any:
    @functools.wraps(make)
    def get_torch_dataloader(self: Any) -> Any:
        if self._shuffle is not False:
            return make(self)
        sliceables = convert_to_sliceable(self._inputs, target_backend="torch")
        arrays = tree.map_structure(lambda sliceable: sliceable.array, sliceables, none_is_leaf=False)
        if not all(array is None or _is_dense(array) for array in tree.flatten(arrays)):
            return make(self)
        return ArrayBatches(arrays, self._num_samples, self._batch_size)

    return get_torch_dataloader
