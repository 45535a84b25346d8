"""The same training on three backends, recorded on each by the command line and compared."""

import itertools
import json
import os
import subprocess

import pytest
from backends import BACKENDS, run_on

pytestmark = pytest.mark.cross


@pytest.fixture(params=["on", "off"], autouse=True)
def acceleration(request, monkeypatch):
    """Backends agree by their accelerations, and by the definitions alone."""
    monkeypatch.setenv("KZOO_ACCELERATION", request.param)


COMMAND = "import sys; from kzoo.cli import main; sys.argv[0] = 'kzoo'; main()"


@pytest.fixture
def compared(tmp_path):
    """Records on each backend and returns the comparison's JSON: quantity and pair to row."""

    def compare(*options):
        paths = [tmp_path / f"{backend}.npz" for backend in BACKENDS]
        for backend, path in zip(BACKENDS, paths, strict=True):
            run_on(backend, COMMAND, "parity", "record", path, "--device", "cpu", *options, timeout=3600)
        command = [os.environ["KZOO_PYTHON_TORCH"], "-c", COMMAND, "parity", "compare", *map(str, paths), "--json"]
        environment = {**os.environ, "KERAS_BACKEND": "torch"}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert result.stdout, result.stderr
        content = json.loads(result.stdout)
        assert content["passed"] is (result.returncode == 0)
        return {(row["quantity"], tuple(row["between"])): row for row in content["pairs"]}

    return compare


IDENTICAL = ("initial weights", "batches", "masks", "learning rates", "early stopping")
WITHIN_1E9 = ("logits", "gradients", "batch statistics", "first update", "losses", "final weights", "predictions")


def check_float64(rows):
    for pair in itertools.combinations(BACKENDS, 2):
        assert {quantity: rows[quantity, pair]["difference"] for quantity in IDENTICAL} == dict.fromkeys(IDENTICAL, 0)
        beyond = [rows[quantity, pair] for quantity in WITHIN_1E9 if not rows[quantity, pair]["difference"] <= 1e-9]
        assert beyond == []


def test_ten_steps_agree_in_float64(compared):
    check_float64(compared("--model", "plain20", "--steps", "10", "--image-size", "16"))


@pytest.mark.slow
def test_fifty_steps_of_resnet20_agree_in_float64(compared):
    check_float64(compared("--model", "resnet20", "--steps", "50"))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["plain20", "resnet20_v2", "wide_resnet16_4"])
def test_ten_steps_of_other_forms_agree_in_float64(compared, model):
    check_float64(compared("--model", model, "--steps", "10"))


def check_float32(rows):
    """Of 5 million units a few are within 1e-6 of 0: no two processors round them all to the same side."""
    for pair in itertools.combinations(BACKENDS, 2):
        assert rows["masks", pair]["difference"] == 0
        assert rows["logits", pair]["difference"] <= 1e-5
        assert rows["active units", pair]["difference"] <= 1e-4
        assert rows["gradients", pair]["difference"] <= (1e-4 if rows["active units", pair]["difference"] == 0 else 0.1)
        assert rows["batch statistics", pair]["difference"] <= 1e-4


def test_first_step_agrees_in_float32(compared):
    check_float32(compared("--model", "resnet20", "--steps", "1", "--dtype", "float32", "--image-size", "16"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_first_step_on_whole_images_agrees_in_float32(compared, seed):
    check_float32(compared("--model", "resnet20", "--steps", "1", "--dtype", "float32", "--seed", str(seed)))
