"""Batch normalization with the constants of the papers."""

from typing import Any

import keras

from kzoo import ops
from kzoo.acceleration.quick import QuickLayer
from kzoo.arguments import number
from kzoo.layers.conv import are_images, channels_of


@keras.saving.register_keras_serializable(package="kzoo")
class BatchNorm(QuickLayer):
    """Normalizes each channel over the batch and space, then scales and shifts it.

    In training it uses the statistics of the batch and folds them into moving averages,
    `moving = momentum * moving + (1 - momentum) * batch`; otherwise it uses the moving averages. As in Keras, the
    moving variance is the biased one (PyTorch's is unbiased). Statistics are computed in float32 or better.

    Args:
        momentum: Float in [0, 1], what a moving average keeps at each step. Keras's own layer has 0.99, PyTorch writes
            the same as `momentum=0.1`. Defaults to `0.9`.
        epsilon: Float above 0, added to the variance. Defaults to `1e-5`.
        gamma_initializer: Initializer of the scale. Defaults to `"ones"`.

    Call arguments:
        inputs: Tensor of shape `(batch, height, width, channels)`.
        training: Boolean, whether to use the statistics of the batch. A layer with `trainable=False` never does.
        mask: Boolean tensor of shape `(batch, height, width)`, or one that can be repeated to it: the pixels that count
            for the statistics of the batch. All are normalized. Defaults to `None`, all of them.

    Returns:
        Tensor shaped as `inputs`.

    Raises:
        ValueError: If `momentum` or `epsilon` is out of range, or a mask has not one axis less than the inputs.

    Example:
        >>> tuple(kzoo.BatchNorm()(keras.ops.ones((2, 4, 4, 3)), training=True).shape)
        (2, 4, 4, 3)

    Reference:
        - [Ioffe & Szegedy, 2015](https://arxiv.org/abs/1502.03167), algorithms 1 and 2
    """

    makes_spare = True
    casts_weights = True  # none: they stay as they are

    def __init__(
        self, momentum: float = 0.9, epsilon: float = 1e-5, gamma_initializer: Any = "ones", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        momentum, epsilon = number(momentum, "momentum"), number(epsilon, "epsilon")
        if not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be between 0 and 1. Received: momentum={momentum}.")
        if epsilon <= 0:
            raise ValueError(f"`epsilon` must be above 0. Received: epsilon={epsilon}.")
        self.momentum = momentum
        self.epsilon = epsilon
        self.gamma_initializer = keras.initializers.get(gamma_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._channels = channels_of(input_shape)
        shape = (self._channels,)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer=self.gamma_initializer, autocast=False)
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros", autocast=False)
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=shape, initializer="zeros", trainable=False, autocast=False
        )
        self.moving_variance = self.add_weight(
            name="moving_variance", shape=shape, initializer="ones", trainable=False, autocast=False
        )

    def fits(self, inputs: Any) -> bool:
        return are_images(inputs, self._channels)

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        if mask is not None and len(mask.shape) != len(inputs.shape) - 1:
            raise ValueError(
                "`mask` must have one axis less than the inputs. "
                f"Received: mask of shape {tuple(mask.shape)}, inputs of shape {tuple(inputs.shape)}."
            )
        if training and self.trainable:
            y, mean, variance = self._normalized(inputs, mask)
            ops.update_average(self.moving_mean, mean, self.momentum)
            ops.update_average(self.moving_variance, variance, self.momentum)
        else:
            scale = self.gamma * keras.ops.rsqrt(self.moving_variance + self.epsilon)
            y = ops.scale_shift(inputs, scale, self.beta - self.moving_mean * scale)
        return keras.ops.cast(y, self.compute_dtype)

    def _normalized(self, x: Any, mask: Any) -> tuple[Any, Any, Any]:
        if mask is None:
            return ops.batch_norm(x, self.gamma, self.beta, self.epsilon)
        return ops.masked_batch_norm(x, mask, self.gamma, self.beta, self.epsilon)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}
        if not isinstance(self.gamma_initializer, keras.initializers.Ones):  # runs from before it may go on
            config["gamma_initializer"] = keras.initializers.serialize(self.gamma_initializer)
        return config
