"""The commands `kzoo import` and `kzoo preset ...`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

import kzoo
from kzoo.choices import LayoutName, Precision
from kzoo.cli.options import AsJson, DataDir, model_option, one_of
from kzoo.cli.showing import cell, lines, show, table

import_app = typer.Typer()
app = typer.Typer(help="Trained models: in folders, by name, on the Hugging Face hub.", no_args_is_help=True)

Source = Annotated[str, typer.Argument(metavar="PRESET", help="Name, path of a folder, or hf://owner/name[@revision].")]


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
    """List the presets that have names: what `--preset` and `weights=` take."""
    from kzoo.presets import list_presets, preset_info  # not by `kzoo`, which brings Keras with all the other names

    found = [preset_info(name) for name in list_presets()]
    rows = table("name", "model", "classes", "top-1", "licence")
    for one in found:
        top1 = "" if one.top1 is None else f"{one.top1:.4f}"
        rows.add_row(one.name, one.model, str(one.classes), top1, cell(one.about.get("licence", "")))
    show([_as_json(one) for one in found], as_json, rows)


@app.command()
def info(preset: Source, as_json: AsJson = False) -> None:
    """Show what is known of a preset: how it was trained, how good it is. A name is not fetched for that."""
    if preset in kzoo.list_presets():
        found = kzoo.preset_info(preset)
        content = _as_json(found) | {"sha256_known": found.sha256_known, "folder": kzoo.cached_preset(preset)}
    else:
        opened = kzoo.Preset(preset)
        content = {"folder": opened.folder, **opened.config.to_json()}
    show(content, as_json, lines(content), wrap=False)


@app.command()
def fetch(preset: Source, as_json: AsJson = False) -> None:
    """Download, verify and convert a preset, for use without a network."""
    path = kzoo.fetch_preset(preset)
    show({"name": preset, "path": path}, as_json, str(path), wrap=False)


@app.command()
def add(file: Annotated[Path, typer.Argument(help="The checkpoint, as published.")], as_json: AsJson = False) -> None:
    """Put the file of a published preset, downloaded elsewhere, where kzoo looks for it."""
    name = kzoo.add_preset(file)
    show({"name": name}, as_json, f"Added {name}", wrap=False)


@app.command()
def save(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write, new or of a preset.")],
    data: Annotated[str | None, typer.Option(help="Where the run's data are, if not where they were.")] = None,
    data_dir: DataDir = None,
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="Evaluate the model for the card.")] = True,
    description: Annotated[str | None, typer.Option(help="What the card begins with.")] = None,
    licence: Annotated[str | None, typer.Option(help="SPDX identifier of the weights' licence.")] = None,
    precision: Annotated[
        str | None, one_of(get_args(Precision), "Of the preset.", show_default="that of the training")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Save a run as a preset, with a card of all that is known of its training."""
    opened = kzoo.Run(run)
    dataset = opened.load_dataset(data, data_dir=data_dir) if data else None
    about: Any = {"description": description, "licence": licence, "precision": precision}
    path = opened.save_preset(folder, dataset, measure=measure, **about)
    show({"path": path}, as_json, f"Saved {path}: read {path / 'README.md'}, then `kzoo preset push` it", wrap=False)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Folder of a preset.")],
    repository: Annotated[str, typer.Argument(help="owner/name on the Hugging Face hub.")],
    private: Annotated[bool, typer.Option("--private", help="A new repository is for its owner alone.")] = False,
    message: Annotated[str | None, typer.Option(help="What the commit says.")] = None,
    as_json: AsJson = False,
) -> None:
    """Publish a preset on the Hugging Face hub."""
    name = kzoo.push_preset(folder, repository, private=private, message=message)
    show({"preset": name}, as_json, f"Published {name}", wrap=False)


@app.command("to-torch")
def to_torch(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Run directory, or preset.")],
    layout: Annotated[str, one_of(get_args(LayoutName), "Whose names the tensors get.")],
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")],
    as_json: AsJson = False,
) -> None:
    """Write the weights of a ResNet as a PyTorch checkpoint."""
    from kzoo.training.sources import run_or_preset

    model = run_or_preset(source).load_model()
    kzoo.save_torch_checkpoint(model, out, layout=layout)
    content = {"checkpoint": out, "model": model.name, "layout": layout} | _normalization_of(model)
    said = f"Wrote {out}: {model.name} in the layout {layout!r}.{_what_it_takes(content)}"
    show(content, as_json, said, wrap=False)


def _what_it_takes(content: dict[str, Any]) -> str:
    if "mean" not in content:
        return ""
    mean, deviation = (", ".join(f"{value:.4f}" for value in content[name]) for name in ("mean", "deviation"))
    return f"\nIt takes (pixels / 255 - mean) / deviation, with mean {mean} and deviation {deviation}."


def _normalization_of(model: Any) -> dict[str, Any]:
    """Returns the mean and deviation of a model's normalization: nothing if it leaves that to its caller."""
    for layer in model.layers:
        if layer.name == "normalization":
            mean, deviation = (value.tolist() for value in layer.get_weights())
            return {"mean": mean, "deviation": deviation}
    return {}


def _as_json(found: "kzoo.PresetInfo") -> dict[str, object]:
    return dataclasses.asdict(found) | {"classes": found.classes, "top1": found.top1}
