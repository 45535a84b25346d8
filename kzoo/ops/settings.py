"""Global settings of the backend in use."""

from typing import Any, Literal

import keras


def set_precision(precision: Literal["float32", "mixed_bfloat16", "float64"]) -> None:
    """Sets the precision of models built from now on.

    float64 needs more than a dtype policy: losses and learning rates follow `keras.config.floatx()`, and JAX has no
    64-bit numbers unless asked.

    Args:
        precision: `"float32"`, `"mixed_bfloat16"` (float32 weights, bfloat16 activations) or `"float64"`.

    Raises:
        ValueError: If it is none of these.
    """
    if precision not in ("float32", "mixed_bfloat16", "float64"):
        raise ValueError(
            f"`precision` must be 'float32', 'mixed_bfloat16' or 'float64'. Received: precision={precision!r}."
        )
    if precision == "float64" and keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64" if precision == "float64" else "float32")
    keras.config.set_dtype_policy(precision)


def device_kind() -> str:
    """Returns `"gpu"` if the backend computes on one, else `"cpu"`."""
    backend = keras.backend.backend()
    found: Any
    if backend == "tensorflow":
        import tensorflow

        found = tensorflow.config.list_physical_devices("GPU")
    elif backend == "jax":
        import jax

        found = jax.default_backend() == "gpu"
    else:
        import torch

        found = torch.cuda.is_available()
    return "gpu" if found else "cpu"
