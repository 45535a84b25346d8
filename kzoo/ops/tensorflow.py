"""Fast forms on TensorFlow.

Measured on CPUs with oneDNN: a separate padding costs a pass over memory that `SAME` saves at stride 1, and explicit
padding (`padding=[[0, 0], [1, 1], ...]`) makes the gradients several times slower, since oneDNN does not take them. For
a few small images the calls of oneDNN take longest; they go other ways, if their number is known as a graph is made.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kzoo.acceleration.tensorflow_gradients import custom_gradient
from kzoo.environment import computes_on_cpu
from kzoo.ops import generic
from kzoo.ops.tensorflow_norm import batch_norm as batch_norm
from kzoo.ops.tensorflow_norm import is_small

Tensor = Any


def conv2d(x: Tensor, kernel: Tensor, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    """Does what `kzoo.ops.generic.conv2d` does, with the bias where graph optimizers look for it."""
    x, kernel = (tf.convert_to_tensor(ops.convert_to_tensor(tensor)) for tensor in (x, kernel))
    x = generic.as_floats(x, kernel)
    if x.shape.rank != 4:  # TensorFlow ends the process where it expects images
        return generic.conv2d(x, kernel, stride, bias)
    pad = kernel.shape[0] // 2
    small = is_small(x) and computes_on_cpu()
    if small and stride > 1:
        y = tf.nn.conv2d(x, kernel, stride, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    elif small and pad < 2 and bias is None:
        y = _small_conv2d(x, kernel)
    elif stride == 1:
        y = tf.nn.conv2d(x, kernel, 1, "SAME")  # which pads an odd kernel as much on every side
    else:
        y = generic.conv2d(x, kernel, stride)
    return y if bias is None else tf.nn.bias_add(y, ops.convert_to_tensor(bias))


def _small_slopes(
    tensors: Sequence[Tensor], results: Sequence[Tensor], slopes: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of a convolution at stride 1; that of the kernel is a matrix product for each place."""
    (x, kernel), (slope,) = tensors, slopes
    height, width, channels, filters = kernel.shape
    by_x = tf.nn.conv2d_transpose(slope, kernel, tf.shape(x), 1, "SAME")
    padded = tf.pad(x, [[0, 0], [height // 2] * 2, [width // 2] * 2, [0, 0]])
    by_output = tf.reshape(slope, [-1, filters])
    by_place = [
        tf.matmul(tf.reshape(padded[:, i : i + x.shape[1], j : j + x.shape[2]], [-1, channels]), by_output, True)
        for i in range(height)
        for j in range(width)
    ]
    return by_x, tf.reshape(tf.stack(by_place), kernel.shape)


_small_conv2d = custom_gradient(lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "SAME"), _small_slopes)


def subsample(x: Tensor, stride: int) -> Tensor:
    """Does what `kzoo.ops.generic.subsample` does, as averages of one pixel each, which may lose the sign of a zero.

    TensorFlow copies strided slices value by value: 8 ms of a ResNet-20's step, 6 of a folded batch's 60 ms.
    """
    x = tf.convert_to_tensor(ops.convert_to_tensor(x))
    if stride == 1 or not x.dtype.is_floating or not computes_on_cpu():
        return generic.subsample(x, stride)
    return tf.nn.avg_pool2d(x, 1, stride, "VALID")


def normalize(x: Tensor, largest: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Does what `kzoo.ops.generic.normalize` does, a row at a time: three channels are few for CPUs to loop over."""
    x, *statistics = (tf.convert_to_tensor(ops.convert_to_tensor(tensor)) for tensor in (x, largest, mean, std))
    sizes = x.shape[1:]
    if not computes_on_cpu() or len(x.shape) < 3 or not sizes.is_fully_defined():
        return generic.normalize(x, *statistics)
    width, channels = sizes[-2:]
    rows = tf.reshape(x, [-1, width * channels])
    return tf.reshape(generic.normalize(rows, *(tf.tile(values, [width]) for values in statistics)), [-1, *sizes])


def sgd_step(
    weights: Sequence[Any],
    velocities: Sequence[Any] | None,
    gradients: Sequence[Tensor],
    rate: Tensor,
    *,
    momentum: float,
    nesterov: bool,
    decay: Sequence[float],
    factors: Sequence[float],
) -> bool:
    """Does what `kzoo.ops.generic.sgd_step` says, by one operation a weight.

    Not for weights in several places, nor for gradients of a few rows of a weight.
    """
    if tf.distribute.has_strategy() or any(isinstance(gradient, tf.IndexedSlices) for gradient in gradients):
        return False
    for i, (weight, gradient, amount, factor) in enumerate(zip(weights, gradients, decay, factors, strict=True)):
        value = weight.value if isinstance(weight, keras.Variable) else weight
        slope, own_rate = tf.cast(gradient, value.dtype), tf.cast(rate, value.dtype) * factor
        slope = slope + amount * value if amount else slope
        if velocities is None:
            tf.raw_ops.ResourceApplyGradientDescent(var=value.handle, alpha=own_rate, delta=slope)
        else:
            tf.raw_ops.ResourceApplyMomentum(
                var=value.handle,
                accum=velocities[i].value.handle,
                lr=own_rate,
                grad=slope,
                momentum=tf.constant(momentum, value.dtype),
                use_nesterov=nesterov,
            )
    return True


def move_averages(averages: Sequence[Any], values: Sequence[Tensor], weight: float) -> None:
    """Does what `kzoo.ops.generic.move_averages` does, as one graph."""
    _moved([average.value for average in averages], list(values), tf.constant(weight, tf.float64))


@tf.function
def _moved(averages: list[Any], values: list[Tensor], weight: Tensor) -> None:
    for average, value in zip(averages, values, strict=True):
        average.assign_add((value - average) * tf.cast(weight, average.dtype))


def look_up(table: Any, index: Tensor, kept: dict[Any, Any]) -> Tensor:
    """Does what `kzoo.ops.generic.look_up` does; step by step it reads the index, and converts one number."""
    if tf.executing_eagerly():
        return tf.constant(table[int(index)], keras.config.floatx())
    return generic.look_up(table, index, kept)
