"""A training that was killed goes on to the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_killed_trainings_go_on_to_the_same_bytes(tmp_path):
    command = [sys.executable, Path(__file__).with_name("kills.py"), "--rounds", "3"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    # Sixteen processes compile the same: once will do.
    environment |= {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "3 of 3 equal" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 0
