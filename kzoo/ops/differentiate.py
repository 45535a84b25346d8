"""Gradients on whichever backend runs."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

Tensor = Any


def gradients(function: Callable[[], tuple[Tensor, Any]], variables: Sequence[Any]) -> tuple[list[Tensor], Any]:
    """Differentiates a function of Keras variables, and leaves every variable as it was.

    Args:
        function: Takes nothing and returns `(value, extra)`: a scalar tensor to differentiate, and tensors to return
            as they are. What it assigns to variables is dropped.
        variables: Keras variables that `value` depends on.

    Returns:
        `(gradients, extra)`, one gradient a variable, shaped as it.

    Example:
        >>> weight = keras.Variable(3.0)
        >>> gradients(lambda: (weight * weight, ()), [weight])[0]
        [6.0]
    """
    return _IMPLEMENTATIONS[keras.backend.backend()](function, list(variables))


def _tensorflow(function: Callable[[], tuple[Tensor, Any]], variables: list[Any]) -> tuple[list[Tensor], Any]:
    import tensorflow as tf

    with keras.StatelessScope(), tf.GradientTape() as tape:
        value, extra = function()
    return tape.gradient(value, [variable.value for variable in variables]), extra


def _jax(function: Callable[[], tuple[Tensor, Any]], variables: list[Any]) -> tuple[list[Tensor], Any]:
    import jax

    def of_values(values: list[Tensor]) -> tuple[Tensor, Any]:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function()

    return jax.jit(jax.grad(of_values, has_aux=True))([variable.value for variable in variables])


def _torch(function: Callable[[], tuple[Tensor, Any]], variables: list[Any]) -> tuple[list[Tensor], Any]:
    import torch

    with keras.StatelessScope():
        value, extra = function()
    return list(torch.autograd.grad(value, [variable.value for variable in variables])), extra


_IMPLEMENTATIONS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
