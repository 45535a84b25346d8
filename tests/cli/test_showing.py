from pathlib import Path

import numpy as np
import pytest

from kzoo.cli.showing import Name, cell, json_form, lines, show, table

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


@pytest.mark.parametrize(
    ("name", "expected"), [("train_seconds", "73.1"), ("images_per_second", "73.1"), ("test_loss", "73.1160")]
)
def test_cell_shows_one_decimal_of_times_and_speeds(name, expected):
    assert cell(73.116, name) == expected


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


@pytest.mark.parametrize("columns", ["20", "200"])
def test_caption_is_a_line_of_its_own(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    rows = table("a")
    rows.add_row("b")
    rows.caption = LONG
    show({}, False, rows)
    assert LONG in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("22", ["pixel_normalization.", "mean"]),
        ("16", ["pixel_", "normalization.", "mean"]),
        ("10", ["pixel_", "normaliz", "ation.", "mean"]),
    ],
)
def test_name_breaks_between_words_as_long_as_it_can(columns, expected, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    rows = table("")
    rows.add_row(Name("pixel_normalization.mean"))
    show({}, False, rows)
    assert [line.strip() for line in capsys.readouterr().out.splitlines()[3:-1]] == expected


def test_control_characters_reach_no_terminal(capsys):
    rows = table("name")
    rows.add_row(cell("\x1b]52;c;a\x07"))
    rows.add_row(Name("a\x1b[2J"))
    show({}, False, rows)
    show({}, False, "b\x1b[2J\r\x9b")
    show({}, False, "c\x1b[2J", wrap=False)
    assert not set(capsys.readouterr().out) & set("\x1b\x07\r\x9b")
