"""The files for citing and reporting say what is true of this version."""

import re
from pathlib import Path

import pytest

import kzoo

ROOT = Path(__file__).parents[1]
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_citation_names_this_version_and_licence():
    text = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.*)$", text, re.MULTILINE) == [kzoo.__version__]
    assert re.findall(r"^license: (.*)$", text, re.MULTILINE) == ["Apache-2.0"]
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_report_of_a_bug_asks_for_the_versions():
    assert "`kzoo doctor`" in (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text()


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.stem)
def test_template_is_a_form(file):
    text = file.read_text()
    if file.stem == "config":
        assert text == "blank_issues_enabled: false\n"
        return
    assert re.search(r"^name: .+\ndescription: .+\nlabels: \[\w+\]\nbody:\n", text)
    identifiers = re.findall(r"^    id: (\w+)$", text, re.MULTILINE)
    assert len(identifiers) == len(set(identifiers)) >= 3
