"""Whether a layer on PyTorch may go to its `call` at once, and who watches its calls."""

from typing import Any

import keras
import numpy as np
import torch

from kzoo.acceleration.registry import Acceleration, find

Tensor = Any

_DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
_SCOPE = "keras.src.backend:get_autocast_scope"
_GLOBAL_HOOKS = "torch.nn.modules.module:_has_any_global_hook"
_get_autocast_scope, _has_any_global_hook = find(_SCOPE), find(_GLOBAL_HOOKS)


def is_prepared(layer: Any, inputs: Any) -> bool:
    """Returns whether Keras would hand tensors to a built `QuickLayer` as they are, and nothing else watches the call.

    Yes to plain, unmasked tensors of the layer's own dtype. Not where PyTorch's hooks want to see the call.
    """
    return ACCELERATION.is_active() and _is_prepared(layer, inputs)


def _is_prepared(layer: Any, inputs: Any) -> bool:
    dtype = _DTYPES.get(layer.compute_dtype)
    return (
        all(
            type(tensor) is torch.Tensor
            and tensor.dtype == dtype
            and not tensor.is_meta
            and not hasattr(tensor, "_keras_mask")
            for tensor in (inputs if isinstance(inputs, list) else [inputs])
        )
        and (layer.variable_dtype == layer.compute_dtype or layer.casts_weights)
        and ((scope := _get_autocast_scope()) is None or scope.dtype == layer.compute_dtype)
        and not is_watched(layer)
    )


def is_watched(layer: Any) -> bool:
    """Returns whether PyTorch's hooks want to see the calls of a layer."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return any(hooks) or _has_any_global_hook()


def _check() -> bool:
    layer, x = keras.layers.Layer(name="kzoo_check", dtype="float32"), torch.from_numpy(np.ones(2, np.float32))
    if layer._remat_mode is not None or layer.quantization_mode is not None or not _is_prepared(layer, x):
        return False
    with layer.register_forward_hook(lambda *_: None):
        return not _is_prepared(layer, x)


ACCELERATION = Acceleration(
    "layers are called at once",
    does="kzoo's layers go to `call` where Keras would look for what to convert, cast, build and mask in vain",
    brings="PyTorch trains single images 1.5 times as fast, and predicts them twice as fast, together with the next",
    versions={"keras": ">=3.15,<3.16", "torch": ">=2.10,<2.15"},
    needs=(_SCOPE, _GLOBAL_HOOKS),
    check=_check,
)
