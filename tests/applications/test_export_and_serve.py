import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "applications" / "export_and_serve.py"


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("uvicorn", "prometheus_client", "openvino", "tensorflow")),
    reason="needs the extra `serve` and TensorFlow: run by the serving-cpu environment",
)
def test_export_and_serve_smoke(tmp_path):
    command = [sys.executable, str(PROGRAM), "--smoke"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert "read back by tensorflow" in result.stdout
    assert "top-1" in result.stdout
    assert result.stdout.endswith("stopped\n")
    assert list(tmp_path.iterdir()) == []
