"""Charts of studies: means over the seeds with their standard deviations."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo.durable import written_file
from kzoo.studies.study import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which people of every colour vision tell apart: first those that stand out on the page.
COLOURS = {
    "light": ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"),
    "dark": ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00"),
}
_MARKERS, _STYLES = "osD^vP", ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))
_INK = {"light": "#1b1b1b", "dark": "#e8e8e8"}
_PAGE = {"light": "#ffffff", "dark": "#15181b"}  # that of the report
_MANY = 24  # points of a line, from where on they have no markers
_WIDE = 1e4  # from which ratio of its ends on an axis has powers of ten alone
_TICKS = 8  # positions that are each written at the axis


def draw(chart: Chart, path: Path, theme: str = "light") -> None:
    """Draws a chart as a PNG, on the colour of the page that it is for.

    Args:
        chart: The `Chart`.
        path: Path of the PNG to write.
        theme: `"light"` or `"dark"`, the page that it is for. Defaults to `"light"`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.9), layout="constrained", facecolor=_PAGE[theme])
    axis, ink, colours = figure.add_subplot(facecolor=_PAGE[theme]), _INK[theme], COLOURS[theme]
    lines = [line for line in chart.lines if line.points]
    places = _places(chart)
    is_named = _is_named(places)
    for number, line in enumerate(lines):
        points = sorted(line.points, key=places.__getitem__)
        means = {x: statistics.fmean(line.points[x]) for x in points}
        deviations = [statistics.stdev(line.points[x]) if len(line.points[x]) > 1 else 0.0 for x in means]
        lows = list(deviations)
        if chart.log_y:  # which has no place for 0
            lows = [min(one, 0.9 * mean) for one, mean in zip(deviations, means.values(), strict=True)]
        axis.errorbar(
            [places[x] for x in means],
            list(means.values()),
            yerr=[lows, deviations],
            label=line.label,
            color=colours[number % len(colours)],
            marker=_MARKERS[number % len(_MARKERS)] if len(means) <= _MANY else None,
            linestyle="none" if is_named else _STYLES[number % len(_STYLES)],
            markersize=5,
            linewidth=1.6,
            elinewidth=1,
            capsize=3 if len(means) <= _MANY else 0,
        )
    axis.set_title(chart.title, color=ink, fontsize=11, parse_math=False)
    axis.set_xlabel(chart.x, color=ink)
    axis.set_ylabel(chart.y, color=ink)
    _scale(axis, chart, places, bool(lines))
    axis.grid(alpha=0.25, color=ink)
    axis.tick_params(colors=ink, which="both")
    for spine in axis.spines.values():
        spine.set_color(ink)
    if len(lines) > 1 or (lines and lines[0].label):
        legend = figure.legend(loc="outside lower center", ncols=min(2, len(lines)), frameon=False, labelcolor=ink)
        for text in legend.get_texts():
            text.set_parse_math(False)
    with written_file(path) as aside:
        figure.savefig(aside, dpi=140, format="png", metadata={"Software": None})


def _places(chart: Chart) -> dict[Any, float]:
    """Returns where each position stands on the horizontal axis: names one after another."""
    found = list(dict.fromkeys(x for line in chart.lines for x in line.points))
    if all(isinstance(x, int | float) for x in found):
        return {x: float(x) for x in found}
    return {x: float(number) for number, x in enumerate(found)}


def _is_named(places: dict[Any, float]) -> bool:
    return not all(isinstance(x, int | float) for x in places)


def _scale(axis: "Axes", chart: Chart, places: dict[Any, float], has_lines: bool) -> None:
    """Makes axes logarithmic that are to be, and writes numbers at them as people do."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if not has_lines:
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", color="#808080")
        axis.set_xticks([])
        axis.set_yticks([])
        return
    values = [value for line in chart.lines for point in line.points.values() for value in point]
    if chart.log_y and min(values) > 0:
        axis.set_yscale("log")
        if max(values) < _WIDE * min(values):
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter(FuncFormatter(_plain))
            axis.yaxis.set_minor_locator(NullLocator())
    if not chart.log_y:
        axis.yaxis.set_major_formatter(FuncFormatter(_plain))
    is_named = _is_named(places)
    if chart.log_x and not is_named and min(places.values()) > 0:
        axis.set_xscale("log")
        axis.xaxis.set_minor_locator(NullLocator())
    if is_named or len(places) <= _TICKS:
        axis.xaxis.set_major_locator(FixedLocator(list(places.values())))
        labels = [str(x) if is_named else _plain(place) for x, place in places.items()]
        axis.set_xticks(
            list(places.values()), [label.replace(" ", "\n") for label in labels], fontsize=8 if is_named else 9
        )
    elif not chart.log_x:
        axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _plain(value: float, _: int | None = None) -> str:
    """Returns a number without powers of ten, unless it is tiny or huge."""
    if value and (abs(value) < 1e-4 or abs(value) >= 1e6):
        return f"{value:.1e}"
    return f"{value:,.6g}" if math.isfinite(value) else ""


def draw_all(charts: Sequence[Chart], folder: Path) -> None:
    """Draws each chart of a study twice, for light pages and for dark ones."""
    for chart in charts:
        draw(chart, folder / f"{chart.name}.png")
        draw(chart, folder / f"{chart.name}-dark.png", "dark")
