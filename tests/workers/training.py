"""Small trainings that workers do together, each in a process of its own: `python training.py PLAN`.

The plan is JSON: a list of trainings, each with the number of processes and the arguments of `train`. The processes
are forked from one that has imported kzoo and computed nothing, which takes less than to start each anew. What each
comes to is a line of JSON.
"""

import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kzoo
from kzoo.workers.teams import divide_cpu

LIMIT = 240  # seconds for a training

lost_at = 0.0  # when the last process of a training ended


def data(count: int) -> kzoo.Dataset:
    drawn = np.random.RandomState(0)
    train, other = (
        kzoo.Split(drawn.randint(0, 256, (number, 8, 8, 3)).astype(np.uint8), np.arange(number) % 3)
        for number in (count, 21)
    )
    return kzoo.Dataset("noise", ("a", "b", "c"), train, other, other, flip=True)


def network() -> kzoo.Model:
    """Returns a residual block with dropout."""
    images = keras.Input((8, 8, 3), name="images")
    x = kzoo.PixelNormalization(name="pixels")(images)
    x = kzoo.ReLU()(kzoo.BatchNorm(name="norm1")(kzoo.Conv2D(4, name="conv1")(x)))
    y = kzoo.Dropout(0.3, seed=1, name="dropout")(x)
    y = kzoo.BatchNorm(name="norm2")(kzoo.Conv2D(4, name="conv2")(y))
    x = keras.layers.GlobalAveragePooling2D()(kzoo.ReLU()(kzoo.Add()([x, y])))
    return kzoo.Model(images, keras.layers.Dense(3, name="logits")(x), name="network")


def train(
    directory: str, images: int = 74, epochs: int = 4, devices: Any = None, dies: Any = None, **settings: Any
) -> kzoo.Run:
    """Trains on noise: batches of 16, of which the last one has 10 images, 5 of them an epoch."""
    kzoo.join_workers()
    going = {name: settings.pop(name) for name in ("resume", "checkpoint_every") if name in settings}
    recipe = kzoo.Recipe(
        epochs=epochs, batch_size=16, patience=None, learning_rate=0.02, warmup=0.2, precision="float64", ema=0.9
    ).override(**settings)
    if dies is not None:
        die_at(*dies)
    divide_cpu(devices)
    keras.utils.set_random_seed(1)
    with kzoo.precision(recipe.precision):
        model = network()
        return kzoo.fit(model, data(images), recipe, run_dir=directory, verbose=0, devices=devices, seed=1, **going)


def die_at(rank: int, step: int, name: str) -> None:
    """Lets one of the workers send itself a signal after a step."""
    from kzoo.training.session import Session

    original = Session.on_train_batch_end

    def dying(self: Session, batch: int, logs: Any = None) -> None:
        original(self, batch, logs)
        if int(os.environ.get("RANK", "0")) == rank and self.epoch * self.per_epoch + self.batch == step:
            os.kill(os.getpid(), getattr(signal, name))

    Session.on_train_batch_end = dying  # type: ignore[method-assign]


def in_processes(count: int, **arguments: Any) -> list[int]:
    """Trains in forked processes, and returns how each has ended, as `os.waitstatus_to_exitcode` does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(count)}
    children = []
    for rank in range(count):
        if (child := os.fork()) == 0:
            try:
                if count > 1:
                    os.environ.update(place, RANK=str(rank), LOCAL_RANK=str(rank))
                train(**arguments)
                sys.stdout.flush()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        children.append(child)
    # The last to be started is the one that dies on purpose: how long the others take from then on is what counts.
    found = [_ended(children[-1], time.monotonic() + LIMIT)]
    global lost_at
    lost_at = time.monotonic()
    return [*(_ended(child, time.monotonic() + LIMIT) for child in children[:-1]), *found]


def _ended(child: int, until: float) -> int:
    """Waits for a process, and returns how it ended: one that is stopped, or takes too long, is killed."""
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
        if found and os.WIFSTOPPED(status):
            until = min(until, time.monotonic() + 15)  # the others come to know of it meanwhile
        elif found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    for one in json.loads(Path(sys.argv[1]).read_text()):
        ended = in_processes(one.pop("processes", 1), **one)
        print(json.dumps({"ended": ended, "seconds": round(time.monotonic() - lost_at, 1)}), flush=True)


if __name__ == "__main__":
    main()
