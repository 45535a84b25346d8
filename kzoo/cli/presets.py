"""The commands `kzoo import` and `kzoo weights ...`."""

import dataclasses
from pathlib import Path
from typing import Annotated, get_args

import typer

import kzoo
from kzoo.choices import LayoutName
from kzoo.cli.options import AsJson, model_option, one_of
from kzoo.cli.showing import lines, show, table

import_app = typer.Typer()
app = typer.Typer(help="Trained weights that kzoo knows by name.", no_args_is_help=True)


@import_app.command("import")
def import_command(
    checkpoint: Annotated[Path, typer.Argument(help="PyTorch checkpoint.")],
    model: Annotated[str, model_option("Name of the model that it belongs to.")],
    layout: Annotated[str, one_of(get_args(LayoutName), "Whose names it has.")],
    out: Annotated[Path, typer.Option(help="The .weights.h5 file to write.")],
    as_json: AsJson = False,
) -> None:
    """Convert a PyTorch checkpoint to a weights file for any backend."""
    imported = kzoo.import_checkpoint(checkpoint, out, model=model, layout=layout)
    summary = {"weights": out, "model": model, "classes": imported.output_shape[-1], "layout": layout}
    show(summary, as_json, f"Wrote {out}: {model}, {summary['classes']} classes", wrap=False)


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the weights: what `--weights` and `weights=` take."""
    entries = [kzoo.weights_info(name) for name in kzoo.list_weights()]
    rows = table("name", "model", "classes", "published top-1", "licence")
    for entry in entries:
        rows.add_row(entry.name, entry.model, str(entry.classes), f"{entry.published_top1:.4f}", entry.licence)
    show([dataclasses.asdict(entry) for entry in entries], as_json, rows)


@app.command()
def info(name: str, as_json: AsJson = False) -> None:
    """Show where weights come from, how they were trained, and how good they are."""
    entry = kzoo.weights_info(name)
    content = dataclasses.asdict(entry) | {"sha256_known": entry.sha256_known, "cached": kzoo.cached_weights(entry)}
    show(content, as_json, lines(content), wrap=False)


@app.command()
def fetch(name: str, as_json: AsJson = False) -> None:
    """Download, verify and convert weights, for use without a network."""
    path = kzoo.fetch_weights(name)
    show({"name": name, "path": path}, as_json, str(path), wrap=False)


@app.command()
def add(file: Path, as_json: AsJson = False) -> None:
    """Put a file of weights, downloaded elsewhere, where kzoo looks for it."""
    name = kzoo.add_weights(file)
    show({"name": name}, as_json, f"Added {name}", wrap=False)
