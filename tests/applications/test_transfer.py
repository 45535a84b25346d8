import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import kzoo

PROGRAM = Path(__file__).parents[2] / "applications" / "transfer.py"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("transfer", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_transfer_smoke(tmp_path):
    command = [sys.executable, str(PROGRAM), "--smoke", "--out", "runs"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    found = dict(re.findall(r"^(new head|all of it).*: test top-1 ([\d.]+)", result.stdout, re.MULTILINE))
    assert float(found["new head"]) > 0.3  # of five classes: chance is 0.2
    assert float(found["all of it"]) > 0.65
    assert kzoo.Run(tmp_path / "runs" / "whole").class_names == tuple("56789")


def test_head_phase_changes_the_head_alone_and_no_phase_the_statistics(program, tmp_path):
    digits = program.part_of(kzoo.load_dataset("digits", image_size=(8, 8)), range(5, 10))
    kzoo.save_weights(kzoo.resnet(8, classes=3, seed=1), tmp_path / "m.weights.h5")
    features = kzoo.resnet(
        8, weights=tmp_path / "m.weights.h5", input_shape=(8, 8, 3), include_top=False, pooling="avg"
    )
    before = {weight.path: keras.ops.convert_to_numpy(weight) for weight in features.weights}
    trained = {weight.path for weight in features.weights if weight.path.endswith("/kernel")}
    recipe = kzoo.recipe("default").override(epochs=1, learning_rate=0.05, patience=0)
    first, _ = program.transfer(features, digits, recipe, recipe, seed=0, out=tmp_path)
    frozen = first.load_model().get_layer(features.name)
    for weight in frozen.weights:
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), before[weight.path])
    for weight in features.weights:
        changed = not np.array_equal(keras.ops.convert_to_numpy(weight), before[weight.path])
        assert changed is (weight.path in trained), weight.path
