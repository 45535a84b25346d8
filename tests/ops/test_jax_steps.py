"""How Keras's steps are compiled on JAX."""

import os
import platform
import subprocess
import sys

import keras
import pytest

from kzoo.ops import memory

if keras.backend.backend() != "jax":
    pytest.skip("the steps of JAX", allow_module_level=True)

import jax
from keras.src.backend.jax import trainer

from kzoo.ops import jax as fast

PROGRAM = """
import resource
import keras, numpy as np
from kzoo import layers

model = keras.Sequential([keras.Input((32, 32, 16)), *(layers.Conv2D(16) for _ in range(12))])
model.compile("sgd", "mse")
x = np.zeros((128, 32, 32, 16), np.float32)
model.fit(x, x, batch_size=64, epochs=4, verbose=0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
model.fit(x, x, batch_size=64, epochs=4, verbose=0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture
def options(monkeypatch):
    """Has the options asked for anew, by this test and by the next."""
    fast._step_options.cache_clear()
    yield fast._step_options
    fast._step_options.cache_clear()


def page_faults(**environment):
    names = [name for name in os.environ if name in memory._SETTINGS]
    clean = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", PROGRAM]
    return int(subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_a_step_uses_the_memory_of_the_one_before():
    assert page_faults() < page_faults(MALLOC_ARENA_MAX="8") / 5  # 8 steps of some 50 MB: 100,000 pages


def test_keras_compiles_its_steps_by_these_options(options):
    assert trainer.jit is fast._jit
    assert options() == {"xla_multiheap_size_constraint_per_heap": 2**24}


def test_gpus_get_no_options(options, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert options() is None


def test_a_compiler_that_does_not_know_an_option_gets_none(options, monkeypatch):
    def refuse(*_, **__):
        raise jax.errors.JaxRuntimeError("INVALID_ARGUMENT: No such compile option")

    monkeypatch.setattr(jax, "jit", refuse)
    assert options() is None
