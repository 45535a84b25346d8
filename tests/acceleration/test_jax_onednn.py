"""The calls of oneDNN inside jaxlib: that they are made, and what is computed where they are not."""

import os

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax" or os.environ.get("KZOO_ACCELERATION") == "off":
    pytest.skip("operations of JAX, with acceleration on", allow_module_level=True)

import jax
from jax import export
from jax import numpy as jnp

import kzoo.ops
from kzoo.acceleration import jax_onednn
from kzoo.ops import generic

ON_ONEDNN = jax_onednn.takes(jax_onednn.FEW, jnp.ones(1))


def draw(*shape, seed=0):
    return np.random.RandomState(seed).standard_normal(shape).astype("float32")


X, KERNEL, BIAS, RESIDUAL = draw(20, 9, 7, 8), draw(3, 3, 8, 6, seed=1), draw(6, seed=2), draw(20, 9, 7, 6, seed=3)


@pytest.fixture(autouse=True)
def no_convolution_is_too_small(monkeypatch):
    monkeypatch.setattr(jax_onednn, "FEW", 0)


def relu_of_sum(x, kernel, bias, residual):
    return kzoo.ops.conv2d_relu(x, kernel, 1, bias, residual)


def sum_of_gradients(x, kernel):
    return jnp.square(kzoo.ops.conv2d(x, kernel)).sum()


def compiled(function, *arguments):
    fresh = jax.jit(lambda *operands: function(*operands))  # JAX remembers what it has traced
    return fresh.lower(*arguments).compile().as_text()


@pytest.mark.skipif(not ON_ONEDNN, reason="this jaxlib has no oneDNN that is known, or computes on another device")
def test_convolutions_and_products_are_calls_of_onednn():
    text = compiled(jax.grad(sum_of_gradients, (0, 1)), X, KERNEL)
    assert text.count("__onednn$convolution") >= 2  # forward, and the gradient of the images
    assert "__onednn$matmul" in text
    assert "__onednn$convolution" in compiled(relu_of_sum, X, KERNEL, BIAS, RESIDUAL)


def test_other_jaxlibs_are_not_asked(monkeypatch):
    monkeypatch.setattr(jax_onednn.ACCELERATION, "_why_off", "known for others")
    assert "__onednn" not in compiled(jax.grad(sum_of_gradients, (0, 1)), X, KERNEL)
    assert "__onednn" not in compiled(relu_of_sum, X, KERNEL, BIAS, RESIDUAL)


@pytest.mark.parametrize("channels", [8, 20])
def test_other_jaxlibs_compute_the_same(monkeypatch, channels):
    x, kernel = draw(20, 9, 7, channels), draw(3, 3, channels, 24, seed=1)
    expected = jax.value_and_grad(sum_of_gradients, (0, 1))(x, kernel)
    monkeypatch.setattr(jax_onednn.ACCELERATION, "_why_off", "known for others")
    actual = jax.value_and_grad(sum_of_gradients, (0, 1))(x, kernel)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


@pytest.mark.skipif(
    not (ON_ONEDNN and jax_onednn.computes_bfloat16()), reason="the processor does not compute bfloat16"
)
@pytest.mark.parametrize("stride", [1, 2])
def test_bfloat16_is_computed_by_onednn_and_its_sums_are_float32(stride):
    x, kernel = jnp.asarray(X, "bfloat16"), jnp.asarray(KERNEL, "bfloat16")

    def total(x, kernel):
        return jnp.square(kzoo.ops.conv2d(x, kernel, stride).astype("float32")).sum()

    text = compiled(jax.grad(total, (0, 1)), x, kernel)
    assert text.count("__onednn$convolution") >= 2
    assert "__onednn$matmul" in text
    slopes = jax.grad(total, (0, 1))(x, kernel)
    expected = jax.grad(total, (0, 1))(x.astype("float32"), kernel.astype("float32"))
    for slope, exact in zip(slopes, expected, strict=True):
        assert slope.dtype == jnp.bfloat16
        np.testing.assert_allclose(slope.astype("float32"), exact, atol=0.02 * np.abs(exact).max())


def test_bfloat16_is_left_to_xla_where_the_processor_does_not_compute_it(monkeypatch):
    monkeypatch.setattr(jax_onednn, "computes_bfloat16", lambda: False)
    x, kernel = jnp.asarray(X, "bfloat16"), jnp.asarray(KERNEL, "bfloat16")
    assert "__onednn" not in compiled(kzoo.ops.conv2d, x, kernel)


def test_bfloat16_is_not_asked_of_a_onednn_that_is_limited(monkeypatch):
    jax_onednn.computes_bfloat16.cache_clear()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert not jax_onednn.computes_bfloat16()
    jax_onednn.computes_bfloat16.cache_clear()


def test_what_is_small_or_float64_is_left_to_xla(monkeypatch):
    with jax.enable_x64(True):
        assert not jax_onednn.takes(jax_onednn.FEW, jnp.ones(1, "float64"))
    assert not jax_onednn.takes(jax_onednn.FEW, jnp.ones(1), jnp.ones(1, "bfloat16"))
    monkeypatch.undo()
    assert not jax_onednn.takes(jax_onednn.FEW - 1, jnp.ones(1))
    assert "__onednn" not in compiled(jax.grad(sum_of_gradients, (0, 1)), X[:1], KERNEL)
    assert kzoo.ops.conv2d(jnp.ones((0, 8, 8, 8)), KERNEL).shape == (0, 8, 8, 6)


def test_export_writes_operations_that_every_jaxlib_has():
    exported = export.export(jax.jit(relu_of_sum))(X, KERNEL, BIAS, RESIDUAL)
    assert "__onednn" not in exported.mlir_module()
    np.testing.assert_allclose(
        exported.call(X, KERNEL, BIAS, RESIDUAL), relu_of_sum(X, KERNEL, BIAS, RESIDUAL), rtol=1e-4, atol=1e-4
    )


def test_vmap_maps_the_definition():
    kernels = jnp.stack([KERNEL, 2 * KERNEL])
    both = jax.vmap(kzoo.ops.conv2d, (None, 0))(X, kernels)
    for y, kernel in zip(both, kernels, strict=True):
        np.testing.assert_allclose(y, kzoo.ops.conv2d(X, kernel), rtol=1e-4, atol=1e-4)


def test_conv2d_relu_has_the_gradients_of_its_definition():
    def total(function):
        return lambda *arguments: jnp.sin(function(*arguments)).sum()

    def definition(x, kernel, bias, residual):
        return generic.conv2d_relu(x, kernel, 1, bias, residual)

    operands = (X, KERNEL, BIAS, RESIDUAL)
    slopes = jax.grad(total(relu_of_sum), (0, 1, 2, 3))(*operands)
    for a, b in zip(slopes, jax.grad(total(definition), (0, 1, 2, 3))(*operands), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())
