"""How Keras's steps are compiled on JAX."""

import os
import platform
import subprocess
import sys

import keras
import numpy as np
import pytest

from kzoo.acceleration import process

if keras.backend.backend() != "jax" or os.environ.get("KZOO_ACCELERATION") == "off":
    pytest.skip("the steps of JAX, with acceleration on", allow_module_level=True)

import jax
from jax import numpy as jnp

from kzoo.acceleration import jax_steps

if jax.default_backend() != "cpu":
    pytest.skip("the steps of XLA for CPUs", allow_module_level=True)

OPTION = "xla_multiheap_size_constraint_per_heap"
PROGRAM = """
import resource, sys
import kzoo, keras, numpy as np

images = y = keras.Input((32, 32, 16))
for _ in range(24):
    y = kzoo.Conv2D(16)(y)
model = getattr(keras if sys.argv[1] == "plain" else kzoo, "Model")(images, y)
model.compile("sgd", "mse")
x = np.zeros((256, 32, 32, 16), np.float32)
model.fit(x, x, batch_size=64, epochs=2, verbose=0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
model.fit(x, x, batch_size=64, epochs=2, verbose=0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture(autouse=True)
def compiler():
    """Has the compiler asked anew what it knows, by each test and by what comes after."""
    jax_steps._compiler_knows.cache_clear()
    yield
    jax_steps._compiler_knows.cache_clear()


@pytest.fixture
def asked(monkeypatch):
    """The options of what is compiled."""
    found, compile_ = [], jax.jit

    def jit(*functions, **options):
        found.append(options.get("compiler_options"))
        return compile_(*functions, **options)

    monkeypatch.setattr(jax, "jit", jit)
    return found


def memory_options():
    return jax_steps._memory_options(jax.make_jaxpr(lambda x: x + 1)(1.0).jaxpr)


def page_faults(how):
    clean = {name: value for name, value in os.environ.items() if name not in process._SETTINGS}
    command = [sys.executable, "-c", PROGRAM, how]
    environment = {**clean, "KZOO_TUNE_PROCESS": "1"}
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_a_step_uses_the_memory_of_the_one_before():
    assert page_faults("divided") < page_faults("plain") / 5  # eight steps of 100 MB: 200,000 pages


@pytest.mark.parametrize(
    ("size", "expected"), [(10, {OPTION: 2**24}), (5 * 2**20, {OPTION: 5 * 2**22}), (2**24, None)], ids=str
)
def test_blocks_are_as_large_as_the_largest_tensor(size, expected, asked):
    traced = []

    def function(state, x):
        traced.append(x.shape)
        return jax.lax.scan(lambda total, _: (total + jnp.sum(jnp.tile(x, size)), None), state, length=2)[0]

    step = jax_steps.jit(function, options_for=jax_steps._memory_options)
    for _ in range(2):
        assert step(jnp.zeros(()), np.ones(1, np.float32)) == 2 * size
    assert asked[-1] == expected
    assert traced == [(1,)]


def test_inputs_of_other_shapes_have_options_of_their_own(asked):
    step = jax_steps.jit(lambda state, x: jnp.sum(x + state), options_for=jax_steps._memory_options)
    assert step(1.0, np.ones(3)) == 6
    assert step(1.0, np.ones(2**25, np.float32)) == 2**26
    assert step(1.0, np.ones(3)) == 6
    assert [options for options in asked if options] == [{OPTION: 2**24}] * 2  # the first to see whether it is known


def test_a_step_within_another_program_takes_no_options():
    step = jax_steps.jit(lambda state, x: x * state)
    assert jax.jit(lambda x: step(2.0, x))(3.0) == 6
    assert jax.jit(lambda state: step(state, 3.0))(2.0) == 6
    assert jax.jit(lambda: step(2.0, 3.0))() == 6
    assert jax.grad(lambda x: step(2.0, x))(3.0) == 2
    assert jax.grad(lambda state: step(state, 3.0))(2.0) == 3


def test_what_the_compiler_does_not_know_is_not_asked_for(monkeypatch):
    monkeypatch.setattr(jax_steps, "_OPTION", "xla_no_such_option")
    assert memory_options() == {}


def test_gpus_and_users_keep_their_own_way(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"--{OPTION}=1000000")
    assert memory_options() == {}
    monkeypatch.delenv("XLA_FLAGS")
    jax_steps._compiler_knows.cache_clear()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert memory_options() == {}
