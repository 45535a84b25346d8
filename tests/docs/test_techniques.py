"""The committed studies, and what the chapter on techniques says of them."""

import csv
import html
import re
from pathlib import Path

import pytest

from kzoo.choices import STUDIES
from kzoo.studies import find_study

DOCS = Path(__file__).parents[2] / "docs"
CHAPTER = (DOCS / "techniques.md").read_text()
CONCLUSION = re.compile(
    r"<strong>Claim:</strong> (?P<claim>.*?)</p>.*?<span class=\"verdict\">(?P<verdict>.*?)\.</span> "
    r"Difference in (?P<of>.*?): (?P<mean>\S+), 95 % interval (?P<low>\S+) to (?P<high>\S+) \(n = (?P<n>\d+)\)"
)


def concluded(name):
    """Returns the conclusions of a report, each as a row of the chapter's table."""
    page = (DOCS / "studies" / name / "report.html").read_text()
    found = [{key: html.unescape(text) for key, text in one.groupdict().items()} for one in CONCLUSION.finditer(page)]
    row = "| {claim} | {of} | {mean} ({low} to {high}) | {n} | {verdict} |"
    return [row.format(**{**one, "verdict": one["verdict"].lower()}) for one in found]


@pytest.mark.parametrize("name", STUDIES)
def test_chapter_says_of_each_claim_what_the_report_says(name):
    rows = concluded(name)
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [
        one.statement for one in find_study(name).claims
    ]
    assert [row for row in rows if row not in CHAPTER] == []


@pytest.mark.parametrize("name", STUDIES)
def test_results_have_each_cell_of_the_study_with_each_seed(name):
    study = find_study(name)
    with (DOCS / "studies" / name / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows} == {str(seed) for seed in range(study.seeds)}
    assert len(rows) == len(study.grid(False)) * study.seeds
    assert {row["smoke"] for row in rows} == {"False"}


def test_reports_name_command_and_versions_and_are_small():
    files = [file for file in (DOCS / "studies").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 5e6
    for name in STUDIES:
        page = (DOCS / "studies" / name / "report.html").read_text()
        assert f"kzoo study {name} --data cifar10-jpeg.zip" in page
        assert "keras 3." in page
        assert not re.search(r"/(home|work|root|tmp|Users)/", page)
