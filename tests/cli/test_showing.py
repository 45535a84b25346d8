from pathlib import Path

import numpy as np
import pytest

from kzoo.cli.showing import cell, json_form, lines, show, table

LONG = "a sentence of more than twenty letters"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (np.float32("inf"), None),
        (np.float32(0.5), 0.5),
        ({"a": (1, [float("nan"), Path("b")])}, {"a": [1, [None, "b"]]}),
        (np.array([[1, 2]]), [[1, 2]]),
        ("text", "text"),
        (True, True),
    ],
)
def test_json_form_holds_what_json_can(value, expected):
    assert json_form(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(0.123456, "0.1235"), (3, "3"), (None, "None")])
def test_cell_shows_four_decimals_of_a_float(value, expected):
    assert cell(value) == expected


def test_lines_shows_an_item_a_line():
    assert lines({"a": 1, "b": "c"}) == "a: 1\nb: c"


@pytest.mark.parametrize(("wrap", "count"), [(True, 2), (False, 1)])
def test_show_wraps_text_unless_told(wrap, count, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    show({}, False, LONG, wrap=wrap)
    assert len(capsys.readouterr().out.splitlines()) == count


def test_show_prints_json_instead(capsys):
    show({"a": float("nan")}, True, LONG)
    assert capsys.readouterr().out == '{\n  "a": null\n}\n'


def test_table_folds_what_is_too_long(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    rows = table("letters")
    rows.add_row("x" * 30)
    show({}, False, rows)
    assert capsys.readouterr().out.count("x") == 30
