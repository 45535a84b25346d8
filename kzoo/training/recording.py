"""Callbacks that watch a training: what each epoch reached, how long it took, which epoch's weights are kept."""

import hashlib
import numbers
import time
import warnings
from typing import Any

import keras
import numpy as np

from kzoo.data import Batches
from kzoo.training.run import Run
from kzoo.training.schedule import StepSchedule


class Clock(keras.callbacks.Callback):
    """Tells the batches which epoch it is, and measures how long an epoch's steps take, and their last rate.

    Args:
        batches: The `Batches` that are trained on.
        schedule: The `StepSchedule`, or `None` where the optimizer has a rate of its own.
    """

    def __init__(self, batches: Batches, schedule: StepSchedule | None) -> None:
        super().__init__()
        self.batches = batches
        self.schedule = schedule
        self.step_seconds: list[float] = []
        self.images: list[int] = []
        self.steps = 0
        self.rate = 0.0
        self._began, self._steps_before = time.perf_counter(), 0
        self._started, self._seconds_before = time.perf_counter(), 0.0

    def get_state(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in ("step_seconds", "images", "steps", "rate")}
        return {**numbers, "seconds": self.seconds}

    def set_state(self, state: dict[str, Any]) -> None:
        self.step_seconds, self.images, self.steps, self.rate, self._seconds_before = (
            state[name] for name in ("step_seconds", "images", "steps", "rate", "seconds")
        )
        self._steps_before = self.steps

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches.start_at(epoch)
        self._steps_before = batches_of(self.model.optimizer)
        self._began = time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:
        # Validation follows the epoch's last step. Reading its count waits for it: JAX and GPUs compute behind Python.
        self.steps = batches_of(self.model.optimizer)
        self.step_seconds.append(time.perf_counter() - self._began)
        images = (self.steps - self._steps_before) * self.batches.batch_size
        self.images.append(min(len(self.batches.split), images))
        if self.schedule is None:
            rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
            self.rate = float(str(rate))  # the shortest number that is this float32
        else:
            self.rate = self.schedule.rate_of(self.steps - 1)

    @property
    def seconds(self) -> float:
        """Seconds from the beginning of the training, without those between two goes."""
        return self._seconds_before + time.perf_counter() - self._started

    @property
    def images_per_second(self) -> float:
        """Training speed over the epochs after the first, which compiles; over the first if it is the only one."""
        return sum(self.images[1:] or self.images) / sum(self.step_seconds[1:] or self.step_seconds)


class Recorder(keras.callbacks.Callback):
    """Writes a row of `history.csv` after each epoch, and remembers which weights it ended with.

    Args:
        run: The `Run`.
        clock: The `Clock`, called before this.
    """

    def __init__(self, run: Run, clock: Clock) -> None:
        super().__init__()
        self.run = run
        self.clock = clock
        self.rows: list[dict[str, float]] = []
        self._left_out = set[str]()
        self._digests: dict[str, int] = {}

    def get_state(self) -> dict[str, Any]:
        return {"rows": self.rows, "left_out": sorted(self._left_out), "digests": self._digests}

    def set_state(self, state: dict[str, Any]) -> None:
        self.rows, self._left_out, self._digests = state["rows"], set(state["left_out"]), state["digests"]
        if self.rows:
            self.run.write_history(self.rows)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        numbers_of = {name: _number(value) for name, value in (logs or {}).items()}
        row = {name: value for name, value in numbers_of.items() if value is not None}
        row |= {"learning_rate": self.clock.rate, "seconds": round(self.clock.step_seconds[-1], 3)}
        self.rows.append({"epoch": epoch + 1} | row | {"epoch": epoch + 1})
        self._digests[_digest(self.model)] = epoch + 1
        try:
            self.run.write_history(self.rows)
        except OSError as error:  # it is written again after the next epoch, and at the end
            warnings.warn(f"{self.run.directory / 'history.csv'} was not written. Received: {error}.", stacklevel=2)
        if new := numbers_of.keys() - row.keys() - self._left_out:
            self._left_out |= new
            warnings.warn(f"history.csv has no column for what is no number: {', '.join(sorted(new))}.", stacklevel=2)

    @property
    def epoch_of_weights(self) -> int | None:
        """The epoch that ended with the weights that the model has, counted from 1; `None` if none did."""
        return self._digests.get(_digest(self.model))


def batches_of(optimizer: Any) -> int:
    """Returns how many batches an optimizer has seen; its `iterations` count those together that make one step."""
    count = next((one for one in optimizer.variables if one.name == "iteration"), optimizer.iterations)
    return int(keras.ops.convert_to_numpy(count))


def _digest(model: keras.Model) -> str:
    found = hashlib.blake2b()
    for weight in model.weights:
        found.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return found.hexdigest()


def _number(value: Any) -> float | None:
    """Returns what a callback logged as a float, or `None` if it is no number."""
    if keras.ops.is_tensor(value):
        value = keras.ops.convert_to_numpy(value)
    if isinstance(value, np.ndarray | np.generic) and value.size == 1:
        value = value.item()
    return float(value) if isinstance(value, numbers.Real) else None
