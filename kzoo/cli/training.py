"""The commands `kzoo train`, `kzoo evaluate`, `kzoo predict` and `kzoo compare`."""

import contextlib
import dataclasses
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.table import Table

import kzoo
from kzoo.choices import Precision, SplitName, TestTimeAugmentation
from kzoo.cli.interruption import interruption_told
from kzoo.cli.launching import DevicesOption, joined_workers
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
    Seed,
    Settings,
    SkipUnreadable,
    model_option,
    one_of,
)
from kzoo.cli.recipes import recipe_with
from kzoo.cli.showing import Name, cell, show, table
from kzoo.cli.sweeps import show_sweep
from kzoo.sweeps.record import FILE as SWEEP

app = typer.Typer()

PresetOption = Annotated[
    str | None, typer.Option(help="Name of a preset, its folder, or hf://owner/name, instead of a run.")
]


@app.command()
def train(
    model: ModelName,
    data: Data = "digits",
    recipe: RecipeOption = "default",
    settings: Settings = None,
    epochs: Annotated[int | None, typer.Option(help="At most that many epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    dropout: Dropout = 0.0,
    patience: Annotated[int | None, typer.Option(help="Epochs without improvement before stopping; 0: never.")] = None,
    min_delta: Annotated[float | None, typer.Option(help="Least improvement of the validation loss.")] = None,
    seed: Seed = 0,
    precision: Annotated[str | None, one_of(get_args(Precision), "Of weights and activations.")] = None,
    run: Annotated[Path | None, typer.Option(help="Run directory.", show_default="runs/...")] = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    resize: Resize = "stretch",
    channels: Channels = 3,
    skip_unreadable: SkipUnreadable = False,
    balance: Balance = False,
    flip: Flip = None,
    teacher: Annotated[str | None, typer.Option(help="Run directory, or preset, of a model to learn from.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --run.")] = False,
    checkpoint_every: Annotated[str, typer.Option(help="Seconds, such as 60s, or a number of steps.")] = "60s",
    devices: DevicesOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a new model and leave a run directory."""
    changes: Any = {"epochs": epochs, "batch_size": batch_size, "learning_rate": lr, "precision": precision}
    changes |= {"patience": patience, "min_delta": min_delta}
    decoding: Any = {"image_size": image_size, "resize": resize, "channels": channels, "data_dir": data_dir}
    dataset = kzoo.load_dataset(data, **decoding, skip_unreadable=skip_unreadable, balance=balance, flip=flip)
    changed = recipe_with(recipe, settings, **changes)
    going: Any = {"run_dir": run, "resume": resume, "checkpoint_every": checkpoint_every, "teacher": teacher}
    with joined_workers() as is_first, interruption_told(), _progress(to_stderr=as_json, quiet=quiet) as how:
        done = kzoo.train(model, dataset, changed, seed=seed, verbose=how, dropout=dropout, devices=devices, **going)
    _show_training(done, as_json and is_first, quiet or not is_first)


@app.command()
def runs(
    folders: Annotated[list[Path] | None, typer.Argument(help="Run directories, or folders of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """List runs: done, going on, or interrupted, with the command that goes on."""
    from kzoo.training.listing import list_runs

    found = list_runs(folders or [Path("runs")])
    lines = [f"{one.directory}  {one.state}, {one.epochs_done} of {one.epochs} epochs" for one in found]
    lines = [
        line if one.command is None else f"{line}\n    {one.command}" for line, one in zip(lines, found, strict=True)
    ]
    show([dataclasses.asdict(one) for one in found], as_json, "\n".join(lines), wrap=False)


@app.command()
def evaluate(
    run: Annotated[str | None, typer.Argument(help="Run directory, or preset.")] = None,
    model: Annotated[str | None, model_option("Name of a model, instead of a run.")] = None,
    weights: Annotated[str | None, typer.Option(help="Its .weights.h5 file, or a preset.")] = None,
    preset: PresetOption = None,
    data: Annotated[str | None, typer.Option(help="Dataset, if not the run's own.")] = None,
    split: Annotated[str, one_of(get_args(SplitName), "Which images.")] = "test",
    tta: Annotated[
        str | None, one_of(get_args(TestTimeAugmentation), "Of each image and its mirror image the mean of the logits.")
    ] = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run, a preset, or a model with weights: loss, top-1, top-5, per class."""
    from kzoo.presets import is_preset

    if run is not None and preset is None and is_preset(run):
        run, preset = None, run
    dataset = _images_of(run, preset, data, data_dir=data_dir, image_size=image_size)
    images: Any = {"dataset": dataset, "split": split, "tta": tta}
    result = kzoo.evaluate_saved(run, model=model, weights=weights, preset=preset, **images)
    show(dataclasses.asdict(result), as_json, _classes_table(result))


@app.command()
def predict(
    paths: Annotated[
        list[str], typer.Argument(metavar="[SOURCE] IMAGES...", help="Run directory or preset, then image files.")
    ],
    preset: PresetOption = None,
    top: Annotated[int, typer.Option(help="How many classes to name.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Classify image files by a run, or by a preset."""
    from kzoo.training.sources import run_or_preset

    source, images = (paths[0], paths[1:]) if preset is None else (preset, paths)
    if not images:
        raise ValueError(f"Expected image files after the run directory or preset. Received: none after {source}.")
    predictor = run_or_preset(source) if preset is None else kzoo.Preset(preset)
    predictions = kzoo.predict_files(predictor, images, top=top)
    show([dataclasses.asdict(prediction) for prediction in predictions], as_json, _predictions_table(predictions))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, or folders of them.")],
    picture: Annotated[Path, typer.Option(help="Where to draw the curves.")] = Path("comparison.png"),
    as_json: AsJson = False,
) -> None:
    """Compare runs: results, what differs in how they were made, and their curves; or show what a sweep came to."""
    if len(runs) == 1 and (runs[0] / SWEEP).is_file():
        show_sweep(kzoo.Sweep(runs[0]), as_json)
    else:
        _show_comparison(runs, picture, as_json)


def _images_of(run: str | None, preset: str | None, data: str | None, **options: Any) -> "kzoo.Dataset | None":
    """Returns the data that a network is evaluated on, decoded as it takes them; `None` for a run's own."""
    if data is None:
        return None
    if preset and options["image_size"] is None:
        return kzoo.load_dataset(data, **options | dataclasses.asdict(kzoo.Preset(preset).decoding()))
    if run and options["image_size"] is None:
        return kzoo.Run(run).load_dataset(data, data_dir=options["data_dir"])
    return kzoo.load_dataset(data, **options)


def _show_comparison(paths: list[Path], picture: Path, as_json: bool) -> None:
    from kzoo.training.compare import compare_runs, find_runs

    found, unfinished = find_runs(paths)
    for directory in unfinished:
        typer.echo(f"left out, since the training has not ended: {directory}", err=True)
    results = compare_runs(found, picture)
    show(results, as_json, _comparison_table(results, picture))


def _show_training(run: "kzoo.Run", as_json: bool, quiet: bool) -> None:
    if as_json or not quiet:
        show(run.metrics, as_json, _metrics_table(run))


def _metrics_table(run: "kzoo.Run") -> Table:
    rows = table("", str(run.directory))
    for key, value in run.metrics.items():
        rows.add_row(key, cell(value, key))
    rows.add_section()
    kept = {".lock", "status.json"}  # of kzoo alone
    rows.add_row("written", "\n".join(sorted({path.name for path in run.directory.iterdir()} - kept)))
    path = shlex.quote(str(run.directory))
    rows.add_row("next", f"kzoo evaluate {path}\nkzoo export {path} --out exports")
    return rows


@contextlib.contextmanager
def _progress(to_stderr: bool, quiet: bool) -> Iterator[Any]:
    """Yields how verbose to train; keeps stdout free, and warnings from who wants to hear of nothing but errors."""
    stdout = contextlib.redirect_stdout(sys.stderr) if to_stderr else contextlib.nullcontext()
    with stdout, warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore")
        yield 0 if quiet else "auto"


def _classes_table(result: "kzoo.Evaluation") -> Table:
    rows = table("class", "top-1")
    for name, accuracy in result.per_class.items():
        rows.add_row(cell(name), f"{accuracy:.4f}")
    scores = f"loss {result.loss:.4f}, top-1 {result.accuracy:.4f}, top-5 {result.top5_accuracy:.4f}"
    augmented = f", with test-time augmentation ({result.tta})" if result.tta else ""
    rows.caption = f"{result.images:,} images{augmented}: {scores}"
    return rows


def _predictions_table(predictions: "Sequence[kzoo.Prediction]") -> Table:
    rows = table("file", "class", "probability")
    for prediction in predictions:
        for name, probability in zip(prediction.classes, prediction.probabilities, strict=True):
            rows.add_row(cell(prediction.file), cell(name), f"{probability:.4f}")
    return rows


def _comparison_table(results: Sequence[dict[str, Any]], picture: Path) -> Table:
    rows = table("", *(Name(result["run"]) for result in results))
    for key in list(results[0])[1:]:
        rows.add_row(Name(key), *(cell(result[key], key) for result in results))
    rows.caption = f"curves: {picture}"
    return rows
