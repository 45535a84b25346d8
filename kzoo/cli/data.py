"""The commands `kzoo data ...`."""

from pathlib import Path
from typing import Annotated

import typer

import kzoo
from kzoo.cli.options import AsJson, DataDir, ImageSize
from kzoo.cli.showing import lines, show

app = typer.Typer(help="Datasets.", no_args_is_help=True)


@app.command()
def prepare(
    name: str,
    data_dir: DataDir = None,
    archive: Annotated[Path | None, typer.Option(help="The published archive, if you have it.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="Folder or zip laid out split/class/file.")] = None,
    image_size: ImageSize = None,
    as_json: AsJson = False,
) -> None:
    """Write a dataset for tensorflow-datasets (array_record), without TensorFlow."""
    path = kzoo.prepare_dataset(name, data_dir=data_dir, archive=archive, source=source, image_size=image_size)
    show({"directory": path}, as_json, f"Prepared {path}")


@app.command()
def info(data: str, data_dir: DataDir = None, image_size: ImageSize = None, as_json: AsJson = False) -> None:
    """Show a dataset: splits, classes, image size, pixel statistics."""
    summary = kzoo.load_dataset(data, data_dir=data_dir, image_size=image_size).summary()
    show(summary, as_json, lines(summary))
