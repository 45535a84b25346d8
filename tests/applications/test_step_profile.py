import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

PROGRAM = Path(__file__).parents[2] / "applications" / "step_profile.py"
SMALL = ["--model", "resnet8", "--batch-size", "8", "--steps", "2", "--top", "3"]
BACKEND = keras.backend.backend()


def profiled(*arguments):
    """Runs the program, and returns the rows of its two tables: lists of cells."""
    command = [sys.executable, str(PROGRAM), *SMALL, *arguments]
    environment = {**os.environ, "KERAS_BACKEND": BACKEND}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    tables = result.stdout.strip().split("\n\n")
    return [[row.strip("| ").split(" | ") for row in table.splitlines()[2:]] for table in tables]


@pytest.mark.parametrize("library", ["kzoo", "keras"])
def test_groups_add_up_to_the_step(library):
    groups, operations = profiled("--library", library)
    spent = {row[-1]: float(row[0]) for row in groups}
    whole = spent.pop("a step")
    assert sum(spent.values()) == pytest.approx(whole, abs=0.06 * len(spent))
    assert any("convolutions" in name for name in spent)
    assert sum(name != "the rest" for name in spent) >= 3
    assert len(operations) == 3


@pytest.mark.skipif(BACKEND != "torch", reason="plain PyTorch")
def test_plain_pytorch_is_recorded_too():
    groups, _ = profiled("--library", "pytorch", "--bfloat16")
    assert {"convolutions", "gradients of convolutions", "batch normalization"} <= {row[-1] for row in groups}
