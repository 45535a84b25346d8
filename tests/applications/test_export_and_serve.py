import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "applications"


pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("uvicorn", "openvino", "nncf", "tf2onnx", "tensorflow")),
    reason="needs the extras `serve`, `onnx` and `quantize`, and TensorFlow: run by the serving-cpu environment",
)


def smoke(program, folder):
    command = [sys.executable, str(FOLDER / program), "--smoke"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_export_and_serve_smoke(tmp_path):
    result = smoke("export_and_serve.py", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "read back by tensorflow" in result.stdout
    assert "top-1" in result.stdout
    assert result.stdout.endswith("stopped\n")
    assert list(tmp_path.iterdir()) == []


def test_export_table_smoke(tmp_path):
    result = smoke("export_table.py", tmp_path)
    assert result.returncode == 0, result.stderr
    heading, _, *rows = result.stdout.splitlines()
    assert heading == "| | top-1 | MB | ms, one image | images/s |"
    accuracies = {name.strip(" |"): float(top_1) for name, top_1 in (row.rsplit("|", 5)[:2] for row in rows)}
    assert len(accuracies) == 4
    assert min(accuracies.values()) > 0.9
    assert list(tmp_path.iterdir()) == []
