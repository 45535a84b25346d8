from pathlib import Path

import numpy as np
import pytest

import kzoo

FOLDER = Path(__file__).parents[2] / "applications"
pytest.importorskip("torch", reason="the row is PyTorch's")


def test_row_of_plain_pytorch_answers_as_the_model(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from export_table import in_plain_torch

    model = kzoo.load_preset("digits/resnet20")  # whose mean and deviation are its own
    (row,) = in_plain_torch(model)
    images = np.random.RandomState(0).randint(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    expected = model.predict(images, verbose=0)
    assert np.abs(row.answer(images) - expected).max() <= 1e-4 * np.abs(expected).max()
    assert in_plain_torch(kzoo.wide_resnet(16, 2)) == []
