"""The parameter-free shortcut of the CIFAR ResNets."""

from typing import Any

import keras

from kzoo import ops
from kzoo.acceleration.quick import QuickLayer
from kzoo.arguments import integer
from kzoo.layers.conv import are_images, channels_of, strided


@keras.saving.register_keras_serializable(package="kzoo")
class ZeroPadShortcut(QuickLayer):
    """Subsamples space and zero-pads channels, without parameters.

    The new channels are split between both ends, the odd one last.

    Args:
        filters: Integer, output channels; at least the input's.
        stride: Integer, spatial step in pixels. Defaults to `2`.

    Call arguments:
        inputs: Tensor of shape `(batch, height, width, channels)`.

    Returns:
        Tensor of shape `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: If `filters` is below the input's channels, or `stride` below 1.

    Example:
        >>> tuple(kzoo.ZeroPadShortcut(32)(keras.ops.ones((1, 8, 8, 16))).shape)
        (1, 4, 4, 32)

    Reference:
        - [He et al., 2015](https://arxiv.org/abs/1512.03385), section 3.3, option A
    """

    casts_weights = True  # there are none

    def __init__(self, filters: int, stride: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = integer(filters, "filters", least=1)
        self.stride = integer(stride, "stride", least=1)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._channels = channels_of(input_shape)
        extra = self.filters - self._channels
        if extra < 0:
            raise ValueError(
                f"`filters` must be at least the input's channels, {input_shape[-1]}. Received: filters={self.filters}."
            )
        self._padding = (extra // 2, extra - extra // 2)

    def fits(self, inputs: Any) -> bool:
        return are_images(inputs, self._channels)

    def call(self, inputs: Any) -> Any:
        return ops.pad_channels(ops.subsample(inputs, self.stride), *self._padding)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, _ = input_shape
        return (batch, strided(height, self.stride), strided(width, self.stride), self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "stride": self.stride}
