import subprocess
import sys
from pathlib import Path

import keras

PROGRAM = Path(__file__).parents[2] / "applications" / "parity_study.py"
ROW = "backend,model,epochs,seed,test_accuracy,seconds\nother,resnet8,1,0,0.1,1.0\n"


def run_study(folder):
    command = [sys.executable, str(PROGRAM), "--smoke", "--results", "study.csv"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_parity_study_smoke_adds_its_rows_once(tmp_path):
    backend = keras.backend.backend()
    (tmp_path / "study.csv").write_text(ROW)
    assert f"{backend} seed 1: top-1" in run_study(tmp_path)
    rows = (tmp_path / "study.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["other", backend, backend]
    again = run_study(tmp_path)
    assert "seed" not in again.replace("seeds", "")
    assert f"other and {backend}: " in again
    assert (tmp_path / "study.csv").read_text().splitlines() == rows
