"""The rectifier."""

from typing import Any

import keras

from kzoo import ops
from kzoo.acceleration.quick import QuickLayer


@keras.saving.register_keras_serializable(package="kzoo")
class ReLU(QuickLayer, keras.layers.ReLU):
    """`keras.layers.ReLU`, called quickly: `max(x, 0)`, with the same arguments.

    Args:
        max_value: Float, what larger values become. Defaults to `None`, for no limit.
        negative_slope: Float, factor of values below the threshold. Defaults to `0.0`.
        threshold: Float, below which values are cut. Defaults to `0.0`.

    Example:
        >>> keras.ops.convert_to_numpy(kzoo.ReLU()(np.array([-1.0, 2.0]))).tolist()
        [0.0, 2.0]
    """

    casts_weights = True  # there are none

    def call(self, inputs: Any) -> Any:
        return ops.computed_once(super().call(inputs))

    @property
    def in_place(self) -> str | None:  # type: ignore[override]
        """What may write over the layer's input to compute it, or `None`."""
        return "relu" if self.max_value is None and self.negative_slope == self.threshold == 0 else None
