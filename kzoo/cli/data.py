"""The commands `kzoo data ...`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from kzoo.cli.options import AsJson, Channels, DataDir, ImageSize, Resize, SkipUnreadable
from kzoo.cli.showing import lines, show, table

app = typer.Typer(help="Datasets.", no_args_is_help=True)


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="cifar10, cifar100, svhn_cropped; or with --from a name of your own.")],
    data_dir: DataDir = None,
    archive: Annotated[Path | None, typer.Option(help="The published archive, if you have it.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="Images: a folder, zip, table or .npz.")] = None,
    image_size: ImageSize = None,
    resize: Resize = "stretch",
    channels: Channels = 3,
    skip_unreadable: SkipUnreadable = False,
    as_json: AsJson = False,
) -> None:
    """Write a dataset for tensorflow-datasets (array_record), without TensorFlow."""
    from kzoo.data import prepare_dataset  # not by `kzoo`, which brings Keras with all the other names

    decoding: Any = {"image_size": image_size, "resize": resize, "channels": channels}
    reading: Any = {"source": source, "skip_unreadable": skip_unreadable}
    path = prepare_dataset(name, data_dir=data_dir, archive=archive, **decoding, **reading)
    show({"directory": path}, as_json, f"Prepared {path}")


@app.command()
def info(
    data: Annotated[str, typer.Argument(help="Name of a dataset, or path of a folder, zip or table.")],
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    resize: Resize = "stretch",
    channels: Channels = 3,
    skip_unreadable: SkipUnreadable = False,
    report: Annotated[Path | None, typer.Option(help="HTML file to write, with examples.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a dataset: splits, classes, sizes, modes, pixel statistics, unreadable files and doubles."""
    from kzoo.data import load_dataset  # not by `kzoo`, which brings Keras with all the other names
    from kzoo.data.report import look_at

    decoding: Any = {"image_size": image_size, "resize": resize, "channels": channels}
    reading: Any = {"data_dir": data_dir, "skip_unreadable": skip_unreadable}
    summary = look_at(data, report, load=load_dataset, **decoding, **reading)
    show(summary, as_json, "\n".join([lines(summary), *_advice(summary, image_size)]))


_FEW_IMAGES = 1280  # for training: fewer than ten batches


def _advice(summary: dict[str, Any], image_size: int | None) -> list[str]:
    """Returns what a training of these images needs: one size, and some steps in each epoch."""
    advice = []
    if image_size is None and len(summary.get("sizes", ())) > 1:
        advice.append("The images have different sizes. A training needs one, such as --image-size 64.")
    if summary["images"]["train"] < _FEW_IMAGES:
        advice.append("There are few images, so large batches would make few steps. Train with --batch-size 16.")
    return advice


cache = typer.Typer(help="Decoded images.", no_args_is_help=True)
app.add_typer(cache, name="cache")


@cache.command("list")
def list_cache(as_json: AsJson = False) -> None:
    """List what is kept of decoded images, and where."""
    from kzoo.data.cache import cache_root, cached_entries

    entries = cached_entries()
    show(entries, as_json, _cache_table(entries, cache_root()))


@cache.command("clear")
def clear_cache(as_json: AsJson = False) -> None:
    """Remove all decoded images; they are decoded anew when they are needed."""
    from kzoo.data import cache as kept

    removed = kept.clear_cache()
    show({"removed_bytes": removed}, as_json, f"Removed {removed / 1e6:,.1f} MB from {kept.cache_root()}")


def _cache_table(entries: list[dict[str, Any]], root: Path) -> Table:
    rows = table("source", "images", "size", "MB", "")
    for entry in entries:
        count, *size = entry["shape"] or ("", "")
        shape = "x".join(map(str, size))
        rows.add_row(entry["source"] or "", str(count), shape, f"{entry['bytes'] / 1e6:,.1f}", entry["state"])
    rows.caption = str(root)
    return rows
