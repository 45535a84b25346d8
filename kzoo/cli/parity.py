"""The commands `kzoo parity ...`."""

import os
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

import kzoo
from kzoo.choices import Device, Dtype
from kzoo.cli.options import AsJson, Data, Dropout, ImageSize, Seed, model_option, one_of
from kzoo.cli.showing import show

app = typer.Typer(help="Whether backends compute the same.", no_args_is_help=True)


@app.command()
def record(
    out: Annotated[Path, typer.Argument(help="The .npz to write.")],
    model: Annotated[str, model_option("Name of a model.")] = "resnet20",
    data: Data = "digits",
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 50,
    dtype: Annotated[str, one_of(get_args(Dtype), "What to compute in.")] = "float64",
    device: Annotated[
        str | None, one_of(get_args(Device), "Where to compute.", show_default="gpu if there is one")
    ] = None,
    dropout: Dropout = 0.1,
    seed: Seed = 0,
    drift: Annotated[bool, typer.Option("--drift", help="Also how float32 and float64 drift apart.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of prepared datasets.")] = None,
    image_size: ImageSize = None,
) -> None:
    """Record the first steps of a training on the backend that KERAS_BACKEND names."""
    _hide_gpus_from(device)
    from kzoo import parity

    path = parity.recording.checked_path(out)
    settings: dict[str, Any] = {"dtype": dtype, "device": device, "dropout": dropout, "seed": seed, "drift": drift}
    dataset = kzoo.load_dataset(data, data_dir=data_dir, image_size=image_size)
    recording = parity.record(model, dataset, steps=steps, **settings)
    recording.save(path)
    typer.echo(f"{path}: {len(recording.arrays)} arrays of {model} on {recording.name}")


def _hide_gpus_from(device: str | None) -> None:
    """Lets a backend do on the CPU what it does on a machine without a GPU, not beside one; PyTorch looks only once."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


@app.command()
def compare(
    recordings: Annotated[list[Path], typer.Argument(help="Two .npz or more.")],
    as_json: AsJson = False,
    report: Annotated[Path | None, typer.Option(help="Also write this .md, and a plot beside it.")] = None,
) -> None:
    """Compare recordings: one row a quantity; exit status 1 if one is beyond its tolerance."""
    from kzoo import parity
    from kzoo.parity.report import checked_report_path, table_of

    checked_report_path(report)
    comparison = parity.compare(parity.recording.load_all(recordings))
    if report is not None:
        parity.write_report(comparison, report)
    show(comparison.to_dict(), as_json, table_of(comparison))
    raise typer.Exit(0 if comparison.passed else 1)
