"""What the documents name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?", (ROOT / "docs" / "faults.md").read_text())


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_table_of_faults_names_tests(file, name):
    assert not name or f"def {name}(" in (ROOT / file).read_text()
    assert (ROOT / file).is_file()


def test_table_of_faults_is_long():
    assert len(NAMED) > 30
