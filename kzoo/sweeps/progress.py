"""How far a sweep is: one bar over the epochs of all its trainings."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kzoo.training.progress import Progress

_ESTIMATED_OVER_S = 24 * 3600.0  # an epoch may take minutes: the time left follows from all of them


class Epochs(Progress):
    """Moves the bar of a sweep on after each epoch of one training.

    Args:
        bar: `Bar`.
        before: Integer, epochs of the trainings before.
    """

    def __init__(self, bar: "Bar", before: int) -> None:
        super().__init__()
        self.bar, self.before = bar, before

    def on_train_begin(self, logs: Any = None) -> None:
        pass

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.bar.skip_to(self.before + epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        pass

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.bar.reach(self.before + epoch + 1)


class Bar:
    """Rich's bar on a terminal, a line a training elsewhere, or nothing.

    Args:
        epochs: Integer, of all trainings together.
        verbose: As of `kzoo.fit`.
        unit: String, what is counted. Defaults to `"epochs"`.
    """

    def __init__(self, epochs: int, verbose: Any, unit: str = "epochs") -> None:
        from rich import progress
        from rich.console import Console

        is_live = verbose == 1 or (verbose == "auto" and sys.stderr.isatty())
        self._prints = bool(verbose) and not is_live
        columns = (
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit, markup=False),
            progress.TimeRemainingColumn(),
        )
        console = Console(stderr=True, markup=False, emoji=False)
        self._bar = progress.Progress(
            *columns, console=console, disable=not is_live, speed_estimate_period=_ESTIMATED_OVER_S
        )
        self._task = self._bar.add_task("", total=epochs)
        self._reached = 0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the bar meanwhile."""
        with self._bar:
            yield

    def start(self, description: str) -> None:
        """Says which training begins."""
        self._bar.update(self._task, description=description)
        if self._prints:
            print(description, file=sys.stderr, flush=True)  # noqa: T201

    def reach(self, epochs: int) -> None:
        """Moves on to a number of epochs."""
        if epochs > self._reached:
            self._bar.update(self._task, advance=epochs - self._reached)
            self._reached = epochs

    def skip_to(self, epochs: int) -> None:
        """Moves on to a number of epochs, of which the last were done before: from them no time is estimated."""
        if epochs > self._reached:
            self._bar.reset(self._task, completed=epochs)
            self._reached = epochs
