"""Operations whose best form depends on the backend; layers call these and never ask which backend runs.

Images are `(batch, height, width, channels)` always, whatever `keras.config.image_data_format()` says.
"""

from kzoo.ops.differentiate import gradients
from kzoo.ops.generic import batch_norm, conv2d, dropout_key, dropout_mask
from kzoo.ops.settings import deterministic, device_kind, device_of, set_precision

__all__ = [
    "batch_norm",
    "conv2d",
    "deterministic",
    "device_kind",
    "device_of",
    "dropout_key",
    "dropout_mask",
    "gradients",
    "set_precision",
]
