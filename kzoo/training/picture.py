"""Learning curves as pictures."""

import importlib.util
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo.durable import output_path, written_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, float]]

_FEW_EPOCHS = 30  # so many have a marker each
_LEAST_SPAN = 0.01  # of an axis, relative to its values: below it a curve is flat


def require_matplotlib() -> None:
    """Raises an `ImportError` that says what to install, where there is no matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("Pictures of learning curves need matplotlib: pip install matplotlib.")


def plot_history(rows: Rows, path: str | Path, title: str, kept_epoch: int | None = None) -> None:
    """Draws loss, accuracy and learning rate over the epochs of one run, and marks the epoch whose weights were kept.

    What is missing or not finite is left out.

    Args:
        rows: Rows of a run's history.
        path: Path of the PNG to write.
        title: What the picture shows.
        kept_epoch: Integer, the epoch to mark, counted from 1, or `None` where it is not known: the one of the lowest
            validation loss is marked instead, and called that. Defaults to `None`.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    figure.suptitle(_shown(title), parse_math=False)
    axes = figure.subplots(1, 3)
    for axis, metric in zip(axes[:2], ("loss", "accuracy"), strict=True):
        _draw(axis, rows, metric, label="training", color="C0")
        _draw(axis, rows, f"val_{metric}", label="validation", color="C1")
    _draw(axes[2], rows, "learning_rate", color="C2")
    marked, meaning = (_lowest(rows), "lowest validation loss") if kept_epoch is None else (kept_epoch, "weights kept")
    if marked is not None and len(rows) > 1:
        for axis in axes[:2]:
            axis.axvline(marked, color="grey", linestyle=":", label=f"{meaning}, epoch {marked:.0f}")
    _scale_epochs(axes, rows)
    _scale_metrics(*axes[:2])
    _scale(axes[2], "learning rate", zero=True)
    handles = {handle.get_label(): handle for axis in axes[:2] for handle in axis.get_legend_handles_labels()[0]}
    figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=3, frameon=False)
    _save(figure, Path(path))


def plot_comparison(runs: Mapping[str, Rows], path: str | Path) -> None:
    """Draws loss and accuracy of several runs over each other, validation as a line and training dashed.

    What is missing or not finite is left out.

    Args:
        runs: Name of each run to the rows of its history.
        path: Path of the PNG to write.
    """
    require_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=f"C{i}", linewidth=3, label=_shown(name)) for i, name in enumerate(runs)]
    handles += [Line2D([], [], color="black", label="validation")]
    handles += [Line2D([], [], color="black", linestyle="--", alpha=0.5, label="training")]
    columns = max(1, 110 // (max(len(str(handle.get_label())) for handle in handles) + 6))
    figure = Figure(figsize=(10, 3.8 + 0.2 * math.ceil(len(handles) / columns)), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, metric in zip(axes, ("loss", "accuracy"), strict=True):
        for i, rows in enumerate(runs.values()):
            _draw(axis, rows, f"val_{metric}", color=f"C{i}")
            _draw(axis, rows, metric, color=f"C{i}", linestyle="--", alpha=0.5)
    _scale_epochs(axes, [row for rows in runs.values() for row in rows])
    _scale_metrics(*axes)
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)), frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    _save(figure, Path(path))


def _save(figure: "Figure", path: Path) -> None:
    """Writes a picture of the kind that the name ends in, a PNG where it ends in none."""
    with written_file(output_path(path)) as aside:
        figure.savefig(aside, dpi=120, format=path.suffix.removeprefix(".") or "png")


def _shown(name: str) -> str:
    """Returns a name as it can be drawn: of any encoding, and not hidden, as matplotlib does with those from `_` on."""
    name = name.encode("utf-8", "backslashreplace").decode()
    return f" {name}" if name.startswith("_") else name


def _column(rows: Rows, name: str) -> list[float]:
    """Returns a column; `nan` stands for what is missing or not finite."""
    values = (row.get(name) for row in rows)
    return [value if value is not None and math.isfinite(value) else math.nan for value in values]


def _lowest(rows: Rows) -> float | None:
    """Returns the epoch of the lowest validation loss that is a number, or `None` if there is none."""
    losses = dict(zip(_column(rows, "epoch"), _column(rows, "val_loss"), strict=True))
    return min((epoch for epoch in losses if math.isfinite(losses[epoch])), key=losses.__getitem__, default=None)


def _draw(axis: "Axes", rows: Rows, column: str, **style: Any) -> None:
    values = _column(rows, column)
    marker = {"marker": "o", "markersize": 4} if len(rows) <= _FEW_EPOCHS else {}
    if not all(map(math.isnan, values)):
        axis.plot(_column(rows, "epoch"), values, **marker, **style)


def _scale_epochs(axes: Iterable["Axes"], rows: Rows) -> None:
    """Gives all the same epochs, with whole numbers at the ticks and space at the ends."""
    from matplotlib.ticker import MaxNLocator

    epochs = _column(rows, "epoch")
    first, last = min(epochs, default=1), max(epochs, default=1)
    space = max(0.5, 0.03 * (last - first))
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.set_xlim(first - space, last + space)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
        axis.grid(alpha=0.3)


def _scale_metrics(loss: "Axes", accuracy: "Axes") -> None:
    """Makes the axis of the losses logarithmic, where they are positive, with plain numbers at the ticks."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    _scale(loss, "loss (nats)")
    _scale(accuracy, "accuracy")
    low, high = loss.dataLim.minposy, loss.dataLim.y1
    if not 0 < low <= high < math.inf:
        return
    loss.set_yscale("log", nonpositive="mask")
    space = max((high / low) ** 0.05, 1 + _LEAST_SPAN / 2)
    loss.set_ylim(low / space, high * space)
    if high / low < 8:
        loss.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    else:
        loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1000 else (1,)))
    loss.yaxis.set_minor_locator(NullLocator())
    loss.yaxis.set_major_formatter(_plain)


def _scale(axis: "Axes", label: str, zero: bool = False) -> None:
    """Makes room around the curves, and around 0 too if asked to, with plain numbers at the ticks."""
    from matplotlib.ticker import MaxNLocator

    axis.set_ylabel(label)
    axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axis.yaxis.set_major_formatter(_plain)
    low, high = axis.dataLim.intervaly
    if low > high:  # nothing is drawn
        axis.set_yticks([])
        return
    low = min(low, 0) if zero else low
    space = max(0.05 * (high - low), _LEAST_SPAN / 2 * abs(high)) or 0.5
    axis.set_ylim(low - space, high + space)


def _plain(value: float, _: int | None = None) -> str:
    """Returns a tick's number as people write it, without powers of ten unless it is huge or tiny."""
    if value and not 1e-6 <= abs(value) < 1e7:
        return f"{value:.3g}"
    return np.format_float_positional(float(f"{value:.6g}") + 0.0, trim="-")
