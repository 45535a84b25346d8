"""Fast paths on TensorFlow.

Measured on CPUs with oneDNN: a separate padding costs a pass over memory that `SAME` saves at stride 1, and explicit
padding (`padding=[[0, 0], [1, 1], ...]`) makes the gradients several times slower, since oneDNN does not take them.
"""

from typing import Any

import tensorflow as tf
from keras import ops

from kzoo.ops import generic

Tensor = Any


def conv2d(x: Tensor, kernel: Tensor, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    """Does what `kzoo.ops.generic.conv2d` does, with the bias where graph optimizers look for it."""
    x, kernel = ops.convert_to_tensor(x), ops.convert_to_tensor(kernel)
    # At stride 1 SAME pads an odd kernel as much on every side.
    y = tf.nn.conv2d(x, kernel, 1, "SAME") if stride == 1 else generic.conv2d(x, kernel, stride)
    return y if bias is None else tf.nn.bias_add(y, ops.convert_to_tensor(bias))


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Does what `kzoo.ops.generic.batch_norm` does in one operation, which float32 alone has."""
    x, gamma, beta = (ops.convert_to_tensor(tensor) for tensor in (x, gamma, beta))
    if x.dtype != tf.float32:
        return generic.batch_norm(x, gamma, beta, epsilon)
    # The raw operation: `tf.compat.v1.nn.fused_batch_norm` raises an epsilon of 1e-5.
    y, mean, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, exponential_avg_factor=1.0
    )
    count = tf.cast(tf.size(x) // tf.shape(x)[-1], x.dtype)
    return y, mean, unbiased * (tf.maximum(count - 1, 1) / count)
