"""Operations whose best form depends on the backend; layers call these and never ask which backend runs.

Images are `(batch, height, width, channels)` always, whatever `keras.config.image_data_format()` says.

Every operation is defined in `kzoo.ops.generic`. The module named after the backend has a faster form of those that
stand in the table below, unless `KZOO_ACCELERATION=off` is set in the environment.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import keras

from kzoo import shards
from kzoo.acceleration.registry import SWITCHED_ON
from kzoo.ops import generic, sharded
from kzoo.ops.differentiate import gradients
from kzoo.ops.generic import dropout_key
from kzoo.ops.settings import deterministic, precision, set_precision

__all__ = [
    "batch_norm",
    "computed_once",
    "conv2d",
    "conv2d_relu",
    "deterministic",
    "dropout_key",
    "dropout_mask",
    "gradients",
    "look_up",
    "masked_batch_norm",
    "move_averages",
    "normalize",
    "pad_channels",
    "precision",
    "scale_shift",
    "set_precision",
    "sgd_step",
    "subsample",
    "update_average",
]

FASTER_FORMS = {
    "tensorflow": {"batch_norm", "conv2d", "look_up", "move_averages", "normalize", "sgd_step", "subsample"},
    "jax": {"computed_once", "conv2d", "conv2d_relu", "look_up", "move_averages", "subsample"},
    "torch": {
        "batch_norm",
        "conv2d",
        "conv2d_relu",
        "look_up",
        "move_averages",
        "normalize",
        "pad_channels",
        "scale_shift",
        "sgd_step",
        "update_average",
    },
}
# What makes an operation round as it is defined, on with and without acceleration. JAX would multiply by a reciprocal;
# TensorFlow adds up all of a channel in one go, which loses four digits on images with an even background.
EXACT_FORMS = {"tensorflow": {"batch_norm"}, "jax": {"divide"}, "torch": set[str]()}

_backend = keras.config.backend()
_of_backend = importlib.import_module(f"kzoo.ops.{_backend}")
_chosen = EXACT_FORMS[_backend] | (FASTER_FORMS[_backend] if SWITCHED_ON else set())


def _form(name: str, **parts: Any) -> Callable[..., Any]:
    """Returns the backend's form of an operation if the tables have one, else its definition, with the parts given."""
    if name in _chosen:
        own: Callable[..., Any] = getattr(_of_backend, name)
        return own
    definition: Callable[..., Any] = getattr(generic, name)
    return functools.partial(definition, **parts) if parts else definition


conv2d = _form("conv2d")
conv2d_relu = _form("conv2d_relu", convolve=conv2d)
computed_once = _form("computed_once")
_batch_norm_alone = _form("batch_norm")
_batch_norm_of_parts: Callable[..., Any] = getattr(_of_backend, "batch_norm_of_parts", sharded.batch_norm)
scale_shift = _form("scale_shift")
normalize = _form("normalize", divide=_form("divide"))
subsample = _form("subsample")
pad_channels = _form("pad_channels")
update_average = _form("update_average")
sgd_step = _form("sgd_step")
move_averages = _form("move_averages")
look_up = _form("look_up")


def batch_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Does what `kzoo.ops.generic.batch_norm` does; of a part of a batch by the statistics of all of it."""
    if (part := shards.current()) is None:
        return _batch_norm_alone(x, gamma, beta, epsilon)
    return _batch_norm_of_parts(x, gamma, beta, epsilon, part)


def masked_batch_norm(x: Any, mask: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Does what `kzoo.ops.generic.masked_batch_norm` does, as `batch_norm`."""
    if (part := shards.current()) is None:
        return generic.masked_batch_norm(x, mask, gamma, beta, epsilon)
    return sharded.batch_norm(x, gamma, beta, epsilon, part, mask)


def dropout_mask(key: Any, shape: Any, rate: float) -> Any:
    """Does what `kzoo.ops.generic.dropout_mask` does; of a part of a batch by the positions in all of it."""
    if (part := shards.current()) is None:
        return generic.dropout_mask(key, shape, rate)
    return sharded.dropout_mask(key, shape, rate, part)
