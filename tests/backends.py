"""One interpreter a backend, each an environment of its own."""

import os
import subprocess
from pathlib import Path

import pytest

BACKENDS = ("tensorflow", "jax", "torch")


def python_of(name):
    """Returns the interpreter of a backend, or of `serving`, which has TensorFlow and the libraries of every format."""
    python = os.environ.get(f"KZOO_PYTHON_{name.upper()}")
    if python is None or not Path(python).exists():
        pytest.fail(f"KZOO_PYTHON_{name.upper()} must be the path of a Python with kzoo and {name}: {python!r}")
    return python


def run_on(backend, script, *arguments, timeout=300, python=None):
    """Runs a Python script on a backend, by its interpreter or another, and returns what it printed."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2", "JAX_PLATFORMS": "cpu"}
    command = [python or python_of(backend), "-c", script, *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert result.returncode == 0, f"{backend}: {result.stderr}"
    return result.stdout.strip()
