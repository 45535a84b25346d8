"""Batch normalization on TensorFlow, in the form that suits device and size."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from keras import ops

from kzoo.acceleration import names
from kzoo.acceleration.tensorflow_gradients import custom_gradient
from kzoo.environment import computes_on_cpu
from kzoo.ops import generic

Tensor = Any

_SMALL = 2**16  # elements of a tensor, up to which the passes over it take less than calling oneDNN


def is_small(x: Tensor) -> bool:
    """Returns whether a tensor is known to have so few elements that calling oneDNN takes longest."""
    return x.shape.is_fully_defined() and 0 < x.shape.num_elements() <= _SMALL


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Does what `kzoo.ops.generic.batch_norm` does by the fused operation, which float32 alone has."""
    x, gamma, beta = (tf.convert_to_tensor(ops.convert_to_tensor(tensor)) for tensor in (x, gamma, beta))
    x = tf.cast(x, gamma.dtype)
    if x.dtype != tf.float32 or x.shape.rank != 4:
        return generic.batch_norm(x, gamma, beta, epsilon)
    if not computes_on_cpu():
        return _fused_batch_norm(x, gamma, beta, epsilon)
    if is_small(x):
        return _plain_batch_norm(x, gamma, beta, epsilon)
    if names.tensorflow_differentiates_forward(x, gamma, beta):
        return generic.batch_norm(x, gamma, beta, epsilon)
    return _place_by_place_batch_norm(x, gamma, beta, epsilon)


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

    return _normalize(epsilon)(x, gamma, beta, mean, variance), mean, variance


@functools.cache
def _normalize(epsilon: float) -> Callable[..., Tensor]:
    """Returns the function that normalizes with given statistics, whose gradient is that of batch normalization."""

    def function(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        y, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False
        )
        return y

    def gradient(
        tensors: Sequence[Tensor], results: Sequence[Tensor], slopes: Sequence[Tensor]
    ) -> tuple[Tensor | None, ...]:
        x, gamma, _, mean, variance = tensors
        return (*slopes_of(*map(tf.identity, (slopes[0], x, gamma, mean, variance))), None, None)

    def first_slopes(slope: Tensor, x: Tensor, gamma: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        statistics = {"reserve_space_1": mean, "reserve_space_2": variance, "reserve_space_3": []}
        found = tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=slope, x=x, scale=gamma, epsilon=epsilon, is_training=True, **statistics
        )
        return tuple(found[:3])

    def second_slopes(
        tensors: Sequence[Tensor], results: Sequence[Tensor], slopes: Sequence[Tensor]
    ) -> tuple[Tensor | None, ...]:
        (slope, x, gamma, *_), (for_x, for_gamma, for_beta) = tensors, slopes
        return (*_second_gradient(for_x, for_gamma, for_beta, slope, x, gamma, epsilon), None, None)

    slopes_of = custom_gradient(first_slopes, second_slopes)
    return custom_gradient(function, gradient)


def _second_gradient(
    for_x: Tensor, for_gamma: Tensor, for_beta: Tensor, slope: Tensor, x: Tensor, gamma: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients for `slope`, `x` and `gamma` of a batch norm's gradients, given the slopes for these.

    TensorFlow's own get lost where forward derivatives are computed from them.
    """
    centred = x - _mean(x)
    inverse_std = tf.math.rsqrt(_mean(tf.square(centred)) + epsilon)
    normalized = centred * inverse_std

    def project(values: Tensor) -> Tensor:
        return values - _mean(values) - normalized * _mean(values * normalized)

    scale, count = gamma * inverse_std, tf.cast(tf.size(x) // tf.shape(x)[-1], x.dtype)
    covariance = _mean(for_x * project(slope))
    weights = (for_gamma - scale * _mean(for_x * normalized)) * slope - scale * _mean(slope * normalized) * for_x
    by_slope = scale * project(for_x) + for_gamma * normalized + for_beta
    by_x = inverse_std * (project(weights) - scale * covariance * normalized)
    return by_slope, by_x, inverse_std * covariance * count


def _plain_batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Goes element by element, and adds up column by column for precision, as above."""
    y, mean, variance = _plain(epsilon)(x, gamma, beta)
    return y, tf.stop_gradient(mean), tf.stop_gradient(variance)


@functools.cache
def _plain(epsilon: float) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    def function(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        centred, mean, variance = _statistics(x)
        return centred * (gamma * tf.math.rsqrt(variance + epsilon)) + beta, mean, variance

    def gradient(
        tensors: Sequence[Tensor], results: Sequence[Tensor], slopes: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        (x, gamma, _), slope = tensors, slopes[0]
        centred, _, variance = _statistics(x)  # once more, for gradients of this; graphs compute them once
        inverse_std = tf.math.rsqrt(variance + epsilon)
        shift_slope, scale_slope = _mean(slope), _mean(slope * centred) * inverse_std
        by_x = gamma * inverse_std * (slope - shift_slope - centred * (scale_slope * inverse_std))
        count = x.shape.num_elements() // x.shape[-1]
        return by_x, scale_slope * count, shift_slope * count

    return custom_gradient(function, gradient)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean = _mean(x)
    centred = x - mean
    return centred, mean, _mean(tf.square(centred))


def _mean(x: Tensor) -> Tensor:
    return tf.reduce_mean(tf.reduce_mean(x, (0, 1)), 0)
