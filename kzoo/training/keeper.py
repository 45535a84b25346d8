"""Checkpoints while a training goes on, and its end where somebody asks for it."""

import contextlib
import dataclasses
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kzoo import environment
from kzoo.errors import TrainingInterrupted
from kzoo.training.checkpoint import write_checkpoint
from kzoo.training.lock import command_to_go_on
from kzoo.training.state import TrainState

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclasses.dataclass(frozen=True)
class Interval:
    """How often a checkpoint is taken.

    Args:
        seconds: Float, above 0, or `None`.
        steps: Integer, 1 or larger, or `None`.
    """

    seconds: float | None = 60.0
    steps: int | None = None

    @classmethod
    def parse(cls, value: "str | int | Interval") -> "Interval":
        """Returns the interval that `"60s"` (seconds) or `50` (steps) says.

        Raises:
            ValueError: If it says none.
        """
        if isinstance(value, Interval):
            return value
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(s?)", str(value))
        number = float(found[1]) if found else 0.0
        if not found or number <= 0 or (not found[2] and not number.is_integer()):
            raise ValueError(
                f"`checkpoint_every` must be seconds, such as '60s', or a number of steps. Received: {value!r}."
            )
        return cls(number, None) if found[2] else cls(None, int(number))


class Keeper:
    """Writes a training's states into checkpoints, and lets signals end it between two steps.

    Args:
        folder: Path of the folder of checkpoints.
        interval: The `Interval`.
        capture: Returns the `TrainState` of now.
    """

    def __init__(self, folder: Path, interval: Interval, capture: Callable[[], TrainState]) -> None:
        self.folder = folder
        self.interval = interval
        self.capture = capture
        self.asked: int | None = None
        self._last, self._steps = time.monotonic(), 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="kzoo-checkpoint")
        self._writing: Future[bool] | None = None

    def hear(self, number: int) -> None:
        """Remembers the signal that asks for the end."""
        self.asked = number

    def after_step(self, may_wait: bool) -> None:
        """Takes a checkpoint if one is due, and ends the training if somebody asked for it.

        Args:
            may_wait: Boolean, whether the state will soon be a simpler one: at the last step of an epoch.
        """
        self._steps += 1
        self.end_if_asked()
        if not may_wait:
            self.save_if_due()

    def save_if_due(self) -> None:
        """Takes a checkpoint if one is due, and none is being written."""
        if self.is_due():
            self.save(wait=False)

    def is_due(self) -> bool:
        """Returns whether a checkpoint is due, and none is being written."""
        seconds, steps = self.interval.seconds, self.interval.steps
        due = self._steps >= steps if steps else time.monotonic() - self._last >= (seconds or 0)
        return due and (self._writing is None or self._writing.done())

    def end_if_asked(self) -> None:
        """Raises `TrainingInterrupted` if a signal has come, with a checkpoint written."""
        if self.asked is not None:
            self.save_and_end_if_asked()

    def save_and_end_if_asked(self) -> None:
        """Writes a checkpoint, then raises `TrainingInterrupted` if a signal has come."""
        was_written = self.save(wait=True)
        if self.asked is not None:
            going_on = command_to_go_on(self.folder.parent, environment.command())
            said = (
                "A checkpoint was written" if was_written else "No checkpoint could be written: the last one is older"
            )
            raise TrainingInterrupted(f"{said}. To go on: {going_on}", self.asked)

    def save(self, wait: bool) -> bool:
        """Copies the state of now and writes it, in a thread unless `wait`; returns whether it is known to be there."""
        if self._writing is not None and self._writing.done():
            self._writing.result()  # raises what nobody foresaw
        state = self.capture()
        self._last, self._steps = time.monotonic(), 0
        self._writing = self._writer.submit(self._write, state)
        return self._writing.result() if wait else False

    def _write(self, state: TrainState) -> bool:
        try:
            write_checkpoint(self.folder, state)
            return True
        except OSError as error:
            size = sum(array.nbytes for array in state.arrays.values())
            warnings.warn(
                f"No checkpoint could be written to {self.folder}, which takes {size:,} bytes. Received: {error}. The "
                "training goes on, and the checkpoint before is kept.",
                stacklevel=2,
            )
            return False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Lets the first SIGINT or SIGTERM end the training after its step; the second does what it did before."""
        # Only the main thread may hear signals.
        is_main = threading.current_thread() is threading.main_thread()
        before = {number: signal.getsignal(number) for number in _SIGNALS if is_main}
        # Whoever started this may have it ignore one; what is not Python's cannot be given back.
        before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}

        def hear(number: int, frame: Any) -> None:
            del frame
            self.hear(number)
            _restore(before)
            said = f"\n{signal.Signals(number).name}: finishing the step, then writing a checkpoint."
            # Ctrl-C may have ended the reader of stderr, too, or have come within another line.
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                print(said, file=sys.stderr)  # noqa: T201

        for number in before:
            signal.signal(number, hear)
        try:
            yield
        finally:
            _restore(before)
            self._writer.shutdown()


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
