"""Precision and determinism of the backend in use."""

import contextlib
import os
from collections.abc import Iterator
from typing import get_args

import keras

from kzoo.acceleration import names
from kzoo.choices import Precision, check_choice


def set_precision(name: Precision) -> None:
    """Sets the precision of models built from now on, for the whole process; `kzoo.precision` gives it back.

    float64 needs more than a dtype policy: losses and learning rates follow `keras.config.floatx()`, JAX has no 64-bit
    numbers unless asked, and Keras (3.15) computes matrix products, means and losses of float64 tensors in float32 on
    PyTorch and JAX, because its type promotion never gives a 64-bit type there.

    Args:
        name: `"float32"`, `"mixed_bfloat16"` (float32 weights, bfloat16 activations) or `"float64"`.

    Raises:
        ValueError: If it is none of these.

    Example:
        >>> kzoo.set_precision("mixed_bfloat16")
        >>> kzoo.resnet(8).dtype_policy.name
        'mixed_bfloat16'
    """
    check_choice("name", name, get_args(Precision))
    if name == "float64" and keras.config.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    if keras.config.backend() != "tensorflow":
        names.set_wide_promotion(name == "float64")
    keras.config.set_floatx("float64" if name == "float64" else "float32")
    keras.config.set_dtype_policy(name)


@contextlib.contextmanager
def precision(name: Precision) -> Iterator[None]:
    """Sets the precision of models built and used within `with`, and gives back what was set before.

    It is the whole process's meanwhile: use no models of another precision in other threads.

    Args:
        name: As for `kzoo.set_precision`.

    Yields:
        Nothing.

    Raises:
        ValueError: If it is none of these.

    Example:
        >>> with kzoo.precision("float64"):
        ...     model = kzoo.resnet(8)
        >>> model.dtype
        'float64'
    """
    floatx, policy, wide = keras.config.floatx(), keras.config.dtype_policy(), names.promotes_widely()
    x64 = _jax_x64()
    try:
        set_precision(name)
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
        names.set_wide_promotion(wide)
        if x64 is False:
            import jax

            jax.config.update("jax_enable_x64", False)


def _jax_x64() -> bool | None:
    """Returns whether JAX has 64-bit numbers, or `None` on another backend."""
    if keras.config.backend() != "jax":
        return None
    import jax

    return bool(jax.config.jax_enable_x64)


def deterministic() -> None:
    """Makes this process compute the same every time, in the precision asked for.

    TensorFloat-32 and other reduced precisions, which GPUs use for float32 unless told otherwise, go off, and so do
    kernels whose result depends on the order in which threads finish. Costs speed on GPUs. Call it before anything is
    computed: JAX and cuBLAS read some of it once. There is no way back within the process.

    Raises:
        RuntimeError: If JAX has computed on a GPU already, so that it is too late.

    Example:
        >>> kzoo.deterministic()  # doctest: +SKIP
    """
    {"tensorflow": _deterministic_tensorflow, "jax": _deterministic_jax, "torch": _deterministic_torch}[
        keras.config.backend()
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
        if names.jax_has_started() and jax.default_backend() == "gpu":
            raise RuntimeError(
                "`kzoo.deterministic()` must come before JAX computes anything: it reads XLA_FLAGS once. "
                f"Call it earlier, or set XLA_FLAGS={flag}. Received: XLA_FLAGS={given!r}."
            )
        os.environ["XLA_FLAGS"] = f"{given} {flag}".strip()
    jax.config.update("jax_default_matmul_precision", "highest")


def _deterministic_torch() -> None:
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    for part in (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
        part.fp32_precision = "ieee"
    for part in (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn):
        part.fp32_precision = "ieee"
