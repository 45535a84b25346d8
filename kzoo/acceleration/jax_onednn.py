"""Convolutions and matrix products of the oneDNN inside jaxlib, as operations of JAX.

XLA's compiler for CPUs can call oneDNN, which PyTorch and TensorFlow compute with, but computes float32 by kernels that
take twice as long, and bfloat16 by ones that take three to ten times as long. These operations ask for oneDNN by the
name of the call. That is no public interface: what a call must say is known for some versions of jaxlib, and
tests/acceleration/test_jax_onednn.py holds it. With other versions and platforms, on several devices, under `vmap`, and
in what `jax.export` writes, each operation is its definition.
"""

import functools
import json
import os
import platform
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from kzoo import environment, shards
from kzoo.acceleration import jax_products
from kzoo.acceleration.registry import Acceleration, NotHereError, find

Tensor = Any

FEW = 2**23  # multiply-adds, those of a convolution of 3.5 CIFAR images in a ResNet-20
_LAYOUT = ("NHWC", "HWIO", "NHWC")
_PRIMITIVE = "jax.extend.core:Primitive"
_BATCHERS = "jax.interpreters.batching:primitive_batchers"
_LOWER_FUN = "jax.interpreters.mlir:lower_fun"
_REGISTER = "jax.interpreters.mlir:register_lowering"
_FFI = "jax.ffi:ffi_lowering"


def takes(multiply_adds: int, *tensors: Tensor) -> bool:
    """Tells whether the operations here are the faster ones for that many multiply-adds on these tensors.

    For few of them they are not: a call of oneDNN takes some time to prepare.
    """
    is_alone = jax.device_count() == 1 or (shards.current() is not None and jax.local_device_count() == 1)
    on_cpu = jax.default_backend() == "cpu" and is_alone
    dtypes = {tensor.dtype for tensor in tensors}
    suits = dtypes == {jnp.dtype("float32")} or (dtypes == {jnp.dtype("bfloat16")} and computes_bfloat16())
    return on_cpu and multiply_adds >= FEW and suits and ACCELERATION.is_active()


