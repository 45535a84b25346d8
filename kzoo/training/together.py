"""A training of several processes: what one of them decides for all."""

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo.training.keeper import Interval, Keeper
from kzoo.training.run import Run
from kzoo.training.state import TrainState

STEPS_BETWEEN = 8  # after which the processes agree on how to go on
_WRITERS = (keras.callbacks.ModelCheckpoint, keras.callbacks.CSVLogger, keras.callbacks.TensorBoard)


class SharedKeeper(Keeper):
    """Keeper of one of several processes: all of them end after the same step, and the first one writes.

    Args:
        folder: Path of the folder of checkpoints.
        interval: The `Interval`.
        capture: Returns the `TrainState` of now, the same in all processes.
        team: The team of workers.
    """

    def __init__(self, folder: Path, interval: Interval, capture: Callable[[], TrainState], team: Any) -> None:
        super().__init__(folder, interval, capture)
        self.team = team
        self._heard: int | None = None
        self._due = False

    def hear(self, number: int) -> None:
        self._heard = number

    def agree(self, stops: bool) -> bool:
        """Lets all processes know whether a signal has come to one, a checkpoint is due, and the training stops.

        Args:
            stops: Boolean, whether a callback of this process has stopped the training; that of the first one counts.

        Returns:
            Boolean, whether it stops.
        """
        is_first = self.team.rank == 0
        signal, due, stopped = self.team.most(
            [self._heard or 0, int(is_first and super().is_due()), int(is_first and stops)]
        )
        self.asked, self._due = signal or None, bool(due)
        return bool(stopped)

    def is_due(self) -> bool:
        due, self._due = self._due, False
        return due

    def _write(self, state: TrainState) -> bool:
        return self.team.rank != 0 or super()._write(state)


class _RunOfOther(Run):
    """What a process that is not the first writes of a run, in a folder of its own.

    Args:
        directory: Path of that folder.
        shared: Path of the run directory.
    """

    def __init__(self, directory: Path, shared: Path) -> None:
        super().__init__(directory)
        self.shared = shared


def run_of_all(run: Run) -> Run:
    """Returns the run that the first process writes, where this one sees it, else its own."""
    if isinstance(run, _RunOfOther) and (run.shared / "config.json").is_file():
        return Run(run.shared)
    return run


@contextmanager
def opened_by_first(team: Any, opened: Any, fill: Callable[[Path], Run]) -> Iterator[tuple[Run, TrainState | None]]:
    """Yields the run and the state that a training goes on from, in each process.

    The first process opens the run directory. The others get the state from it, and write what they write into a folder
    of their own, which is removed in the end.

    Args:
        team: The team of workers, or `None`.
        opened: Context manager that yields run and state, of the first process.
        fill: Makes a run in a directory, of the others.

    Raises:
        ValueError: In the other processes, if the first one could not open the run.
    """
    if team is None or team.processes == 1:
        with opened as (run, state):
            yield run, state
    elif team.rank == 0:
        try:
            run, state = opened.__enter__()
        except BaseException as error:
            team.from_first(json.dumps({"error": f"{error}"}).encode())
            raise
        try:
            team.from_first(_packed(run.directory, state))
            yield run, state
        finally:
            opened.__exit__(None, None, None)
    else:
        content = json.loads(head) if (head := team.from_first(b"")).startswith(b"{") else None
        if content is not None:
            raise ValueError(content["error"])
        directory, state = _unpacked(head)
        with tempfile.TemporaryDirectory(prefix="kzoo-worker-") as folder:
            yield _RunOfOther(fill(Path(folder)).directory, directory), state


def _packed(directory: Path, state: TrainState | None) -> bytes:
    content = io.BytesIO()
    numbers = json.dumps({"directory": str(directory.absolute()), "numbers": None if state is None else state.numbers})
    arrays = {} if state is None else {f"array/{name}": array for name, array in state.arrays.items()}
    np.savez(content, allow_pickle=False, numbers=np.frombuffer(numbers.encode(), np.uint8), **arrays)
    return content.getvalue()


def _unpacked(content: bytes) -> tuple[Path, TrainState | None]:
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        numbers = json.loads(found["numbers"].tobytes())
        arrays = {name.removeprefix("array/"): found[name] for name in found.files if name.startswith("array/")}
    state = None if numbers["numbers"] is None else TrainState(arrays, numbers["numbers"])
    return Path(numbers["directory"]), state


def check_same(team: Any, config: Mapping[str, Any], model: keras.Model) -> None:
    """Raises `ValueError` unless all processes train the same model on the same data by the same recipe.

    Args:
        team: The team of workers, or `None`.
        config: Content of `config.json`.
        model: The `keras.Model`, at its beginning.
    """
    if team is None or team.processes == 1:
        return
    found = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for weight in model.weights:
        found.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    own = int.from_bytes(found.digest()[:7], "big")
    largest, smallest = team.most([own, -own])
    if largest != -smallest:
        raise ValueError(
            "All processes must train the same model, with the same weights, on the same data by the same recipe and "
            "seed. Received: processes that differ."
        )


def silence_writers(callbacks: list[keras.callbacks.Callback]) -> None:
    """Lets callbacks of Keras that write files do nothing: in processes that are not the first."""
    for callback in callbacks:
        if isinstance(callback, _WRITERS):
            for name in dir(keras.callbacks.Callback):
                if name.startswith("on_") or name in ("set_model", "set_params"):
                    setattr(callback, name, _do_nothing)


def _do_nothing(*_: Any, **__: Any) -> None:
    """Stands in for a method of a callback that writes."""
