import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "applications" / "train_cifar10.py"


def test_train_cifar10_smoke(tmp_path):
    command = [sys.executable, str(PROGRAM), "--smoke", "--run", "run"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert "run: test top-1" in result.stdout
    assert (tmp_path / "run" / "metrics.json").is_file()
