"""Results that XLA computes once."""

import os
import re

import keras
import numpy as np
import pytest

import kzoo

if keras.backend.backend() != "jax" or os.environ.get("KZOO_ACCELERATION") == "off":
    pytest.skip("XLA's compiler, with acceleration on", allow_module_level=True)

import jax
from jax import numpy as jnp

from kzoo.acceleration import jax_once, jax_steps

if jax.default_backend() != "cpu":
    pytest.skip("XLA's compiler for CPUs", allow_module_level=True)


def network():
    """Returns a model of four blocks, large enough for its convolutions to be no part of a fusion."""
    images = y = keras.Input((32, 32, 16))
    for _ in range(4):
        y = kzoo.ReLU()(kzoo.Add()([y, kzoo.BatchNorm()(kzoo.Conv2D(16)(y))]))
    return kzoo.Model(images, y)


def gradient_of(model):
    """Returns the gradient of a training as a function of the weights."""
    state = [variable.value for variable in model.non_trainable_variables]
    images = np.random.default_rng(0).standard_normal((8, 32, 32, 16), np.float32)

    def loss(weights):
        return jnp.square(model.stateless_call(weights, state, images, training=True)[0]).mean()

    return jax.grad(loss)


def most_read(text):
    """Returns the most convolutions whose results one fused operation reads."""
    fused = re.findall(r"fusion\(([^)]*)\)", text)
    return max(len(set(re.findall(r"%(\w*convolution[\w.]*)", operands))) for operands in fused)


def test_no_sum_is_added_up_again_from_the_blocks_before():
    model = network()
    weights = [variable.value for variable in model.trainable_variables]
    plain = jax.jit(gradient_of(model)).lower(weights).compile()
    once = jax.jit(gradient_of(model), compiler_options=jax_once.OPTIONS).lower(weights).compile()
    assert most_read(plain.as_text()) >= 4
    assert most_read(once.as_text()) <= 2
    for a, b in zip(once(weights), plain(weights), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max())


def test_derivatives_of_every_kind_are_those_without():
    x = jnp.array([-2.0, -0.5, 0.0, 0.5, 2.0])

    def kept(x):
        return jnp.sin(kzoo.ReLU()(kzoo.Add()([x, x])))

    def plain(x):
        return jnp.sin(jax.nn.relu(x + x))

    def derivatives(function):
        total = lambda x: function(x).sum()  # noqa: E731
        return [
            jax.grad(total)(x),
            jax.jvp(function, (x,), (x,))[1],
            jax.hessian(total)(x),
            jax.vmap(function)(jnp.stack([x, 2 * x])),
            jax.grad(jax.checkpoint(total))(x),
        ]

    for ours, theirs in zip(jax.jit(lambda: derivatives(kept))(), derivatives(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_integers_and_tensors_at_hand_stay_as_they_are():
    x = np.array([-1, 2])
    assert jax.jit(kzoo.ReLU(dtype="int32"))(x).tolist() == [0, 2]
    assert "opt" not in str(jax.make_jaxpr(kzoo.ReLU(dtype="int32"))(x))
    assert kzoo.ReLU()(np.array([-1.0, 2.0])).tolist() == [0, 2]


def test_whoever_sets_the_option_keeps_it(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_disable_hlo_passes=algsimp")
    with pytest.raises(jax_once.NotHereError, match="XLA_FLAGS sets xla_disable_hlo_passes"):
        jax_once._check()


def test_nothing_is_on_where_keras_compiles_by_flax(monkeypatch):
    monkeypatch.setattr("keras.src.backend.jax.trainer.jit", lambda step, **options: step)
    with pytest.raises(jax_once.NotHereError, match="Keras compiles by Flax"):
        jax_once._check()


def test_steps_are_compiled_so_whether_or_not_their_memory_is_kept(monkeypatch):
    monkeypatch.setattr(jax_steps.ACCELERATION, "_why_off", "for this test")
    assert jax_steps._options(None) == {"xla_disable_hlo_passes": "cse_barrier_expander"}
