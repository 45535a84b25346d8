"""Progress of a training: a line an epoch, which fits 80 columns and on a terminal shows how far the epoch is."""

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

import keras

_SECONDS_BETWEEN = 0.1


class Progress(keras.callbacks.Callback):
    """Prints a line an epoch to stdout.

    Args:
        live: Boolean, whether to print the line over and over within an epoch; `None`, if stdout is a terminal.
            Defaults to `None`.
    """

    async_safe = True  # Keras may call `on_train_batch_end` from a thread, so that the next step need not wait

    def __init__(self, live: bool | None = None) -> None:
        super().__init__()
        self.live = live

    def on_train_begin(self, logs: Any = None) -> None:
        self._live = sys.stdout.isatty() if self.live is None else self.live
        self._last, self._began = 0.0, time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._head = self._head_of(epoch)
        self._began = time.monotonic()

    def _head_of(self, epoch: int) -> str:
        return f"epoch {epoch + 1:{len(str(self.params['epochs']))}}/{self.params['epochs']}"

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        now = time.monotonic()
        if self._live and now - self._last >= _SECONDS_BETWEEN:
            self._last = now
            self._print([self._head, f"step {batch + 1}/{self.params['steps']}", *_shown(logs or {})], "", end="")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        seconds = time.monotonic() - self._began
        took = f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"
        # A training that was left within a validation goes on with it: that epoch begins for nobody.
        self._print([self._head_of(epoch), *_shown(logs or {})], took, end="\n")

    def _print(self, parts: list[str], last: str, end: str) -> None:
        """Prints as many parts as fit, and the last."""
        width = shutil.get_terminal_size().columns - 1
        line = ""
        for part in parts:
            if len(line) + 2 * bool(line) + len(part) + (2 + len(last)) * bool(last) > width:
                break
            line += "  " * bool(line) + part
        line = f"{line}  {last}" if last else line
        sys.stdout.write(f"\r{line:<{width}}{end}" if self._live else line + end)
        sys.stdout.flush()


def _shown(logs: Mapping[str, Any]) -> list[str]:
    """Returns name and value of each metric, with that of the validation beside it, without what is no number."""
    values = {name: f"{value:.3g}" for name, value in logs.items() if isinstance(value, float | int)}
    values |= {name: f"{value:.3f}" for name, value in logs.items() if isinstance(value, float) and abs(value) < 10}
    shown = []
    for name, value in sorted(values.items(), key=lambda item: item[0] != "loss"):
        if f"val_{name}" in values:
            shown.append(f"{name} {value} (val {values[f'val_{name}']})")
        elif not (name.startswith("val_") and name.removeprefix("val_") in values):
            shown.append(f"{name} {value}")
    return shown


def ending(metrics: Mapping[str, Any], epochs: int) -> str:
    """Returns what is to be said of how a training ended; nothing if it went to its end and keeps the last weights.

    Args:
        metrics: The content of `metrics.json`.
        epochs: Integer, the recipe's epochs.
    """
    run, best, stopped = (metrics[name] for name in ("epochs_run", "best_epoch", "stopped_early"))
    if best == run and not stopped:
        return ""
    after = f"stopped in epoch {run} of {epochs}" if stopped else f"trained {epochs} epochs"
    return f"{after}; the weights are those of {'no epoch' if best is None else f'epoch {best}'}"
