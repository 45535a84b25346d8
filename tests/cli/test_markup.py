"""Names that look like Rich's markup are shown as they are."""

import numpy as np
import pytest
from commands import kzoo_command

import kzoo
from kzoo.parity import Comparison, Recording, Row
from kzoo.parity.report import table_of

NAMES = ["dog [old]", "[bold]cat[/bold]", "[/x]", ":cat:", "[link=http://a.b]c[/link]"]


@pytest.mark.parametrize("name", NAMES)
def test_class_is_shown_as_it_is(name, monkeypatch):
    result = kzoo.Evaluation(1, 0.5, 1.0, 1.0, {name: 1.0}, np.ones((1, 1), np.int64))
    monkeypatch.setattr(kzoo, "evaluate_saved", lambda *arguments, **options: result)
    assert name in kzoo_command("evaluate", "run").stdout


@pytest.mark.parametrize("name", NAMES)
def test_file_and_class_of_a_prediction_are_shown_as_they_are(name, monkeypatch):
    predictions = [kzoo.Prediction(f"photo {name}.png", (name,), (1.0,))]
    monkeypatch.setattr(kzoo, "predict_files", lambda *arguments, **options: predictions)
    monkeypatch.setattr("kzoo.training.sources.run_or_preset", lambda source: source)
    output = kzoo_command("predict", "run", "a.png").stdout
    assert f"photo {name}.png" in output
    assert output.count(name) == 2


@pytest.mark.parametrize("name", NAMES)
def test_data_are_shown_as_they_are(name, monkeypatch):
    split = kzoo.Split(np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 1]))
    dataset = kzoo.Dataset(name, (name, "other"), split, split, split, flip=False)
    monkeypatch.setattr(kzoo.data, "load_dataset", lambda *arguments, **options: dataset)
    assert f"name: {name}" in kzoo_command("data", "info", "data").stdout


@pytest.mark.parametrize("name", NAMES)
def test_recording_is_shown_as_it_is(name, capsys):
    from rich.console import Console

    row = Row("losses", (name, "b"), 0.0, 0.0, f"step {name}", True)
    recordings = tuple(Recording(each, {}, {}, {}) for each in (name, "b"))
    Console(width=200).print(table_of(Comparison(recordings, (row,), (row,))))
    assert capsys.readouterr().out.count(name) == 2
