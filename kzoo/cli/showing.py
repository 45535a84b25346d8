"""What commands print: JSON for programs, tables and text for people.

Names of files, runs, classes and data are shown as they are: nothing in them is taken for Rich's markup.
"""

import contextlib
import json
import math
import os
import sys
from typing import Any, TextIO

import typer
from rich import box
from rich.console import Console
from rich.table import Table

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
        readable: Table or text to print otherwise.
        wrap: Boolean, whether text is wrapped at words and coloured for the terminal, or printed as it is. Defaults to
            `True`.
    """
    if as_json:
        typer.echo(json.dumps(json_form(content), indent=2), file=_kept[-1] if _kept else None)
    elif wrap:
        Console(markup=False, emoji=False).print(readable)
    else:
        typer.echo(readable)


def table(*columns: str) -> Table:
    """Returns an empty table whose cells are folded, not cut, where the terminal is narrow."""
    empty = Table(*columns, box=box.SIMPLE, caption_justify="left", pad_edge=False)
    for column in empty.columns:
        column.overflow = "fold"
    return empty


def cell(value: Any) -> str:
    """Returns a value for a table: four decimals of a float."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def lines(content: dict[str, Any]) -> str:
    """Returns a line `key: value` for each item."""
    return "\n".join(f"{key}: {value}" for key, value in content.items())


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
