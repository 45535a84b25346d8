"""Global settings of the backend in use."""

import importlib
import os
from typing import Any, Literal

import keras


def set_precision(precision: Literal["float32", "mixed_bfloat16", "float64"]) -> None:
    """Sets the precision of models built from now on.

    float64 needs more than a dtype policy: losses and learning rates follow `keras.config.floatx()`, JAX has no 64-bit
    numbers unless asked, and Keras (3.15) computes matrix products, means and losses of float64 tensors in float32 on
    PyTorch and JAX, because its type promotion never gives a 64-bit type there.

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
    if keras.backend.backend() != "tensorflow":
        # Keras has no public way to say so; tests/ops/test_settings.py holds the precision that this gives.
        promoted = "float64" if precision == "float64" else "float32"
        importlib.import_module("keras.src.backend.common.dtypes").BIT64_TO_BIT32_DTYPE["float64"] = promoted
    keras.config.set_floatx("float64" if precision == "float64" else "float32")
    keras.config.set_dtype_policy(precision)


def deterministic() -> None:
    """Makes this process compute the same every time, in the precision asked for.

    TensorFloat-32 and other reduced precisions, which GPUs use for float32 unless told otherwise, go off, and so do
    kernels whose result depends on the order in which threads finish. Costs speed on GPUs. Call it before anything is
    computed: JAX and cuBLAS read some of it once. There is no way back within the process.

    Raises:
        RuntimeError: If JAX has computed on a GPU already, so that it is too late.
    """
    {"tensorflow": _deterministic_tensorflow, "jax": _deterministic_jax, "torch": _deterministic_torch}[
        keras.backend.backend()
    ]()


def _deterministic_tensorflow() -> None:
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    tf.config.experimental.enable_op_determinism()


def _deterministic_jax() -> None:
    import jax

    flag = "--xla_gpu_deterministic_ops=true"
    given = os.environ.get("XLA_FLAGS", "")
    if flag not in given.split():
        if _jax_runs() and jax.default_backend() == "gpu":
            raise RuntimeError(
                "`kzoo.deterministic()` must come before JAX computes anything: it reads XLA_FLAGS once. "
                f"Call it earlier, or set XLA_FLAGS={flag}. Received: XLA_FLAGS={given!r}."
            )
        os.environ["XLA_FLAGS"] = f"{given} {flag}".strip()
    jax.config.update("jax_default_matmul_precision", "highest")


def _jax_runs() -> bool:
    from jax._src import xla_bridge  # JAX has no public name for this

    return xla_bridge.backends_are_initialized()


def _deterministic_torch() -> None:
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    for part in (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
        part.fp32_precision = "ieee"
    for part in (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn):
        part.fp32_precision = "ieee"


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


def device_of(variable: Any) -> str:
    """Returns `"gpu"` if a Keras variable lives on one, else `"cpu"`."""
    value = variable.value
    backend = keras.backend.backend()
    if backend == "tensorflow":
        on_gpu = "GPU" in value.device
    elif backend == "jax":
        on_gpu = any(device.platform == "gpu" for device in value.devices())
    else:
        on_gpu = value.device.type == "cuda"
    return "gpu" if on_gpu else "cpu"
