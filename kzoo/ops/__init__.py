"""Operations whose best form depends on the backend; layers call these and never ask which backend runs.

Images are `(batch, height, width, channels)` always, whatever `keras.config.image_data_format()` says.

Every operation is defined in `kzoo.ops.generic`; the module named after the backend has a faster form of some.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import keras

from kzoo.ops import generic
from kzoo.ops.differentiate import gradients
from kzoo.ops.generic import dropout_key, dropout_mask
from kzoo.ops.settings import deterministic, device_kind, device_of, set_precision

__all__ = [
    "batch_norm",
    "conv2d",
    "conv2d_relu",
    "deterministic",
    "device_kind",
    "device_of",
    "dropout_key",
    "dropout_mask",
    "gradients",
    "is_prepared",
    "normalize",
    "pad_channels",
    "scale_shift",
    "set_precision",
    "sgd_step",
    "subsample",
    "update_average",
]

_fast = importlib.import_module(f"kzoo.ops.{keras.backend.backend()}")

conv2d: Callable[..., Any] = getattr(_fast, "conv2d", generic.conv2d)
conv2d_relu: Callable[..., Any] = getattr(_fast, "conv2d_relu", functools.partial(generic.conv2d_relu, convolve=conv2d))
batch_norm: Callable[..., Any] = getattr(_fast, "batch_norm", generic.batch_norm)
scale_shift: Callable[..., Any] = getattr(_fast, "scale_shift", generic.scale_shift)
normalize: Callable[..., Any] = getattr(
    _fast, "normalize", functools.partial(generic.normalize, divide=getattr(_fast, "divide", generic.divide))
)
subsample: Callable[..., Any] = getattr(_fast, "subsample", generic.subsample)
pad_channels: Callable[..., Any] = getattr(_fast, "pad_channels", generic.pad_channels)
update_average: Callable[..., None] = getattr(_fast, "update_average", generic.update_average)
sgd_step: Callable[..., bool] = getattr(_fast, "sgd_step", generic.sgd_step)

is_prepared: Callable[..., bool] = getattr(_fast, "is_prepared", generic.is_prepared)
