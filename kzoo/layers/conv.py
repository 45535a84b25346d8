"""Convolution with the padding of the papers."""

from typing import Any

import keras

from kzoo import ops
from kzoo.acceleration.quick import QuickLayer
from kzoo.arguments import boolean, integer


@keras.saving.register_keras_serializable(package="kzoo")
class Conv2D(QuickLayer):
    """Convolves with symmetric zero padding, `(kernel_size - 1) / 2` on every side.

    `keras.layers.Conv2D(padding="same")` pads `(0, 1)` at stride 2, which shifts every feature map by a pixel against
    the networks of the papers and any PyTorch checkpoint.

    Args:
        filters: Integer, output channels.
        kernel_size: Odd integer, side of the square kernel in pixels. Defaults to `3`.
        stride: Integer, step in both directions in pixels. Defaults to `1`.
        use_bias: Boolean, whether to add a bias per filter. Defaults to `False`.
        kernel_initializer: Initializer of the kernel. Defaults to `"he_normal"`.

    Call arguments:
        inputs: Tensor of shape `(batch, height, width, channels)`, float or integer.

    Returns:
        Tensor of shape `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: If `filters` or `stride` is below 1, or `kernel_size` is even.

    Example:
        >>> tuple(kzoo.Conv2D(32, stride=2)(keras.ops.ones((1, 9, 9, 16))).shape)
        (1, 5, 5, 32)

    Reference:
        - [He et al., 2015](https://arxiv.org/abs/1512.03385), section 3.4
    """

    makes_spare = True
    casts_weights = True

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        stride: int = 1,
        *,
        use_bias: bool = False,
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        filters, stride = integer(filters, "filters", least=1), integer(stride, "stride", least=1)
        kernel_size = integer(kernel_size, "kernel_size")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f"`kernel_size` must be odd, or it has no centre to pad around. Received: kernel_size={kernel_size}."
            )
        self.filters = filters
        self.kernel_size = kernel_size
        self.stride = stride
        self.use_bias = boolean(use_bias, "use_bias")
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._channels = channels = channels_of(input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, channels, self.filters),
            initializer=self.kernel_initializer,
        )
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros") if self.use_bias else None

    def fits(self, inputs: Any) -> bool:
        return are_images(inputs, self._channels)

    def call(self, inputs: Any) -> Any:
        return ops.conv2d(inputs, self.cast(self.kernel), self.stride, self.cast(self.bias))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, _ = input_shape
        return (batch, strided(height, self.stride), strided(width, self.stride), self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="kzoo")
class Conv2DReLU(Conv2D):
    """Convolves, adds a residual and rectifies in one operation; `kzoo.fold_batch_norm` makes it.

    Args:
        filters: Integer, output channels.
        kernel_size: Integer, 1 or 3. Defaults to `3`.
        stride: Integer, spatial step in pixels. Defaults to `1`.
        use_bias: Boolean. Defaults to `False`.
        kernel_initializer: Initializer of the kernel. Defaults to `"he_normal"`.

    Call arguments:
        inputs: Tensor of shape `(batch, height, width, channels)`, or a list of it and the residual, shaped as the
            result.

    Returns:
        Tensor of shape `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Example:
        >>> tuple(kzoo.Conv2DReLU(16, stride=2)(keras.ops.ones((1, 8, 8, 3))).shape)
        (1, 4, 4, 16)
    """

    makes_spare = False  # the gradient of a ReLU is read off its result

    def build(self, input_shape: Any) -> None:
        super().build(_first(input_shape))

    def fits(self, inputs: Any) -> bool:
        return super().fits(inputs[0] if isinstance(inputs, list) else inputs)

    def call(self, inputs: Any) -> Any:
        x, *residual = inputs if isinstance(inputs, list | tuple) else [inputs]
        return ops.conv2d_relu(x, self.cast(self.kernel), self.stride, self.cast(self.bias), *residual)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return super().compute_output_shape(_first(input_shape))


def _first(input_shape: Any) -> tuple[int | None, ...]:
    """Returns the shape of the images, if that of a residual comes with it."""
    return tuple(input_shape[0] if isinstance(input_shape[0], list | tuple) else input_shape)


def channels_of(input_shape: tuple[int | None, ...]) -> int:
    """Returns the channels of an image shape, or says what an image shape is."""
    if len(input_shape) != 4 or input_shape[-1] is None:
        raise ValueError(
            "Inputs must have shape (batch, height, width, channels) with known channels. "
            f"Received: input_shape={tuple(input_shape)}."
        )
    return input_shape[-1]


def are_images(inputs: Any, channels: int) -> bool:
    """Returns whether a layer's inputs are one tensor of shape `(batch, height, width, channels)`."""
    return not isinstance(inputs, list) and inputs.ndim == 4 and inputs.shape[-1] == channels


def strided(size: int | None, stride: int) -> int | None:
    """Returns how many pixels a stride leaves of `size`, none if unknown."""
    return None if size is None else -(-size // stride)