@functools.cache
def computes_bfloat16() -> bool:
    """Tells whether the processor computes bfloat16, so that oneDNN does.

    Where it does not, oneDNN has no such operation, and to ask for one ends the process.
    """
    is_limited = any(name in os.environ for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"))
    return not is_limited and "avx512_bf16" in environment.cpuinfo().get("flags", "").split()


@functools.partial(jax.jit, static_argnames=("stride", "biased", "relu"))
def convolve(
    x: Tensor, kernel: Tensor, *others: Tensor, stride: int = 1, biased: bool = False, relu: bool = False
) -> Tensor:
    """Convolves with symmetric zero padding, adds what is asked for, and rectifies if asked to. Has no derivative.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`, float32, or bfloat16 where the processor computes it.
        kernel: Tensor of shape `(k, k, channels, filters)`, `k` odd, of the same dtype, as are all others.
        *others: Tensors to add: a bias of shape `(filters,)`, then a residual shaped as the result.
        stride: Integer, step in both directions. Defaults to `1`.
        biased: Boolean, whether the first of `others` is a bias. Defaults to `False`.
        relu: Boolean. Defaults to `False`.

    Returns:
        Tensor of shape `(batch, ceil(height / stride), ceil(width / stride), filters)`.
    """
    return _convolution().bind(x, kernel, *others, stride=stride, biased=biased, relu=relu)


@jax.jit
def transposed_product(a: Tensor, b: Tensor) -> Tensor:
    """Returns `a.T @ b` of matrices, in float32 also where they are bfloat16. Has no derivative."""
    return _product().bind(a, b)


def _convolution_definition(
    x: Tensor, kernel: Tensor, *others: Tensor, stride: int, biased: bool, relu: bool
) -> Tensor:
    padding = [(kernel.shape[0] // 2,) * 2] * 2
    y = lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT)
    y = sum(others, start=y)
    return jnp.maximum(y, 0) if relu else y


def _convolution_config(x: Any, kernel: Any, *others: Any, stride: int, biased: bool, relu: bool) -> dict[str, Any]:
    pad = kernel.shape[0] // 2
    images = {"dims": 4, "data": {"batch_dim": 0, "feature_dim": 3, "spatial_dims": [1, 2]}}
    kernels = {"dims": 4, "filter": {"input_feature_dim": 2, "output_feature_dim": 3, "spatial_dims": [0, 1]}}
    window = {"pad_left": [pad] * 2, "pad_right": [pad] * 2, "strides": [stride] * 2, "window_dilations": [1, 1]}
    after = ["BIAS"] * biased + ["BINARY_ADD"] * (len(others) - biased) + ["RELU"] * relu
    config = {"dims": 4, "input": images, "kernel": kernels, "output": images, "window": window, "feature_groups": 1}
    return {"onednn_conv_config": {**config, "fusions": {"ops": after}}}


def _product_definition(a: Tensor, b: Tensor) -> Tensor:
    return jnp.matmul(a.T, b, preferred_element_type=jnp.float32)


def _product_config(a: Any, b: Any) -> dict[str, Any]:
    return {"onednn_matmul_config": {"transpose_a": True}}


def _primitive(name: str, definition: Callable[..., Tensor], config: Callable[..., dict[str, Any]]) -> Any:
    """Returns a primitive that is `definition` everywhere but where a call of oneDNN does the same."""
    primitive = find(_PRIMITIVE)(f"kzoo_onednn_{name}")

    def shape_of(*operands: Any, **parameters: Any) -> Any:
        result = jax.eval_shape(functools.partial(definition, **parameters), *operands)
        return jax.core.ShapedArray(result.shape, result.dtype)

    def on_many(operands: Sequence[Tensor], axes: Sequence[Any], **parameters: Any) -> tuple[Tensor, int]:
        return jax.vmap(functools.partial(definition, **parameters), tuple(axes))(*operands), 0

    defined = find(_LOWER_FUN)(definition, multiple_results=False)

    def on_cpu(context: Any, *operands: Any, **parameters: Any) -> Any:
        if context.module_context.lowering_parameters.for_export:  # who reads it may have another jaxlib
            return defined(context, *operands, **parameters)
        text = json.dumps(config(*context.avals_in, **parameters))
        call = find(_FFI)(f"__onednn${name}", backend_config=text, api_version=1)
        return call(context, *operands)

    primitive.def_impl(functools.partial(jax_products.run, primitive))
    primitive.def_abstract_eval(shape_of)
    find(_BATCHERS)[primitive] = on_many
    find(_REGISTER)(primitive, defined)
    find(_REGISTER)(primitive, on_cpu, platform="cpu")
    return primitive


@functools.cache
def _convolution() -> Any:
    return _primitive("convolution", _convolution_definition, _convolution_config)


@functools.cache
def _product() -> Any:
    return _primitive("matmul", _product_definition, _product_config)


def _check() -> bool:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64") or jax.default_backend() != "cpu":
        raise NotHereError("for CPUs of Linux on x86-64")
    random = np.random.RandomState(0)
    x, kernel, residual = (random.standard_normal(shape) for shape in ((2, 5, 5, 4), (3, 3, 4, 8), (2, 3, 3, 8)))
    x, kernel, residual = (jnp.asarray(array, jnp.float32) for array in (x, kernel, residual))
    options: dict[str, Any] = {"stride": 2, "biased": False, "relu": True}
    y, expected = convolve(x, kernel, residual, **options), _convolution_definition(x, kernel, residual, **options)
    product = transposed_product(x.reshape(50, 4), x.reshape(50, 4))
    pairs = ((y, expected), (product, _product_definition(x.reshape(50, 4), x.reshape(50, 4))))
    return all(np.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in pairs)


ACCELERATION = Acceleration(
    "oneDNN on JAX",
    does="convolutions and their kernels' gradients go to the oneDNN inside jaxlib, of which XLA makes no use itself",
    brings="on CPUs JAX trains 1.2 times as fast, and folded predicts 1.5 times as fast (batch 128, AVX-512)",
    versions={"jax": ">=0.10.2,<0.13", "jaxlib": ">=0.10.2,<0.13"},
    needs=(_PRIMITIVE, _BATCHERS, _LOWER_FUN, _REGISTER, _FFI),
    check=_check,
)
