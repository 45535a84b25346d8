import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import keras
import pytest

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
    assert {
        "kzoo train",
        "kzoo train augmented",
        "keras train",
        "kzoo inference",
        "keras inference",
        "kzoo folded",
    } <= programs
    assert ("pytorch train" in programs) == (keras.backend.backend() == "torch")
    assert ("keras without oneDNN train" in programs) == (keras.backend.backend() == "tensorflow")
    assert all(len(row["images_per_second"]) == 2 and row["median"] > 0 for row in rows)
    (kzoo,) = (row for row in rows if row["case"][-1] == "kzoo train")
    (keras_,) = (row for row in rows if row["case"][-1] == "keras train")
    ratios = [a / b for a, b in zip(kzoo["images_per_second"], keras_["images_per_second"], strict=True)]
    found = kzoo["ratios"][f"Keras on {keras.backend.backend()}"]
    assert found["median"] == pytest.approx(statistics.median(ratios))
    assert min(ratios) <= found["at_least"] <= found["median"]
    assert (tmp_path / "out" / "benchmark.png").stat().st_size > 1000
