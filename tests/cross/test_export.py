"""What any backend trains, TensorFlow writes and reads alike."""

import json
import os

import pytest
from backends import BACKENDS, run_on

pytestmark = pytest.mark.cross

TRAIN_AND_EXPORT = """
import dataclasses, json, sys, kzoo
recipe = dataclasses.replace(kzoo.recipe("default"), epochs=1, learning_rate=0.02, patience=None)
dataset = kzoo.load_dataset("digits", image_size=(16, 16))
model = kzoo.resnet(8, input_shape=dataset.image_shape, dropout=0.1)
run = kzoo.fit(model, dataset, recipe, run_dir=sys.argv[1], verbose=0)
kzoo.export_saved(run.directory, sys.argv[2], name="digits", python=sys.argv[3])
assert "tensorflow" not in sys.modules or kzoo.Run(sys.argv[1]).metrics["backend"] == "tensorflow"
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_saved_model_answers_as_the_backend_that_trained_it(backend, tmp_path):
    python = os.environ["KZOO_PYTHON_TENSORFLOW"]
    run_on(backend, TRAIN_AND_EXPORT, tmp_path / "run", tmp_path / "exports", python)
    exported = tmp_path / "exports" / "digits" / "1"
    verification = json.loads((exported / "verification.json").read_text())
    assert verification["largest_difference"] <= 1e-5 * verification["largest_logit"]
    card = json.loads((exported / "card.json").read_text())
    assert (card["source_backend"], card["metrics"]["epochs_run"]) == (backend, 1)
