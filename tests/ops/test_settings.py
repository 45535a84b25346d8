import subprocess
import sys

import keras
import pytest
from keras import ops

from kzoo.environment import device_kind, device_of

LOOK = {
    "tensorflow": """
import tensorflow as tf
from tensorflow.python.framework import config
print(tf.config.experimental.tensor_float_32_execution_enabled(), config.is_op_determinism_enabled())
""",
    "jax": """
import os, jax
print(jax.config.jax_default_matmul_precision, os.environ["XLA_FLAGS"])
""",
    "torch": """
import torch
b = torch.backends
parts = (b.cuda.matmul, b.cudnn.conv, b.cudnn.rnn, b.mkldnn.matmul, b.mkldnn.conv, b.mkldnn.rnn)
print({part.fp32_precision for part in parts}, torch.are_deterministic_algorithms_enabled(), b.cudnn.benchmark)
""",
}
EXPECTED = {
    "tensorflow": "False True",
    "jax": "highest --xla_gpu_deterministic_ops=true",
    "torch": "{'ieee'} True False",
}


def test_deterministic_switches_reduced_precision_off():
    backend = keras.backend.backend()
    script = "import kzoo\nkzoo.deterministic()\nkzoo.deterministic()\n" + LOOK[backend]
    # A process of its own: there is no way back.
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert result.stdout.strip() == EXPECTED[backend]


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX alone reads its flags once")
def test_deterministic_says_when_it_is_too_late(monkeypatch):
    import jax

    import kzoo

    ops.ones(1)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    with pytest.raises(RuntimeError, match=r"must come before JAX computes anything.*Received: XLA_FLAGS='--xla_dump"):
        kzoo.deterministic()


def test_device_of_a_variable_is_where_the_backend_computes():
    assert device_of(keras.Variable(1.0)) == device_kind()
