"""What commands print: JSON for programs, tables and text for people.

Names of files, runs, classes and data are shown as they are: nothing in them is taken for Rich's markup.
"""

import contextlib
import json
import math
import os
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from kzoo.durable import told

_kept: list[TextIO] = []  # the standard output of commands that print JSON, innermost last


def keep_for_json(context: typer.Context, wanted: bool) -> bool:
    """Keeps standard output for the JSON of a command: what else is printed goes to standard error."""
    if wanted:
        _kept.append(sys.stdout)
        context.call_on_close(_kept.pop)
        context.with_resource(contextlib.redirect_stdout(sys.stderr))
    return wanted


def show(content: Any, as_json: bool, readable: Table | str, *, wrap: bool = True) -> None:
    """Prints one of two forms of the same.

    Args:
        content: What `json_form` takes.
        as_json: Boolean, whether to print that, as JSON.
        readable: Table or text to print otherwise. A table's caption follows it as a line of its own, since Rich would
            wrap it to the table's width.
        wrap: Boolean, whether text is wrapped at words and coloured for the terminal, or printed as it is. Defaults to
            `True`.
    """
    readable = printable(readable) if isinstance(readable, str) else readable
    with told("standard output"):
        if as_json:
            typer.echo(json.dumps(json_form(content), indent=2), file=_kept[-1] if _kept else None)
        elif wrap:
            _print(Console(markup=False, emoji=False), readable)
        else:
            typer.echo(readable)


def printable(text: str) -> str:
    """Returns a text with control characters but line feeds and tabs as escapes: terminals obey them."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)


def _print(console: Console, readable: Table | str) -> None:
    if isinstance(readable, str) or readable.caption is None:
        console.print(readable)
        return
    caption, readable.caption = readable.caption, None
    console.print(readable)
    console.print(caption, soft_wrap=not console.is_terminal)  # what is no terminal has no width


class Name:
    """A name or path in a table. Where it is too long it breaks at the marks between its words, if that suffices.

    Args:
        text: String.
    """

    def __init__(self, text: str) -> None:
        text = printable(text)
        self._words = re.findall(r"[^._/-]+[._/-]*|[._/-]+", text) or [text]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [""]
        for word in self._words:
            if lines[-1] and cell_len(lines[-1] + word) > options.max_width:
                lines.append("")
            lines[-1] += word
        yield Text("\n".join(lines), overflow="fold")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(max(map(cell_len, self._words)), cell_len("".join(self._words)))


def table(*columns: str | Name) -> Table:
    """Returns an empty table whose cells are folded, not cut, where the terminal is narrow."""
    empty = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        empty.add_column(column, overflow="fold")
    return empty


def cell(value: Any, name: str = "") -> str:
    """Returns a value for a table: four decimals of a float, or one if `name` ends in the unit of a time or speed."""
    if not isinstance(value, float):
        return printable(str(value))
    return f"{value:.1f}" if name.endswith(("_seconds", "_per_second")) else f"{value:.4f}"


def lines(content: Mapping[str, Any], before: str = "") -> str:
    """Returns a line `key: value` for each item, `key.inner: value` for what is inside of one, `none` if nothing is."""
    found = []
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            found.append(lines(value, f"{before}{key}."))
        else:
            listed = isinstance(value, Mapping | list | tuple)
            said = ", ".join(map(str, value)) or "none" if listed else value
            found.append(f"{before}{key}: {said}")
    return "\n".join(found)


def json_form(value: Any) -> Any:
    """Returns a value for `json.dumps`: JSON has no NaN, and types of NumPy and paths are not its own."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: json_form(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_form(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
