"""Gradients on whichever backend runs, for tests."""

from typing import NamedTuple

import keras
import numpy as np


def gradients(function, x):
    """Returns the gradient of the sum of `function(x)` with respect to `x`, as a NumPy array."""
    backend = keras.backend.backend()
    if backend == "torch":
        inputs = keras.ops.convert_to_tensor(x).requires_grad_()
        function(inputs).sum().backward()
        return keras.ops.convert_to_numpy(inputs.grad)
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(lambda inputs: function(inputs).sum())(x))
    import tensorflow as tf

    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(function(inputs))
    return tape.gradient(total, inputs).numpy()


class Differentiated(NamedTuple):
    """Outputs of a function, and the gradients of a sum over the first of them with respect to each argument."""

    outputs: list[np.ndarray]
    gradients: list[np.ndarray]


def weighted_gradients(function, arguments):
    """Differentiates a random combination of the elements of `function(*arguments)[0]`, compiled where users compile.

    Args:
        function: From tensors to a tuple of tensors.
        arguments: List of NumPy arrays.

    Returns:
        A `Differentiated` of NumPy arrays.
    """
    backend = keras.backend.backend()
    dtype = arguments[0].dtype

    def total(first):
        weights = np.random.RandomState(9).standard_normal(tuple(first.shape)).astype(dtype)
        return keras.ops.sum(first * keras.ops.convert_to_tensor(weights))

    if backend == "torch":
        import torch

        inputs = [keras.ops.convert_to_tensor(argument).requires_grad_() for argument in arguments]
        outputs = function(*inputs)
        slopes = torch.autograd.grad(total(outputs[0]), inputs)
    elif backend == "jax":
        import jax

        def value(*inputs):
            outputs = function(*inputs)
            return total(outputs[0]), outputs

        positions = tuple(range(len(arguments)))
        slopes, outputs = jax.jit(jax.grad(value, positions, has_aux=True))(*arguments)
    else:
        import tensorflow as tf

        @tf.function
        def differentiate(*inputs):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = function(*inputs)
                value = total(outputs[0])
            return outputs, tape.gradient(value, inputs)

        outputs, slopes = differentiate(*map(tf.constant, arguments))
    return Differentiated(*([keras.ops.convert_to_numpy(tensor) for tensor in part] for part in (outputs, slopes)))
