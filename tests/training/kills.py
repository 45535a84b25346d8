"""Kills trainings and goes on with them: `python tests/training/kills.py --rounds 50`.

Each round kills a small training four times with SIGKILL, at moments drawn from a seed, goes on each time, and compares
what it leaves with what an undisturbed one left. Every training is a process of its own, forked from one that has
imported kzoo and done nothing else.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import kzoo
from kzoo.training.session import Session

KILLS = 4
MOMENTS = ("any time", "a write of a checkpoint", "a validation", "the first step", "a step")
RECIPE = kzoo.Recipe(epochs=5, batch_size=16, patience=2, min_delta=0.0, learning_rate=0.05, ema=0.9, lookahead_steps=2)


@dataclasses.dataclass(frozen=True)
class Kill:
    """A moment at which a training dies.

    Args:
        moment: One of `MOMENTS`.
        count: Integer, of which write, batch or step it is.
        seconds: Float, how long after it; of `"any time"`, after the beginning.
    """

    moment: str
    count: int
    seconds: float


def noise() -> kzoo.Dataset:
    """Returns images that nothing can be learned from, so that early stopping soon has its turn."""
    drawn = np.random.RandomState(0)
    train, other = (
        kzoo.Split(drawn.randint(0, 256, (count, 8, 8, 3)).astype(np.uint8), np.arange(count) % 3) for count in (80, 40)
    )
    return kzoo.Dataset("noise", ("a", "b", "c"), train, other, other, flip=True)


def train(path: Path) -> None:
    """Trains in a run directory, or goes on there."""
    model = kzoo.resnet(8, input_shape=(8, 8, 3), classes=3, dropout=0.2, seed=1)
    kzoo.fit(model, noise(), RECIPE, run_dir=path, verbose=0, resume=True, checkpoint_every=2)


def content(path: Path) -> dict[str, str]:
    """Returns the SHA-256 of all that a training leaves, but for times."""
    run = kzoo.Run(path)
    history = [{name: value for name, value in row.items() if name != "seconds"} for row in run.history]
    metrics = {name: value for name, value in run.metrics.items() if "second" not in name}
    found = {"weights": run.weights_path.read_bytes(), "history": history, "metrics": metrics}
    return {
        name: hashlib.sha256(value if isinstance(value, bytes) else json.dumps(value).encode()).hexdigest()
        for name, value in found.items()
    }


def drawn_kill(draw: random.Random, seconds: float) -> Kill:
    """Draws a moment in a training that takes some seconds."""
    moment = draw.choice(MOMENTS)
    if moment == "any time":
        return Kill(moment, 0, draw.uniform(0, seconds))
    most = {"a write of a checkpoint": 60, "a validation": 5, "the first step": 1, "a step": 12}[moment]
    return Kill(moment, draw.randint(1, most), draw.choice((0.0, draw.uniform(0, 0.003))))


def arm(kill: Kill, path: Path) -> None:
    """Lets this process die at a moment."""
    if kill.moment == "any time":
        _die_in(kill.seconds)
        return
    left = [kill.count]

    def pass_by() -> None:
        left[0] -= 1
        if left[0] == 0:
            _die_in(kill.seconds)

    if kill.moment == "a write of a checkpoint":
        sys.addaudithook(lambda event, arguments: pass_by() if _is_write(event, arguments, path) else None)
        return
    method = "on_test_batch_end" if kill.moment == "a validation" else "on_train_batch_end"
    original: Callable[..., None] = getattr(Session, method)

    def dying(self: Session, batch: int, logs: Any = None) -> None:
        pass_by()
        original(self, batch, logs)

    setattr(Session, method, dying)


def _is_write(event: str, arguments: tuple[Any, ...], path: Path) -> bool:
    writes = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "open")
    return event in writes and str(path / "checkpoints") in str(arguments[0])


def _die_in(seconds: float) -> None:
    if seconds == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


def in_a_process(path: Path, kill: Kill | None = None) -> bool:
    """Trains in a forked process; returns whether it was killed.

    Raises:
        RuntimeError: If it ended with an error.
    """
    if (child := os.fork()) == 0:
        try:
            if kill is not None:
                arm(kill, path)
            train(path)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status != 0:
        raise RuntimeError(f"The training in {path} must end. Received: status {status}, {kill}.")
    return False


def rounds(folder: Path, count: int, seed: int = 0) -> Iterator[tuple[dict[str, str], dict[str, str], list[Kill]]]:
    """Yields what each round left, what an undisturbed training left, and the kills that were met."""
    begin = time.monotonic()
    in_a_process(folder / "undisturbed")
    seconds = time.monotonic() - begin
    expected = content(folder / "undisturbed")
    for number in range(count):
        draw, path = random.Random(f"{seed} {number}"), folder / f"round-{number}"
        kills = [drawn_kill(draw, seconds) for _ in range(KILLS)]
        met = [kill for kill in kills if in_a_process(path, kill)]
        in_a_process(path)
        yield content(path), expected, met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    equal, met = 0, dict.fromkeys(MOMENTS, 0)
    with tempfile.TemporaryDirectory() as folder:
        for number, (found, expected, kills) in enumerate(rounds(Path(folder), arguments.rounds, arguments.seed)):
            equal += found == expected
            for kill in kills:
                met[kill.moment] += 1
            if found != expected:
                print(f"round {number} differs in {[name for name in found if found[name] != expected[name]]}: {kills}")
            print(f"{equal} of {number + 1} equal; kills: {met}", flush=True)
    return int(equal != arguments.rounds)


if __name__ == "__main__":
    sys.exit(main())
