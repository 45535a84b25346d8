"""Batches on TensorFlow: the pipelines that Keras makes of arrays and of `kzoo.Batches`."""

import contextlib
import functools
import importlib
from typing import Any

import numpy as np
import tensorflow as tf
from keras import tree
from keras.src.trainers.data_adapters.array_slicing import convert_to_sliceable

from kzoo.ops.settings import device_kind

# Keras has no public name for them. Where one is not found it is left as it is, and slow.
_ADAPTERS = (("array_data_adapter", "ArrayDataAdapter"), ("py_dataset_adapter", "PyDatasetAdapter"))


def install() -> None:
    """Lets Keras make its own pipelines without tuning, from now on; datasets that a user makes stay as they are.

    tf.data tunes pipelines from a thread that sleeps 10 ms, 20 ms, 40 ms and so on, and TensorFlow 2.21 waits for its
    last sleep where an iterator ends: epochs of 1.7 s took 2.6 s. Keras turns that off where it prefetches by itself
    (`PyDataset(workers=2)`), and leaves it on for arrays and a `PyDataset` of one worker, with nothing in them to tune.
    """
    for module, name in _ADAPTERS:
        with contextlib.suppress(ImportError, AttributeError):
            adapter = getattr(importlib.import_module(f"keras.src.trainers.data_adapters.{module}"), name)
            if not hasattr(adapter.get_tf_dataset, "__wrapped__"):
                adapter.get_tf_dataset = _prepared(adapter.get_tf_dataset)


def _prepared(make: Any) -> Any:
    @functools.wraps(make)
    def get_tf_dataset(self: Any) -> Any:
        options = tf.data.Options()
        options.autotune.enabled = False
        if hasattr(self, "py_dataset"):
            _tell_size(self)
            return make(self).with_options(options)
        dataset = _slices(self)
        return (make(self) if dataset is None else dataset).with_options(options)

    return get_tf_dataset


def _slices(adapter: Any) -> Any:
    """Returns the batches of arrays in their order, or `None` if it is another, or where not all are dense.

    Keras traces a graph of functions for it, also where nothing is shuffled: 60 ms for each `predict` of any length.
    """
    if adapter._shuffle is not False:
        return None
    inputs = tree.lists_to_tuples(convert_to_sliceable(adapter._inputs, target_backend="tensorflow"))
    if not all(isinstance(array, np.ndarray | tf.Tensor) for array in tree.flatten(inputs)):
        return None
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    batches = tf.data.Dataset.from_tensor_slices(inputs).batch(adapter._batch_size).with_options(options)
    # A batch takes 0.1 ms. On CPUs a thread that prepares it meanwhile keeps a core from the network for longer.
    return batches.prefetch(2) if device_kind() == "gpu" else batches


def _tell_size(adapter: Any) -> None:
    """Lets batches that have one size come with it: operations can be chosen for that size then."""
    batches = adapter.py_dataset
    if getattr(batches, "fixed_batch_size", None) and adapter.class_weight is None and not adapter._output_signature:
        adapter._output_signature = tuple(tf.TensorSpec(array.shape, array.dtype) for array in batches[0])
