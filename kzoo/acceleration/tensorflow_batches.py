"""Batches on TensorFlow: pipelines of arrays and of `keras.utils.PyDataset` that are not tuned.

tf.data tunes pipelines from a thread that sleeps 10 ms, 20 ms, 40 ms and so on, and TensorFlow 2.21 waits for its last
sleep where an iterator ends: epochs of 1.7 s took 2.6 s. Keras turns that off where it prefetches by itself
(`PyDataset(workers=2)`), and leaves it on for arrays and a `PyDataset` of one worker, with nothing in them to tune.
"""

import functools
import weakref
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from kzoo.acceleration.registry import Acceleration, find
from kzoo.environment import computes_on_cpu

_ADAPTERS = "keras.src.trainers.data_adapters"
_ARRAYS = f"{_ADAPTERS}.array_data_adapter:ArrayDataAdapter"
_CAN_CONVERT = f"{_ADAPTERS}.array_data_adapter:can_convert_arrays"
_DATASETS = f"{_ADAPTERS}.py_dataset_adapter:PyDatasetAdapter"
_SLICEABLE = f"{_ADAPTERS}.array_slicing:convert_to_sliceable"
SPLIT = f"{_ADAPTERS}.array_slicing:train_validation_split"


def _untuned(dataset: Any) -> Any:
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@functools.cache
def _array_adapter() -> Any:
    """Returns the class of Keras's pipelines of arrays, not tuned."""

    class UntunedArrays(find(_ARRAYS)):  # type: ignore[misc]
        def get_tf_dataset(self) -> Any:
            dataset = _slices(self)
            return _untuned(super().get_tf_dataset() if dataset is None else dataset)

    return UntunedArrays


@functools.cache
def _dataset_adapter() -> Any:
    """Returns the class of Keras's pipelines of a `PyDataset`, not tuned, with batches of known size."""

    class UntunedDataset(find(_DATASETS)):  # type: ignore[misc]
        def get_tf_dataset(self) -> Any:
            batches = self.py_dataset
            # Operations can be chosen for the size of a batch, if all have one.
            size = batches.fixed_batch_size if type(batches).__module__.startswith("kzoo.") else None
            if size and self.class_weight is None and not self._output_signature:
                self._output_signature: Any = tuple(tf.TensorSpec(array.shape, array.dtype) for array in batches[0])
            self._get_iterator = functools.partial(_iterator_of, weakref.ref(self))
            dataset = _untuned(super().get_tf_dataset())
            dataset.kzoo_adapter = self  # lives as long as somebody has the dataset
            return dataset

    return UntunedDataset


def _iterator_of(reference: "weakref.ref[Any]") -> Iterator[Any]:
    """Returns the batches of an adapter. TensorFlow never forgets a function that gave it data; an adapter it may."""
    adapter: Any = reference()
    batches: Iterator[Any] = type(adapter)._get_iterator(adapter)
    return batches


def _slices(adapter: Any) -> Any:
    """Returns the batches of arrays in their order, or `None` if it is another, or where not all are dense.

    Keras traces a graph of functions for it, also where nothing is shuffled: 60 ms for each `predict` of any length.
    """
    if adapter._shuffle is not False:
        return None
    inputs = tree.lists_to_tuples(find(_SLICEABLE)(adapter._inputs, target_backend="tensorflow"))
    if not all(isinstance(array, np.ndarray | tf.Tensor) for array in tree.flatten(inputs)):
        return None
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    batches = tf.data.Dataset.from_tensor_slices(inputs).batch(adapter._batch_size).with_options(options)
    # A batch takes 0.1 ms. On CPUs a thread that prepares it meanwhile keeps a core from the network for longer.
    return batches if computes_on_cpu() else batches.prefetch(2)


def pipeline(x: Any, y: Any, sample_weight: Any, *, shuffle: Any, class_weight: Any, **options: Any) -> Any:
    """Returns a pipeline of arrays or of a finite `PyDataset` that is not tuned, or `None` for other data."""
    size = options["batch_size"]
    if isinstance(x, keras.utils.PyDataset):
        suits = y is None and sample_weight is None and x.num_batches is not None
        return _dataset_adapter()(x, class_weight=class_weight, shuffle=shuffle) if suits else None
    if size is not None and (type(size) is not int or size < 1):
        return None
    if find(_CAN_CONVERT)((x, y, sample_weight)):
        return _array_adapter()(x, y, sample_weight, shuffle=shuffle, class_weight=class_weight, **options)
    return None


def _check() -> bool:
    array = np.arange(6).reshape(3, 2)
    own = _array_adapter()(array, batch_size=2, shuffle=False)
    batches = list(own.get_tf_dataset().as_numpy_iterator())
    return np.array_equal(np.concatenate(batches), array) and [len(batch) for batch in batches] == [2, 1]


ACCELERATION = Acceleration(
    "pipelines are not tuned",
    does="arrays and `kzoo.Batches` come through tf.data pipelines that nothing tunes, and that trace no functions",
    brings="up to half the time of an epoch of a few seconds, and 60 ms for each `predict`",
    versions={"keras": ">=3.15,<3.16", "tensorflow": ">=2.21,<2.22"},
    needs=(_ARRAYS, _CAN_CONVERT, _DATASETS, _SLICEABLE, SPLIT),
    check=_check,
)
