"""Learning curves as pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

Rows = Sequence[Mapping[str, float]]


def plot_history(rows: Rows, path: str | Path, title: str) -> None:
    """Draws loss, accuracy and learning rate over the epochs of one run, with the epoch of the lowest validation loss.

    Args:
        rows: Rows of a run's history.
        path: Path of the PNG to write.
        title: What the picture shows.
    """
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in rows]
    best = min(rows, key=lambda row: row["val_loss"])["epoch"]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(1, 3)
    marker = "o" if len(rows) == 1 else None
    for axis, metric in zip(axes[:2], ("loss", "accuracy"), strict=True):
        axis.plot(epochs, [row[metric] for row in rows], label="train", marker=marker)
        axis.plot(epochs, [row[f"val_{metric}"] for row in rows], label="validation", marker=marker)
        axis.axvline(best, color="grey", linestyle=":", label=f"lowest validation loss, epoch {best:.0f}")
        axis.set_ylabel("loss (nats)" if metric == "loss" else metric)
    axes[0].set_yscale("log")
    axes[0].legend()
    axes[2].plot(epochs, [row["learning_rate"] for row in rows], color="C2", marker=marker)
    axes[2].set_ylabel("learning rate")
    _finish(figure, axes, path)


def plot_comparison(runs: Mapping[str, Rows], path: str | Path) -> None:
    """Draws validation loss and accuracy of several runs over each other.

    Args:
        runs: Name of each run to the rows of its history.
        path: Path of the PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, metric in zip(axes, ("loss", "accuracy"), strict=True):
        for colour, (name, rows) in enumerate(runs.items()):
            epochs = [row["epoch"] for row in rows]
            marker = "o" if len(rows) == 1 else None
            axis.plot(epochs, [row[f"val_{metric}"] for row in rows], f"C{colour}", label=name, marker=marker)
            axis.plot(epochs, [row[metric] for row in rows], f"C{colour}", linestyle="--", alpha=0.5)
        axis.set_ylabel("loss (nats)" if metric == "loss" else metric)
    axes[0].set_yscale("log")
    axes[0].legend(title="validation; training dashed")
    _finish(figure, axes, path)


def _finish(figure: object, axes: Sequence[object], path: str | Path) -> None:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    for axis in axes:
        assert isinstance(axis, Axes)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    assert isinstance(figure, Figure)
    figure.savefig(path, dpi=120)
