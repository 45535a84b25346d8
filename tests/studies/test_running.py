import csv
import dataclasses
import re

import numpy as np
import pytest
from PIL import Image
from toy_study import toy

from kzoo.choices import STUDIES
from kzoo.errors import TrainingInterrupted
from kzoo.studies import find_study, run_study
from kzoo.studies.bench import Bench


def test_study_writes_table_charts_and_report(tmp_path, bench):
    found = run_study(toy(), directory=tmp_path / "toy", bench=bench, verbose=0)
    with (tmp_path / "toy" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["on"], row["seed"], row["loss"]) for row in rows[:2]] == [("0", "0", "0.0"), ("0", "1", "0.01")]
    assert {row["data"] for row in rows} == {"digits"}
    assert len(rows) == len(found.rows) == 6
    assert [conclusion.verdict for _, conclusion in found.conclusions] == ["supported"]
    assert {file.name for file in (tmp_path / "toy").glob("*.png")} == {"loss.png", "loss-dark.png"}
    with Image.open(tmp_path / "toy" / "loss.png") as picture:
        assert picture.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)  # legible on a dark page, too


def test_report_says_what_the_numbers_say_and_asks_nobody(tmp_path, bench):
    run_study(toy(), directory=tmp_path / "toy", bench=bench, verbose=0)
    page = (tmp_path / "toy" / "report.html").read_text()
    assert "Is it &lt;worth&gt; it?" in page
    assert '<span class="verdict">Supported.</span>' in page
    assert "95 % interval +1 to +1 (n = 3)" in page
    assert page.count("data:image/png;base64,") == 2
    assert re.findall(r"https?://|<script|@import|url\(", page) == []


def test_report_says_where_the_claim_is_wrong(tmp_path, bench):
    wrong = toy(lambda bench, settings, seed: {"loss": -settings["on"] + 0.01 * seed})
    run_study(wrong, directory=tmp_path / "toy", bench=bench, verbose=0)
    assert '<span class="verdict">Contradicted.</span>' in (tmp_path / "toy" / "report.html").read_text()


def test_study_goes_on_cell_by_cell(tmp_path, bench):
    measured = []

    def measure(bench, settings, seed):
        if len(measured) == 4:
            measured.append(None)
            raise KeyboardInterrupt
        measured.append((settings["on"], seed))
        return {"loss": float(seed)}

    with pytest.raises(TrainingInterrupted, match="4 of its 6 cells are measured. To go on, the same again"):
        run_study(toy(measure), directory=tmp_path / "toy", bench=bench, verbose=0)
    found = run_study(toy(measure), directory=tmp_path / "toy", bench=bench, verbose=0)
    assert measured == [(0, 0), (0, 1), (0, 2), (1, 0), None, (1, 1), (1, 2)]
    assert len(found.rows) == 6
    more = run_study(toy(measure), directory=tmp_path / "toy", bench=bench, verbose=0, seeds=4)
    assert measured[7:] == [(0, 3), (1, 3)]
    assert len(more.rows) == 8


def test_number_that_is_not_finite_is_no_number(tmp_path, bench):
    broken = toy(lambda bench, settings, seed: {"loss": float("nan"), "curve": [np.inf, 1.0]})
    found = run_study(broken, directory=tmp_path / "toy", bench=bench, verbose=0)
    assert found.rows[0]["loss"] is None
    assert found.rows[0]["curve"] == [None, 1.0]
    assert found.conclusions[0][1].left_out == 3


def test_folder_of_another_study_is_told(tmp_path, bench):
    run_study(toy(), directory=tmp_path, bench=bench, verbose=0)
    other = dataclasses.replace(toy(), name="other")
    with pytest.raises(ValueError, match="must be of the same study: another study needs another directory. Received:"):
        run_study(other, directory=tmp_path, bench=bench, verbose=0)


def test_cell_that_was_changed_is_told(tmp_path, bench):
    run_study(toy(), directory=tmp_path, bench=bench, verbose=0)
    cell = tmp_path / "cells" / "on=0-seed0.json"
    cell.write_text(cell.read_text().replace('"seed": 0', '"seed": 7'))
    with pytest.raises(ValueError, match="must be the cell of {'on': 0}, seed 0. Received: {'on': 0}, seed 7."):
        run_study(toy(), directory=tmp_path, bench=bench, verbose=0)


def test_folder_with_other_content_is_told(tmp_path, bench):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="needs a new or empty directory. Received: .*, which has content."):
        run_study(toy(), directory=tmp_path, bench=bench, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"study": "dropuot"}, "Received: name='dropuot'. Did you mean 'dropout'?"),
        ({"seeds": 0}, "`seeds` must be at least 1. Received: seeds=0."),
        ({"seeds": [1, 1]}, "`seeds` must be a number of seeds, or a list of different ones."),
        ({"smoke": "yes"}, "`smoke` must be True or False. Received: smoke='yes'."),
        ({"verbose": 3}, "`verbose` must be one of 'auto', 0, 1, 2. Received: verbose=3."),
        ({"directory": ""}, "`directory` must be a path."),
    ],
)
def test_what_a_study_does_not_take_is_told(arguments, message, bench):
    with pytest.raises(ValueError, match=re.escape(message)):
        run_study(**{"study": toy(), "bench": bench, "verbose": 0, **arguments})


@pytest.mark.parametrize("name", STUDIES)
def test_study_reads_like_its_question(name):
    study = find_study(name)
    assert study.name == name
    assert all((study.title, study.question, study.varies, study.held, study.measured, study.reference))
    assert len(study.claims) >= 4
    assert all(claim.statement.endswith(".") and claim.refuted_by.endswith(".") for claim in study.claims)
    cells = [tuple(settings.items()) for settings in study.grid(False)]
    assert len(set(cells)) == len(cells)


def states(smoke):
    return [{"part": "state", "norm": norm, "rate": 0.05, "batch_size": 32} for norm in ("batch", "none")]


STATES = dataclasses.replace(find_study("batch_norm"), grid=states)


def verdicts(found):
    return [conclusion.verdict for _, conclusion in found.conclusions]


def test_study_of_the_same_seeds_gives_the_same_table(tmp_path, bench):
    for folder in ("one", "two"):
        run_study(STATES, directory=tmp_path / folder, bench=bench, seeds=1, verbose=0)
    tables = [(tmp_path / folder / "results.csv").read_bytes() for folder in ("one", "two")]
    assert tables[0] == tables[1]


def test_dependence_on_the_batch_is_supported(tmp_path, bench):
    assert verdicts(run_study(STATES, directory=tmp_path, bench=bench, seeds=5, verbose=0))[2] == "supported"


@pytest.mark.parametrize("always", ["batch", None])
def test_switch_that_is_wired_to_nothing_supports_nothing(tmp_path, bench, monkeypatch, always):
    right = Bench.network

    def miswired(self, **form):
        return right(self, **{**form, "normalization": always})

    monkeypatch.setattr(Bench, "network", miswired)
    found = verdicts(run_study(STATES, directory=tmp_path, bench=bench, seeds=3, verbose=0))
    assert "supported" not in found
