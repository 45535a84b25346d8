"""The commands `kzoo export` and `kzoo serve`."""

import dataclasses
import signal
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

import kzoo
from kzoo.choices import Format
from kzoo.cli.options import AsJson, model_option, one_of
from kzoo.cli.showing import show
from kzoo.serving.limits import Limits

app = typer.Typer()


@app.command()
def export(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Run directory, preset, or weights file.")],
    out: Annotated[Path, typer.Option(help="Folder of all exports.")],
    format_name: Annotated[str, one_of(get_args(Format), "What to write.", "--format")] = "saved_model",
    name: Annotated[str | None, typer.Option(help="What servers call it.", show_default="the model's name")] = None,
    version: Annotated[int, typer.Option(help="1 or larger; an existing one is never overwritten.")] = 1,
    fold: Annotated[bool, typer.Option("--fold/--no-fold", help="Fold batch norm into the convolutions.")] = True,
    python: Annotated[Path | None, typer.Option(help="Interpreter that has TensorFlow.", show_default="this")] = None,
    model: Annotated[str | None, model_option("Name of the model that a weights file belongs to.")] = None,
    data: Annotated[str | None, typer.Option(help="Dataset to verify with.", show_default="the run's")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of prepared datasets.")] = None,
    as_json: AsJson = False,
) -> None:
    """Export a model for servers and other runtimes, and verify it there."""
    dataset = _dataset_for(source, data, data_dir) if data else None
    options: dict[str, Any] = {"format": format_name, "name": name, "version": version, "fold": fold, "python": python}
    exported = kzoo.export_saved(source, out, model=model, dataset=dataset, **options)
    difference = f"largest difference {exported.largest_difference:.3g}, largest logit {exported.largest_logit:.4g}"
    readable = f"Exported {exported.directory}\nRead back by {exported.runtime}: {difference}"
    show(dataclasses.asdict(exported), as_json, readable, wrap=False)


def _dataset_for(source: str, data: str, data_dir: Path | None) -> Any:
    """Loads a dataset as the model of a run or preset takes it."""
    from kzoo.presets import is_preset

    if is_preset(source):
        decoding = dataclasses.asdict(kzoo.Preset(source).decoding())
        return kzoo.load_dataset(data, data_dir=data_dir, cache=False, **decoding)
    load = kzoo.Run(source).load_dataset if Path(source).is_dir() else kzoo.load_dataset
    return load(data, data_dir=data_dir, cache=False)


@app.command()
def serve(
    directory: Annotated[Path, typer.Argument(metavar="EXPORT_DIR", help="An export, or the folder of its versions.")],
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen at; the default is this machine alone.")] = "127.0.0.1",
    max_body_bytes: Annotated[int, typer.Option(help="Largest request.")] = Limits.body_bytes,
    max_batch: Annotated[int, typer.Option(help="Most images in a request.")] = Limits.batch,
    max_pixels: Annotated[int, typer.Option(help="Largest image to decode.")] = Limits.pixels,
) -> None:
    """Serve an export over HTTP (V1 and Open Inference protocols, and a page) until interrupted."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which the server hears, and finishes its requests
    kzoo.serve(directory, host=host, port=port, limits=Limits(max_body_bytes, max_batch, max_pixels))
