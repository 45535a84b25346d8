"""Draws what `benchmark.py` measured: a panel a task, in it a group of bars a backend."""

from itertools import groupby
from statistics import median
from typing import Any, NamedTuple

from benchmark_rows import SLOW_KERAS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

TRAINING = {"train": "training", "train augmented": "training, augmented"}
TASKS = {**TRAINING, "inference": "inference", "folded": "inference, folded"}
BACKENDS = {"torch": "PyTorch", "tensorflow": "TensorFlow", "jax": "JAX"}
NAMES = {"kzoo": "kzoo", "keras": "Keras layers", SLOW_KERAS: "Keras layers without oneDNN", "pytorch": "plain PyTorch"}
COLORS = {"kzoo": "#2171b5", "keras": "#969696", SLOW_KERAS: "#cccccc", "pytorch": "#e8762c"}
DARK, BEHIND = "#444444", {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
TWIN = ("torch", "pytorch")
BAR, GAP = 0.5, 1.0  # a bar's width in inches, the space between two groups in bars


class Panel(NamedTuple):
    """A task of a model at a batch size: the row of each backend and library."""

    model: str
    batch: int
    task: str
    rows: dict[tuple[str, str], dict[str, Any]]

    @property
    def groups(self) -> dict[str, list[str]]:
        """The libraries of each backend, from left to right."""
        found = {backend: [name for name in NAMES if (backend, name) in self.rows] for backend in BACKENDS}
        return {backend: libraries for backend, libraries in found.items() if libraries}

    @property
    def width(self) -> float:
        """The bars and gaps, with space for a title."""
        return max(3.6, len(self.rows) + GAP * len(self.groups))

    @property
    def trains(self) -> bool:
        """Whether it is training; panels of a kind share their scale."""
        return self.task in TRAINING

    def ratio(self, backend: str, library: str) -> tuple[str, float] | None:
        """Returns what a bar is compared with, and the median of the ratios: plain PyTorch where it does the task."""
        row = self.rows[backend, library]
        if TWIN in self.rows:
            pairs = zip(row["images_per_second"], self.rows[TWIN]["images_per_second"], strict=True)
            return NAMES["pytorch"], median(one / other for one, other in pairs)
        ratios = {name.replace(f"Keras on {backend}", NAMES["keras"]): r["median"] for name, r in row["ratios"].items()}
        return next(iter(ratios.items()), None)


def chart(result: dict[str, Any]) -> Figure:
    """Draws what `benchmark.json` holds: a row of panels a model and batch size; of a single one, a row a kind."""
    cases = panels(result["rows"])
    alone = len(cases) == 1
    grid = [list(row) for _, row in groupby(cases[0], lambda panel: panel.trains)] if alone else cases
    widths = [max(row[i].width for row in grid if i < len(row)) for i in range(max(map(len, grid)))]
    size = max(7.5, BAR * sum(widths) + 0.9 * len(widths)), 1.2 + (2.9 if alone else 2.2) * len(grid)
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(len(grid), len(widths), squeeze=False, width_ratios=widths)
    for i, row in enumerate(grid):
        for axis in axes[i, len(row) :]:
            axis.remove()
        for axis, panel, width in zip(axes[i], row, widths, strict=False):
            note = draw_panel(axis, panel, width)
            alike = [line for other in row if other.trains == panel.trains for line in other.rows.values()]
            axis.set_ylim(0, 1.13 * max(max(line["images_per_second"]) for line in alike))
            if alone or i == 0:
                axis.set_title(TASKS[panel.task], loc="left", fontsize=10, fontweight="bold", pad=20)
                axis.annotate(note, (0, 1), (0, 5), "axes fraction", "offset points", fontsize=8.5, color=DARK)
        axes[i, 0].set_ylabel("images/s" if alone else f"{row[0].model}\nbatch {row[0].batch}, images/s")
    figure.align_ylabels(axes[:, 0])
    describe(figure, cases, result)
    return figure


def panels(rows: list[dict[str, Any]]) -> list[list[Panel]]:
    """Returns the panels of each model and batch size, in the order of the tasks."""
    found = dict[tuple[str, int], dict[str, Panel]]()
    for task in TASKS:
        for row in rows:
            model, batch, backend, program = row["case"]
            library = program.removesuffix(f" {task}")
            if library in NAMES:
                of_case = found.setdefault((model, batch), {})
                of_case.setdefault(task, Panel(model, batch, task, {})).rows[backend, library] = row
    return [list(of_case.values()) for of_case in found.values()]


def draw_panel(axis: Axes, panel: Panel, width: float) -> str:
    """Draws a panel that is `width` bars wide, and returns what to note of the labels above the bars."""
    left, note, ticks = 0.0, "", {}
    for backend, libraries in panel.groups.items():
        for i, library in enumerate(libraries):
            values = panel.rows[backend, library]["images_per_second"]
            axis.bar(left + i, median(values), 0.9, color=COLORS[library])
            axis.vlines(left + i, min(values), max(values), color="black", linewidth=1.1)
            ratio = panel.ratio(backend, library)
            if ratio and (backend, library) != TWIN:
                note = f"ratio to {ratio[0]}"
                write(axis, f"{ratio[1]:.2f}x", (left + i, max(values)), 3, library)
        ticks[center := left + (len(libraries) - 1) / 2] = BACKENDS[backend]
        of_keras = panel.rows.get((backend, "kzoo"), {"ratios": {}})["ratios"].get(f"Keras on {backend}")
        if of_keras and TWIN in panel.rows:
            write(axis, f"{of_keras['median']:.2f}x Keras", (center, 0), -25, "kzoo")
        left += len(libraries) + GAP
    if TWIN in panel.rows:
        axis.axhline(median(panel.rows[TWIN]["images_per_second"]), color=COLORS["pytorch"], linestyle="--")
    middle = (left - GAP - 1) / 2
    axis.set_xlim(middle - width / 2, middle + width / 2)
    axis.set_xticks(list(ticks), list(ticks.values()), fontsize=9)
    axis.tick_params("x", length=0)
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    return note


def write(axis: Axes, text: str, place: tuple[float, float], points: int, library: str) -> None:
    """Writes a label that many points above a place, kzoo's in its colour."""
    style: dict[str, Any] = {"color": COLORS["kzoo"], "weight": "bold"} if library == "kzoo" else {"color": DARK}
    axis.annotate(text, place, (0, points), textcoords="offset points", ha="center", fontsize=9, bbox=BEHIND, **style)


def describe(figure: Figure, cases: list[list[Panel]], result: dict[str, Any]) -> None:
    """Adds the title and the legend."""
    of = f"{cases[0][0].model}, batch {cases[0][0].batch}" if len(cases) == 1 else "CIFAR ResNets"
    kind, model = result["rows"][0].get("device", ("cpu", ""))
    if kind == "cpu":
        model = result.get("processor", {}).get("model", "").replace("(R)", "").replace("(TM)", "")
    threads = f"{result['threads']} thread{'s' * (result['threads'] > 1)}"
    tuned = "process tuned" * result.get("process_tuned", False)
    figure.suptitle(", ".join(filter(None, [of, model, threads, tuned])))
    libraries = {library for panels in cases for panel in panels for _, library in panel.rows}
    handles: list[Any] = [Patch(color=COLORS[name], label=NAMES[name]) for name in NAMES if name in libraries]
    if "pytorch" in libraries:
        handles.append(Line2D([], [], color=COLORS["pytorch"], linestyle="--", label="plain PyTorch's median"))
    handles.append(Line2D([], [], color="black", linewidth=1.1, label="slowest to fastest round"))
    columns = len(handles) if figure.get_figwidth() > 12 else (len(handles) + 1) // 2
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
