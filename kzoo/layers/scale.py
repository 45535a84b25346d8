"""What is left of a batch normalization that no convolution precedes."""

from typing import Any

import keras

from kzoo import ops
from kzoo.acceleration.quick import QuickLayer


@keras.saving.register_keras_serializable(package="kzoo")
class ScaleShift(QuickLayer):
    """Multiplies each channel by a weight and adds another, `x * scale + shift`.

    Call arguments:
        inputs: Tensor of shape `(..., channels)`, float or integer.

    Returns:
        Tensor shaped as `inputs`.

    Raises:
        ValueError: If the number of channels is unknown.

    Example:
        >>> tuple(kzoo.ScaleShift()(keras.ops.ones((1, 4, 4, 3))).shape)
        (1, 4, 4, 3)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if input_shape[-1] is None:
            raise ValueError(f"Inputs must have known channels. Received: input_shape={tuple(input_shape)}.")
        self._channels = input_shape[-1]
        shape = (self._channels,)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")
        self.shift = self.add_weight(name="shift", shape=shape, initializer="zeros")

    def fits(self, inputs: Any) -> bool:
        return not isinstance(inputs, list) and inputs.ndim > 0 and inputs.shape[-1] == self._channels

    def call(self, inputs: Any) -> Any:
        return ops.scale_shift(inputs, self.scale, self.shift)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config()
