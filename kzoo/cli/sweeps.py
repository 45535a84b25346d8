"""The command `kzoo sweep`, and its table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

import kzoo
from kzoo.cli.interruption import interruption_told
from kzoo.cli.options import (
    AsJson,
    Balance,
    Channels,
    Data,
    DataDir,
    Dropout,
    Flip,
    ImageSize,
    ModelName,
    RecipeOption,
    Resize,
    SkipUnreadable,
)
from kzoo.cli.showing import Name, cell, show, table
from kzoo.sweeps.grid import parse_grid

if TYPE_CHECKING:
    from kzoo.sweeps import Sweep

app = typer.Typer()


@app.command()
def sweep(
    model: ModelName,
    data: Data = "digits",
    recipe: RecipeOption = "default",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Values for a field of the recipe, each of which is tried.", metavar="FIELD=VALUE,VALUE"
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds: 0, 1, ...")] = 3,
    dropout: Dropout = 0.0,
    out: Annotated[Path | None, typer.Option(help="Directory of the sweep.", show_default="sweeps/...")] = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    resize: Resize = "stretch",
    channels: Channels = 3,
    skip_unreadable: SkipUnreadable = False,
    balance: Balance = False,
    flip: Flip = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train by each combination of settings with each seed; the same command goes on."""
    grid = parse_grid(settings or ())
    decoding: Any = {"image_size": image_size, "resize": resize, "channels": channels, "data_dir": data_dir}
    dataset = kzoo.load_dataset(data, **decoding, skip_unreadable=skip_unreadable, balance=balance, flip=flip)
    going: Any = {"directory": out, "retry_failed": retry, "verbose": 0 if quiet else "auto"}
    with interruption_told():
        found = kzoo.sweep(model, dataset, recipe, grid=grid, seeds=seeds, dropout=dropout, **going)
    if as_json or not quiet:
        show_sweep(found, as_json)


def show_sweep(found: "Sweep", as_json: bool) -> None:
    """Prints the table of a sweep, and why trainings failed."""
    show(found.summary(), as_json, _summary_table(found))
    for member in found.failures():
        typer.echo(f"failed: {member.directory}: {member.failure}", err=True)


def _summary_table(found: "Sweep") -> Table:
    summary = found.summary()
    fields = {field: {str(row[field]) for row in summary} for member in found.members for field in member.settings}
    differing = [field for field, values in fields.items() if len(values) > 1]
    extra = [name for name in ("failed", "missing") if any(row[name] for row in summary)]
    rows = table(*map(Name, differing), "validation", "test", "n", *extra)
    for row in summary:
        scores = [_with_deviation(row, name) for name in ("val_accuracy", "test_accuracy")]
        rows.add_row(
            *(cell(str(row[name])) for name in differing), *scores, *(str(row[name]) for name in ("n", *extra))
        )
    same = [f"{field}={values.pop()}" for field, values in fields.items() if field not in differing]
    about = ", ".join([f"{found.about['model']} on {found.about['data']['name']}", *same])
    rows.caption = f"{about}; top-1, mean and standard deviation of n trainings; each in {found.directory}"
    return rows


def _with_deviation(row: dict[str, Any], name: str) -> str:
    mean, deviation = row[f"{name}_mean"], row[f"{name}_deviation"]
    if mean is None:
        return "-"
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} \u00b1 {deviation:.4f}"
