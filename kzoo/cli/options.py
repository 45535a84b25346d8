"""Options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Data = Annotated[str, typer.Option(help="Name of a dataset, or path of a folder or zip.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of prepared datasets.", show_default="~/tensorflow_datasets")
]
Dropout = Annotated[float, typer.Option(help="Fraction dropped inside each block.")]
ImageSize = Annotated[int | None, typer.Option(help="Resize images to a square of that many pixels.")]
Seed = Annotated[int, typer.Option(help="Of weights, batches and masks.")]


def square(size: int | None) -> tuple[int, int] | None:
    """Returns an `ImageSize` as the library takes it: height and width."""
    return None if size is None else (size, size)
