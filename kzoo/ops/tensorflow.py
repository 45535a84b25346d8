"""Fast paths on TensorFlow.

Measured on CPUs with oneDNN: a separate padding costs a pass over memory that `SAME` saves at stride 1, and explicit
padding (`padding=[[0, 0], [1, 1], ...]`) makes the gradients several times slower, since oneDNN does not take them. For
a few small images the calls of oneDNN take longest; they go other ways, if their number is known as a graph is made.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kzoo.ops import generic, tensorflow_batches
from kzoo.ops.settings import device_kind

Tensor = Any

_SMALL = 2**16  # elements of a tensor, up to which the passes over it take less than calling oneDNN


def _is_small(x: Tensor) -> bool:
    return x.shape.is_fully_defined() and 0 < x.shape.num_elements() <= _SMALL


def conv2d(x: Tensor, kernel: Tensor, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    """Does what `kzoo.ops.generic.conv2d` does, with the bias where graph optimizers look for it."""
    x, kernel = (tf.convert_to_tensor(ops.convert_to_tensor(tensor)) for tensor in (x, kernel))
    pad = kernel.shape[0] // 2
    is_small = _is_small(x) and device_kind() == "cpu"
    if is_small and stride > 1:
        y = tf.nn.conv2d(x, kernel, stride, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    elif is_small and pad < 2 and bias is None:
        y = _small_conv2d(x, kernel)
    elif stride == 1:
        y = tf.nn.conv2d(x, kernel, 1, "SAME")  # which pads an odd kernel as much on every side
    else:
        y = generic.conv2d(x, kernel, stride)
    return y if bias is None else tf.nn.bias_add(y, ops.convert_to_tensor(bias))


@tf.custom_gradient
def _small_conv2d(x: Tensor, kernel: Tensor) -> tuple[Tensor, Any]:
    """Convolves at stride 1; the kernel's gradient is a matrix product for each of its places."""
    height, width, channels, filters = kernel.shape

    def gradient(slope: Tensor) -> tuple[Tensor, Tensor]:
        by_x = tf.nn.conv2d_transpose(slope, kernel, tf.shape(x), 1, "SAME")
        padded = tf.pad(x, [[0, 0], [height // 2] * 2, [width // 2] * 2, [0, 0]])
        slopes = tf.reshape(slope, [-1, filters])
        by_place = [
            tf.matmul(tf.reshape(padded[:, i : i + x.shape[1], j : j + x.shape[2]], [-1, channels]), slopes, True)
            for i in range(height)
            for j in range(width)
        ]
        return by_x, tf.reshape(tf.stack(by_place), kernel.shape)

    return tf.nn.conv2d(x, kernel, 1, "SAME"), gradient


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
    if device_kind() == "gpu":
        return _fused_batch_norm(x, gamma, beta, epsilon)
    return (_plain_batch_norm if _is_small(x) else _place_by_place_batch_norm)(x, gamma, beta, epsilon)


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


def _plain_batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Goes element by element, and adds up column by column for precision, as above."""

    def statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = _mean(x)
        centred = x - mean
        return centred, mean, _mean(tf.square(centred))

    @tf.custom_gradient
    def normalize(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Any]:
        centred, mean, variance = statistics(x)

        def gradient(slope: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
            centred, _, variance = statistics(x)  # once more, for gradients of this; graphs compute them once
            inverse_std = tf.math.rsqrt(variance + epsilon)
            shift_slope, scale_slope = _mean(slope), _mean(slope * centred) * inverse_std
            by_x = gamma * inverse_std * (slope - shift_slope - centred * (scale_slope * inverse_std))
            count = x.shape.num_elements() // x.shape[-1]
            return by_x, scale_slope * count, shift_slope * count

        return (centred * (gamma * tf.math.rsqrt(variance + epsilon)) + beta, mean, variance), gradient

    y, mean, variance = normalize(x, gamma, beta)
    return y, tf.stop_gradient(mean), tf.stop_gradient(variance)


def _mean(x: Tensor) -> Tensor:
    return tf.reduce_mean(tf.reduce_mean(x, (0, 1)), 0)


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


tensorflow_batches.install()
