"""Fast paths on TensorFlow.

Measured on CPUs with oneDNN: a separate padding costs a pass over memory that `SAME` saves at stride 1, and explicit
padding (`padding=[[0, 0], [1, 1], ...]`) makes the gradients several times slower, since oneDNN does not take them.
"""

import contextlib
import functools
import importlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops, tree
from keras.src.trainers.data_adapters.array_slicing import convert_to_sliceable

from kzoo.ops import generic
from kzoo.ops.settings import device_kind

Tensor = Any

# Keras has no public name for them. Where one is not found it is left as it is, and slow.
_ADAPTERS = (("array_data_adapter", "ArrayDataAdapter"), ("py_dataset_adapter", "PyDatasetAdapter"))


def conv2d(x: Tensor, kernel: Tensor, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    """Does what `kzoo.ops.generic.conv2d` does, with the bias where graph optimizers look for it."""
    x, kernel = ops.convert_to_tensor(x), ops.convert_to_tensor(kernel)
    # At stride 1 SAME pads an odd kernel as much on every side.
    y = tf.nn.conv2d(x, kernel, 1, "SAME") if stride == 1 else generic.conv2d(x, kernel, stride)
    return y if bias is None else tf.nn.bias_add(y, ops.convert_to_tensor(bias))


def subsample(x: Tensor, stride: int) -> Tensor:
    """Does what `kzoo.ops.generic.subsample` does, as averages of one pixel each, which may lose the sign of a zero.

    TensorFlow copies strided slices value by value: 8 ms of a ResNet-20's step, 6 of a folded batch's 60 ms.
    """
    x = tf.convert_to_tensor(ops.convert_to_tensor(x))
    if stride == 1 or not x.dtype.is_floating or device_kind() == "gpu":
        return generic.subsample(x, stride)
    return tf.nn.avg_pool2d(x, 1, stride, "VALID")


def normalize(x: Tensor, largest: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Does what `kzoo.ops.generic.normalize` does, a row at a time: three channels are few for CPUs to loop over."""
    x, *statistics = (tf.convert_to_tensor(ops.convert_to_tensor(tensor)) for tensor in (x, largest, mean, std))
    sizes = x.shape[1:]
    if device_kind() == "gpu" or len(x.shape) < 3 or not sizes.is_fully_defined():
        return generic.normalize(x, *statistics)
    width, channels = sizes[-2:]
    rows = tf.reshape(x, [-1, width * channels])
    return tf.reshape(generic.normalize(rows, *(tf.tile(values, [width]) for values in statistics)), [-1, *sizes])


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Does what `kzoo.ops.generic.batch_norm` does by the fused operation, which float32 alone has."""
    x, gamma, beta = (tf.convert_to_tensor(ops.convert_to_tensor(tensor)) for tensor in (x, gamma, beta))
    if x.dtype != tf.float32:
        return generic.batch_norm(x, gamma, beta, epsilon)
    return (_fused_batch_norm if device_kind() == "gpu" else _place_by_place_batch_norm)(x, gamma, beta, epsilon)


def _fused_batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    # The raw operation: `tf.compat.v1.nn.fused_batch_norm` raises an epsilon of 1e-5.
    y, mean, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, exponential_avg_factor=1.0
    )
    count = tf.cast(tf.size(x) // tf.shape(x)[-1], x.dtype)
    return y, mean, unbiased * (tf.maximum(count - 1, 1) / count)


def _place_by_place_batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over the batch for each pixel's place, then averages over space (Chan, Golub & LeVeque, 1979, equation 1.5).

    On CPUs the fused operation adds up all values of a channel one by one. Of images with an even background that
    loses four digits of float32.
    """
    image = x.shape[1:]
    size = image.num_elements() if image.is_fully_defined() else tf.reduce_prod(tf.shape(x)[1:])
    # Of the two variances that come back the one for the gradient is biased on CPUs, as all are here.
    _, _, _, means, variances, _ = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(x, [-1, 1, 1, size]), scale=tf.ones([size]), offset=tf.zeros([size]), mean=[], variance=[]
    )
    means, variances = (tf.reshape(tensor, [-1, x.shape[-1]]) for tensor in (means, variances))
    mean = tf.stop_gradient(tf.reduce_mean(means, 0))
    variance = tf.stop_gradient(tf.reduce_mean(variances + tf.square(means - mean), 0))

    @tf.custom_gradient
    def normalize(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Any]:
        y, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False
        )

        def gradient(slope: Tensor) -> tuple[Tensor, ...]:
            statistics = {"reserve_space_1": mean, "reserve_space_2": variance, "reserve_space_3": []}
            slopes = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=slope, x=x, scale=gamma, epsilon=epsilon, is_training=True, **statistics
            )
            return tuple(slopes[:3])

        return y, gradient

    return normalize(x, gamma, beta), mean, variance


def sgd_step(
    weights: Sequence[Any],
    velocities: Sequence[Any],
    gradients: Sequence[Tensor],
    rate: Tensor,
    *,
    momentum: float,
    nesterov: bool,
    decay: Sequence[float],
) -> bool:
    """Does what `kzoo.ops.generic.sgd_step` says, by one operation a weight.

    Not for weights in several places, nor for gradients of a few rows of a weight.
    """
    if tf.distribute.has_strategy() or any(isinstance(gradient, tf.IndexedSlices) for gradient in gradients):
        return False
    for weight, velocity, gradient, amount in zip(weights, velocities, gradients, decay, strict=True):
        value = weight.value if isinstance(weight, keras.Variable) else weight
        slope = tf.cast(gradient, value.dtype)
        tf.raw_ops.ResourceApplyMomentum(
            var=value.handle,
            accum=velocity.value.handle,
            lr=tf.cast(rate, value.dtype),
            grad=slope + amount * value if amount else slope,
            momentum=tf.constant(momentum, value.dtype),
            use_nesterov=nesterov,
        )
    return True


def _prepare_pipelines() -> None:
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
        dataset = _slices(self) if getattr(self, "_shuffle", True) is False else None
        return (make(self) if dataset is None else dataset).with_options(options)

    return get_tf_dataset


def _slices(adapter: Any) -> Any:
    """Returns the batches of arrays in their order, or `None` where there are others than dense ones.

    Keras traces a graph of functions for it, also where nothing is shuffled: 60 ms for each `predict` of any length.
    """
    inputs = tree.lists_to_tuples(convert_to_sliceable(adapter._inputs, target_backend="tensorflow"))
    if not all(isinstance(array, np.ndarray | tf.Tensor) for array in tree.flatten(inputs)):
        return None
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    batches = tf.data.Dataset.from_tensor_slices(inputs).batch(adapter._batch_size).with_options(options)
    # A batch takes 0.1 ms. On CPUs a thread that prepares it meanwhile keeps a core from the network for longer.
    return batches.prefetch(2) if device_kind() == "gpu" else batches


_prepare_pipelines()
