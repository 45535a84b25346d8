import dataclasses
import io

import pytest
from PIL import Image
from rich.console import Console

from kzoo.parity import TOLERANCES, compare, write_report
from kzoo.parity.report import table_of


def printed(table):
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    return console.file.getvalue()


def test_table_says_where_it_fails(sound, altered):
    text = printed(table_of(compare([sound, altered("masks/block_dropout step 2", "0")])))
    line = next(line for line in text.splitlines() if "block_dropout step 2" in line and "masks" in line)
    assert line.split()[:3] == ["masks", "different", "identical"]
    assert line.rstrip().endswith("FAIL")
    assert "FAILED, first in masks at block_dropout step 2." in text


def test_table_of_a_pass_has_no_failure(sound):
    text = printed(table_of(compare([sound, dataclasses.replace(sound, name="again")])))
    assert "All within tolerance." in text
    assert "FAIL" not in text.upper().replace("ALL WITHIN", "")


def test_report_has_versions_and_every_pair_and_reason(sound, tmp_path):
    recordings = [dataclasses.replace(sound, name=name) for name in ("x", "y", "z")]
    write_report(compare(recordings), tmp_path / "new" / "report.md")
    text = (tmp_path / "new" / "report.md").read_text()
    assert "| quantity | x and y | x and z | y and z | tolerance | where |  | why |" in text
    assert f"keras {sound.environment['versions']['keras']}" in text
    recorded = [quantity for quantity in TOLERANCES if quantity != "drift"]
    assert all(TOLERANCES[quantity].reason in text for quantity in recorded)
    assert not (tmp_path / "new" / "report.png").exists()


@pytest.mark.parametrize("count", [2, 3])
def test_report_shows_the_drift_where_it_was_recorded(recorded, tmp_path, count):
    drifted = recorded(steps=2, drift=True)
    recordings = [dataclasses.replace(drifted, name=name) for name in "xyz"[:count]]
    write_report(compare(recordings), tmp_path / "report.md")
    assert "![drift of the losses](report.png)" in (tmp_path / "report.md").read_text()
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.width > 1000


def test_report_is_markdown(sound, tmp_path):
    comparison = compare([sound, dataclasses.replace(sound, name="again")])
    with pytest.raises(ValueError, match=r"must end in '.md'. Received: '.*report.html'."):
        write_report(comparison, tmp_path / "report.html")
