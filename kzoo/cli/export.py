"""The commands `kzoo export` and `kzoo serve`."""

import dataclasses
import signal
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

import kzoo
from kzoo.choices import Format, LogFormat, Quantization, Runtime
from kzoo.cli.options import AsJson, model_option, one_of, several_of
from kzoo.cli.showing import show
from kzoo.serving.limits import Limits

app = typer.Typer()


@app.command()
def export(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Run directory, preset, or weights file.")],
    out: Annotated[Path, typer.Option(help="Folder of all exports.")],
    format_names: Annotated[
        list[str] | None,
        several_of(get_args(Format), "What to write; may be given several times.", "--format", default="saved_model"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What servers call it.", show_default="the model's name")] = None,
    version: Annotated[int, typer.Option(help="1 or larger; an existing one is never overwritten.")] = 1,
    fold: Annotated[bool, typer.Option("--fold/--no-fold", help="Fold batch norm into the convolutions.")] = True,
    python: Annotated[Path | None, typer.Option(help="Interpreter that has TensorFlow.", show_default="this")] = None,
    model: Annotated[str | None, model_option("Name of the model that a weights file belongs to.")] = None,
    data: Annotated[str | None, typer.Option(help="Dataset to verify with.", show_default="the run's")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of prepared datasets.")] = None,
    quantize: Annotated[
        str | None, one_of(get_args(Quantization), "Smaller than float32; extra `quantize`.", show_default="float32")
    ] = None,
    calibrate: Annotated[int, typer.Option(help="Training images that show int8 the ranges of activations.")] = 256,
    max_drop: Annotated[float, typer.Option(help="Most accuracy lost on the validation split by --quantize.")] = 0.01,
    as_json: AsJson = False,
) -> None:
    """Export a model for servers and other runtimes, and verify it there."""
    dataset = _dataset_for(source, data, data_dir) if data else None
    options: dict[str, Any] = {"name": name, "version": version, "fold": fold, "python": python}
    options |= {"quantize": quantize, "calibrate": calibrate, "max_drop": max_drop}
    formats = format_names or ["saved_model"]
    exported = kzoo.export_saved(source, out, model=model, dataset=dataset, format=formats, **options)
    lines = [f"Exported {exported.directory}", *map(_line, exported.formats)]
    show(dataclasses.asdict(exported), as_json, "\n".join(lines), wrap=False)


def _line(one: Any) -> str:
    """Returns what is said of a format."""
    costs = [f"{one.measured.bytes / 1e6:.2f} MB, {one.measured.milliseconds:.2f} ms an image"]
    if one.source is not None:
        costs.append(f"accuracy {one.measured.accuracy:.4f} on the validation split")
        before = f"{one.source.bytes / 1e6:.2f} MB, {one.source.milliseconds:.2f} ms, {one.source.accuracy:.4f}"
        costs.append(f"in float32 {before}")
    difference = f"largest difference {one.largest_difference:.3g}"
    return f"{one.format} in {one.measured.precision}, read back by {one.runtime}: {difference}; {'; '.join(costs)}"


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
    directory: Annotated[
        Path, typer.Argument(metavar="EXPORT_DIR", help="An export, the folder of its versions, or of many models.")
    ],
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 8080,
    host: Annotated[
        str, typer.Option(help="Address to listen at; the default is this machine alone, others need KZOO_API_KEY.")
    ] = "127.0.0.1",
    watch: Annotated[bool, typer.Option("--watch", help="Load versions that come, let go those that go.")] = False,
    versions: Annotated[
        int | None, typer.Option(help="How many of the newest versions of each model to load.", show_default="all")
    ] = None,
    runtime: Annotated[
        str | None, one_of(get_args(Runtime), "What computes.", show_default="the best for what was exported")
    ] = None,
    log_format: Annotated[str, one_of(get_args(LogFormat), "Of the line that each request is logged with.")] = "text",
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Name by which the server may be asked, beside localhost and addresses.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Origin whose pages may ask, such as https://example.org.")
    ] = None,
    max_body_bytes: Annotated[int, typer.Option(help="Largest request.")] = Limits.body_bytes,
    max_batch: Annotated[int, typer.Option(help="Most images in a request.")] = Limits.batch,
    max_pixels: Annotated[int, typer.Option(help="Largest image to decode.")] = Limits.pixels,
    max_request_pixels: Annotated[
        int, typer.Option(help="Most pixels of all images of a request.")
    ] = Limits.request_pixels,
    max_queue: Annotated[int, typer.Option(help="Most requests in progress; others get status 503.")] = Limits.queue,
    max_connections: Annotated[int, typer.Option(help="Most connections.")] = Limits.connections,
    deadline_seconds: Annotated[
        float, typer.Option(help="After which a request is given up.")
    ] = Limits.deadline_seconds,
    header_seconds: Annotated[float, typer.Option(help="Within which headers must arrive.")] = Limits.header_seconds,
    body_seconds: Annotated[float, typer.Option(help="Within which a body must follow.")] = Limits.body_seconds,
    max_together: Annotated[int, typer.Option(help="Most images that are computed at once.")] = Limits.together,
    wait_milliseconds: Annotated[
        float, typer.Option(help="How long a request waits for others to be computed with.")
    ] = Limits.wait_milliseconds,
) -> None:
    """Serve exports over HTTP (V1 and Open Inference protocols, and a page) until interrupted."""
    from kzoo.serving.server import serve as start  # not by `kzoo`, which brings Keras with all the other names

    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which the server hears, and finishes its requests
    sizes = (max_body_bytes, max_batch, max_pixels, max_request_pixels, max_queue, max_connections)
    times = (deadline_seconds, header_seconds, body_seconds)
    limits = Limits(*sizes, *times, max_together, wait_milliseconds)
    allowed: Any = {"allow_hosts": allow_host or (), "allow_origins": allow_origin or ()}
    chosen: Any = {"watch": watch, "versions": versions, "runtime": runtime, "log_format": log_format}
    start(directory, host=host, port=port, limits=limits, **allowed, **chosen)
