"""What commands print: JSON for programs, tables and text for people."""

import json
import math
import os
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table


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
        typer.echo(json.dumps(json_form(content), indent=2))
    elif wrap:
        Console().print(readable)
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
