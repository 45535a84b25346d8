"""Shows comparisons: a table for terminals, a report in Markdown, a plot of the drift."""

import os
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from kzoo.durable import output_path, written_file
from kzoo.parity.comparison import Comparison, Row
from kzoo.parity.recorder import DRIFT_RATES
from kzoo.parity.recording import Recording
from kzoo.parity.tolerances import TOLERANCES
from kzoo.training.picture import require_matplotlib


def table_of(comparison: Comparison) -> Table:
    """Returns one row a quantity, for a terminal."""
    table = Table("quantity", "difference", "tolerance", "between", "where", "", box=box.SIMPLE, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in comparison.rows:
        verdict = Text(_verdict(row), style={"pass": "green", "FAIL": "bold red"}.get(_verdict(row), "dim"))
        # Names of recordings are names of files, and nothing in them is markup.
        names = Text(" ".join(row.between)), Text(row.where)
        table.add_row(row.quantity, _number(row.difference), _limit(row), *names, verdict)
    failure = comparison.first_failure
    table.caption_justify = "left"
    table.caption = Text(
        "All within tolerance." if failure is None else f"FAILED, first in {failure.quantity} at {failure.where}."
    )
    return table


def write_report(comparison: Comparison, path: str | os.PathLike[str]) -> None:
    """Writes a comparison as Markdown, and a plot beside it if the recordings have losses to show drift.

    Args:
        comparison: The `Comparison`.
        path: Path of the `.md` to write; the plot is the `.png` of the same name.

    Raises:
        ValueError: If the path does not end in `.md`.
    """
    path = Path(path)
    checked_report_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = comparison.recordings[0].settings
    recipe = settings["recipe"]
    parts = [
        f"# {settings['model']} on {settings['data']['name']}: {', '.join(r.name for r in comparison.recordings)}",
        f"{settings['steps']} steps in {recipe['precision']}, batches of {recipe['batch_size']}, "
        f"peak rate {recipe['learning_rate']}, dropout {settings['dropout']}, seed {settings['seed']}. "
        "The difference is the largest `max |a - b| / max |a|` of a tensor.",
        _markdown(*_recording_rows(comparison)),
        _markdown(*_difference_rows(comparison)),
    ]
    if settings["drift"]:
        picture = path.with_suffix(".png")
        with written_file(output_path(picture)) as aside:
            plot_drift(comparison.recordings, aside)
        parts += [
            "## What no test can ask",
            "The same training in float32 and in float64, at two rates. Each step multiplies the rounding of "
            "those before it; at a rate of 0.1 the two are soon different trainings, on one backend as between two.",
            f"![drift of the losses]({picture.name})",
        ]
    with written_file(output_path(path)) as aside:
        aside.write_text("\n\n".join(parts) + "\n")


def checked_report_path(path: Path | None) -> None:
    """Raises a `ValueError` if the path does not end in `.md`."""
    if path is not None and path.suffix != ".md":
        raise ValueError(f"A report's path must end in '.md'. Received: {str(path)!r}.")


def plot_drift(recordings: tuple[Recording, ...], path: Path) -> None:
    """Draws how far the losses of float32 are from those of float64, and those of two backends from each other."""
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots(1, len(DRIFT_RATES), sharey=True)
    for axis, rate in zip(axes, DRIFT_RATES, strict=True):
        curves = {
            (recording.name, dtype): recording.arrays[f"drift/{dtype} at {rate}"]
            for recording in recordings
            for dtype in ("float32", "float64")
        }
        steps = np.arange(1, recordings[0].settings["steps"] + 1)
        for number, recording in enumerate(recordings):
            exact = curves[recording.name, "float64"]
            own = np.abs(curves[recording.name, "float32"] - exact) / exact
            axis.plot(steps, own, f"C{number}", label=f"{recording.name}, float32 and float64")
            other = recordings[(number + 1) % len(recordings)]
            if number < len(recordings) - (len(recordings) == 2):
                between = np.abs(curves[other.name, "float64"] - exact) / exact
                label = f"{recording.name} and {other.name}, float64"
                axis.plot(steps, between, f"C{number}", linestyle="--", label=label)
        axis.set_title(f"peak learning rate {rate}")
        axis.set_xlabel("step")
        axis.set_yscale("log")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("relative difference of the loss")
    axes[-1].legend(fontsize="small")
    figure.savefig(path, dpi=120)


def _recording_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    shown = ("backend", "device", "python", "platform", "started")
    rows = [
        [recording.name, *(str(recording.environment[key]) for key in shown), _versions(recording)]
        for recording in comparison.recordings
    ]
    return ["recording", *shown, "versions"], rows


def _versions(recording: Recording) -> str:
    return ", ".join(f"{name} {version}" for name, version in recording.environment["versions"].items())


def _difference_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    pairs = list(dict.fromkeys(row.between for row in comparison.pairs))
    of_pairs = {(row.quantity, row.between): row for row in comparison.pairs}
    rows = [
        [
            row.quantity,
            *(_number(of_pairs[row.quantity, pair].difference) for pair in pairs),
            _limit(row),
            row.where,
            _verdict(row),
            TOLERANCES[row.quantity].reason,
        ]
        for row in comparison.rows
    ]
    return ["quantity", *(" and ".join(pair) for pair in pairs), "tolerance", "where", "", "why"], rows


def _markdown(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _number(difference: float) -> str:
    return "0" if difference == 0 else "different" if difference == float("inf") else f"{difference:.1e}"


def _limit(row: Row) -> str:
    return "shown only" if row.tolerance is None else "identical" if row.tolerance == 0 else f"{row.tolerance:.0e}"


def _verdict(row: Row) -> str:
    return "" if row.tolerance is None else "pass" if row.passed else "FAIL"
