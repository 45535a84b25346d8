"""One interpreter a backend, each an environment of its own."""

import os
import subprocess
from pathlib import Path

import pytest

BACKENDS = ("tensorflow", "jax", "torch")


def run_on(backend, script, *arguments, timeout=300):
    """Runs a Python script on a backend and returns what it printed."""
    python = os.environ.get(f"KZOO_PYTHON_{backend.upper()}")
    if python is None or not Path(python).exists():
        pytest.fail(f"KZOO_PYTHON_{backend.upper()} must be the path of a Python with kzoo and {backend}: {python!r}")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2", "JAX_PLATFORMS": "cpu"}
    command = [python, "-c", script, *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert result.returncode == 0, f"{backend}: {result.stderr}"
    return result.stdout.strip()
