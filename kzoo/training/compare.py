"""Compares runs."""

import os
from collections.abc import Sequence
from typing import Any

from kzoo.training.picture import plot_comparison
from kzoo.training.run import Run

_COLUMNS = (
    "model",
    "data",
    "backend",
    "seed",
    "epochs_run",
    "best_epoch",
    "val_loss",
    "val_accuracy",
    "test_accuracy",
    "images_per_second",
)


def compare_runs(runs: Sequence[Run], picture: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Tabulates the results of runs, and draws their learning curves over each other.

    Args:
        runs: At least one `Run`.
        picture: Path of the PNG to write.

    Returns:
        One row a run: its directory and what it reached.

    Raises:
        FileNotFoundError: If a training has not ended.
    """
    rows = [{"run": str(run.directory)} | {name: run.metrics[name] for name in _COLUMNS} for run in runs]
    plot_comparison({str(run.directory): run.history for run in runs}, os.fspath(picture))
    return rows
