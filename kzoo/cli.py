"""The command line: `kzoo ...`. Each command parses, calls the library, and prints."""

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

import kzoo
from kzoo import cli_export, cli_parity, cli_weights
from kzoo import doctor as doctor_module
from kzoo.training.compare import compare_runs

app = typer.Typer(
    help="A Keras 3 multi-backend model zoo: CIFAR ResNets on TensorFlow, JAX and PyTorch. "
    "KERAS_BACKEND=tensorflow|jax|torch chooses the backend.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Datasets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(cli_parity.app, name="parity")
cli_export.register(app)
cli_weights.register(app)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of prepared datasets.", show_default="~/tensorflow_datasets")
]
ImageSize = Annotated[int | None, typer.Option(help="Resize images to a square of that many pixels.")]


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the models."""
    names = kzoo.list_models()
    _show(names, as_json, "\n".join(names))


@app.command()
def describe(model: str, as_json: AsJson = False) -> None:
    """Describe a model: parameters, multiply-adds, receptive field, layers."""
    description = kzoo.describe(model)
    table = _table("layer", "class", "output", "parameters", "multiply-adds", "field")
    for layer in description.layers:
        shape = "x".join(map(str, layer.output_shape))
        counts = (f"{layer.parameters:,}", f"{layer.multiply_adds:,}", str(layer.receptive_field))
        table.add_row(layer.name, layer.kind, shape, *counts)
    table.caption = (
        f"{description.model}: {description.parameters:,} parameters, {description.multiply_adds:,} multiply-adds an "
        f"image, receptive field {description.receptive_field} pixels, {len(description.layers)} layers"
    )
    _show(dataclasses.asdict(description), as_json, table)


@app.command()
def train(
    model: str,
    data: Annotated[str, typer.Option(help="Name of a dataset, or path of a folder or zip.")] = "digits",
    recipe: Annotated[str, typer.Option(help="default, akamaster or he2015.")] = "default",
    epochs: Annotated[int | None, typer.Option(help="At most that many epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    dropout: Annotated[float, typer.Option(help="Fraction dropped inside each block.")] = 0.0,
    patience: Annotated[int | None, typer.Option(help="Epochs without improvement before stopping; 0: never.")] = None,
    min_delta: Annotated[float | None, typer.Option(help="Least improvement of the validation loss.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, batches and masks.")] = 0,
    precision: Annotated[str | None, typer.Option(help="float32, mixed_bfloat16 or float64.")] = None,
    run: Annotated[Path | None, typer.Option(help="Run directory.", show_default="runs/...")] = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    as_json: AsJson = False,
) -> None:
    """Train a new model and leave a run directory."""
    changes = {"epochs": epochs, "batch_size": batch_size, "learning_rate": lr, "precision": precision}
    changes |= {"patience": patience, "min_delta": min_delta}
    trained = kzoo.train(
        model,
        kzoo.load_dataset(data, data_dir=data_dir, image_size=_square(image_size)),
        kzoo.recipe(recipe).override(**changes),
        seed=seed,
        run_dir=run,
        verbose=0 if as_json else "auto",
        dropout=dropout,
    )
    _show(trained.metrics, as_json, _metrics_table(trained))


@app.command()
def evaluate(
    run: Annotated[Path | None, typer.Argument(help="Run directory.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of a model, instead of a run.")] = None,
    weights: Annotated[str | None, typer.Option(help="Its .weights.h5 file, or a name.")] = None,
    data: Annotated[str | None, typer.Option(help="Dataset, if not the run's own.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run, or a model with weights: loss, top-1, top-5, per class."""
    dataset = kzoo.load_dataset(data, data_dir=data_dir, image_size=_square(image_size)) if data else None
    result = kzoo.evaluate_saved(run, model=model, weights=weights, dataset=dataset, split=split)
    table = _table("class", "top-1")
    for name, accuracy in result.per_class.items():
        table.add_row(name, f"{accuracy:.4f}")
    scores = f"loss {result.loss:.4f}, top-1 {result.accuracy:.4f}, top-5 {result.top5_accuracy:.4f}"
    table.caption = f"{result.images:,} images: {scores}"
    _show(dataclasses.asdict(result), as_json, table)


@app.command()
def predict(
    run: Path,
    images: list[Path],
    top: Annotated[int, typer.Option(help="How many classes to name.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Classify image files."""
    predictions = kzoo.predict_files(kzoo.Run(run), images, top=top)
    table = _table("file", "class", "probability")
    for prediction in predictions:
        for name, probability in zip(prediction.classes, prediction.probabilities, strict=True):
            table.add_row(prediction.file, name, f"{probability:.4f}")
    _show([dataclasses.asdict(prediction) for prediction in predictions], as_json, table)


@app.command()
def compare(
    runs: list[Path],
    picture: Annotated[Path, typer.Option(help="Where to draw the curves.")] = Path("comparison.png"),
    as_json: AsJson = False,
) -> None:
    """Compare runs: a table, and their curves in one picture."""
    rows = compare_runs([kzoo.Run(run) for run in runs], picture)
    table = _table("", *(row["run"] for row in rows))
    for key in list(rows[0])[1:]:
        table.add_row(key, *(_shown(row[key]) for row in rows))
    table.caption = f"curves: {picture}"
    _show(rows, as_json, table)


@data_app.command()
def prepare(
    name: str,
    data_dir: DataDir = None,
    archive: Annotated[Path | None, typer.Option(help="The published archive, if you have it.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="Folder or zip laid out split/class/file.")] = None,
    image_size: ImageSize = None,
    as_json: AsJson = False,
) -> None:
    """Write a dataset for tensorflow-datasets (array_record), without TensorFlow."""
    path = kzoo.prepare_dataset(name, data_dir=data_dir, archive=archive, source=source, image_size=_square(image_size))
    _show({"directory": str(path)}, as_json, f"Prepared {path}")


@data_app.command()
def info(data: str, data_dir: DataDir = None, image_size: ImageSize = None, as_json: AsJson = False) -> None:
    """Show a dataset: splits, classes, image size, pixel statistics."""
    summary = kzoo.load_dataset(data, data_dir=data_dir, image_size=_square(image_size)).summary()
    _show(summary, as_json, "\n".join(f"{key}: {value}" for key, value in summary.items()))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show backend, versions, devices, known bad combinations, and what would make it faster."""
    report = doctor_module.diagnose()
    _show(report, as_json, doctor_module.render(report))


def _square(size: int | None) -> tuple[int, int] | None:
    return None if size is None else (size, size)


def _table(*columns: str) -> Table:
    table = Table(*columns, box=box.SIMPLE, caption_justify="left", pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    return table


def _metrics_table(run: kzoo.Run) -> Table:
    table = _table("", str(run.directory))
    for key, value in run.metrics.items():
        table.add_row(key, _shown(value))
    return table


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _show(content: Any, as_json: bool, readable: Any) -> None:
    if as_json:
        typer.echo(json.dumps(_jsonable(content), indent=2))
    else:
        Console().print(readable)


def _jsonable(value: Any) -> Any:
    """JSON has no NaN, and NumPy's types are not its own."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    """Runs the command line; what a user did wrong is a message, not a traceback."""
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"kzoo: {error}")


if __name__ == "__main__":
    main()
