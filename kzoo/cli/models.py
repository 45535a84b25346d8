"""The commands `kzoo list` and `kzoo describe`."""

import dataclasses
from typing import Annotated

import typer
from rich.table import Table

import kzoo
from kzoo.cli.options import AsJson, ModelName
from kzoo.cli.showing import show, table

app = typer.Typer()


@app.command("list")
def list_command(
    pattern: Annotated[str, typer.Argument(help="What the names must match, such as '*_v2'.")] = "*",
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Only those of which there is a preset.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the models."""
    names = kzoo.list_models(pattern, pretrained=pretrained)
    show(names, as_json, "\n".join(names))


@app.command()
def describe(model: ModelName, as_json: AsJson = False) -> None:
    """Describe a model: parameters, multiply-adds, receptive field, layers."""
    description = kzoo.describe(model)
    show(dataclasses.asdict(description), as_json, _layers_table(description))


def _layers_table(description: "kzoo.Description") -> Table:
    rows = table("layer", "class", "output", "parameters", "multiply-adds", "field")
    for layer in description.layers:
        shape = "x".join(map(str, layer.output_shape))
        counts = (f"{layer.parameters:,}", f"{layer.multiply_adds:,}", str(layer.receptive_field))
        rows.add_row(layer.name, layer.kind, shape, *counts)
    rows.caption = (
        f"{description.model}: {description.parameters:,} parameters, {description.multiply_adds:,} multiply-adds an "
        f"image, receptive field {description.receptive_field} pixels, {len(description.layers)} layers"
    )
    return rows
