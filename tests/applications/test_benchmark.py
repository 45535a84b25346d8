import json
import os
import subprocess
import sys
from pathlib import Path

import keras

PROGRAM = Path(__file__).parents[2] / "applications" / "benchmark.py"


def test_benchmark_measures_the_backend_in_use(tmp_path):
    small = ["--depths", "8", "--batch-sizes", "4", "--rounds", "2", "--images", "8", "--threads", "1", "--out", "out"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KZOO_PYTHON_")}
    result = subprocess.run(
        [sys.executable, str(PROGRAM), *small],
        cwd=tmp_path,
        env={**environment, "KERAS_BACKEND": keras.backend.backend(), "PYTHONSAFEPATH": "1"},  # as tox sets it
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "out" / "benchmark.json").read_text())["rows"]
    programs = {row["case"][-1] for row in rows}
    assert {"kzoo train", "keras train", "kzoo inference", "keras inference", "kzoo folded"} <= programs
    assert ("pytorch train" in programs) == (keras.backend.backend() == "torch")
    assert all(len(row["images_per_second"]) == 2 and row["median"] > 0 for row in rows)
    assert (tmp_path / "out" / "benchmark.png").stat().st_size > 1000
