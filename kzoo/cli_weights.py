"""The commands `kzoo import` and `kzoo weights ...`."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

import kzoo

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

weights_app = typer.Typer(help="Trained weights that kzoo knows by name.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command("import")(import_command)
    app.add_typer(weights_app, name="weights")


def import_command(
    checkpoint: Annotated[Path, typer.Argument(help="PyTorch checkpoint.")],
    model: Annotated[str, typer.Option(help="Name of the model that it belongs to.")],
    layout: Annotated[str, typer.Option(help="Whose names it has: akamaster or chenyaofo.")],
    out: Annotated[Path, typer.Option(help="The .weights.h5 file to write.")],
    as_json: AsJson = False,
) -> None:
    """Convert a PyTorch checkpoint to a weights file for any backend."""
    imported = kzoo.import_checkpoint(checkpoint, out, model=model, layout=layout)
    summary = {"weights": str(out), "model": model, "classes": imported.output_shape[-1], "layout": layout}
    _show(summary, as_json, f"Wrote {out}: {model}, {summary['classes']} classes")


@weights_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the weights: what `--weights` and `weights=` take."""
    entries = [kzoo.weights_info(name) for name in kzoo.list_weights()]
    table = Table("name", "model", "classes", "published top-1", "licence", box=box.SIMPLE, pad_edge=False)
    for entry in entries:
        table.add_row(entry.name, entry.model, str(entry.classes), f"{entry.published_top1:.4f}", entry.licence)
    _show([dataclasses.asdict(entry) for entry in entries], as_json, table)


@weights_app.command()
def info(name: str, as_json: AsJson = False) -> None:
    """Show where weights come from, how they were trained, and how good they are."""
    entry = kzoo.weights_info(name)
    cached = kzoo.cached_weights(entry)
    content = dataclasses.asdict(entry) | {"sha256_known": entry.sha256_known, "cached": cached and str(cached)}
    _show(content, as_json, "\n".join(f"{key}: {value}" for key, value in content.items()))


@weights_app.command()
def fetch(name: str, as_json: AsJson = False) -> None:
    """Download, verify and convert weights, for use without a network."""
    path = kzoo.fetch_weights(name)
    _show({"name": name, "path": str(path)}, as_json, str(path))


@weights_app.command()
def add(file: Path, as_json: AsJson = False) -> None:
    """Put a file of weights, downloaded elsewhere, where kzoo looks for it."""
    name = kzoo.add_weights(file)
    _show({"name": name}, as_json, f"Added {name}")


def _show(content: Any, as_json: bool, readable: Any) -> None:
    if as_json:
        typer.echo(json.dumps(content, indent=2))
    else:
        Console(highlight=False).print(readable, markup=False, soft_wrap=isinstance(readable, str))
