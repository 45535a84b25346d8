"""Measures what a checkpoint costs a training: `python tests/training/overhead.py --pairs 12`.

ResNet-20 trains on 32x32 images in blocks of some steps. In every second block one checkpoint is taken; what such a
block takes longer than its neighbours is what a checkpoint costs, and a 60th of that a second is its part of a
training with one every 60 s.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kzoo
from kzoo.training.keeper import Keeper
from kzoo.training.state import arrays_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=6, help="of a block")
    parser.add_argument("--batch-size", type=int, default=128)
    options = parser.parse_args()
    steps, seconds, saves = options.steps * (2 * options.pairs + 2), list[float](), list[float]()
    done, began = 0, time.perf_counter()

    def after_step(self: Keeper, may_wait: bool) -> None:
        nonlocal done, began
        done += 1
        block, step = divmod(done, options.steps)
        if step:
            return
        arrays_of(model)  # waits for the steps
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
        if block % 2:
            self.save(wait=False)
            saves.append(time.perf_counter() - began)

    Keeper.after_step = after_step  # type: ignore[method-assign]
    random = np.random.RandomState(0)
    split = kzoo.Split(random.randint(0, 256, (256, 32, 32, 3)).astype(np.uint8), np.arange(256) % 10)
    count = steps * options.batch_size
    train = split.take(np.arange(count) % 256)
    data = kzoo.Dataset("noise", tuple("abcdefghij"), train, split, split, flip=True)
    recipe = kzoo.recipe("default").override(epochs=1, batch_size=options.batch_size)
    model: Any = kzoo.resnet20()
    with tempfile.TemporaryDirectory() as folder:
        kzoo.fit(model, data, recipe, run_dir=Path(folder, "run"), verbose=0)
    # Block 0 compiles; from then on every second one begins with a checkpoint.
    pairs = list(zip(seconds[1:-1:2], seconds[2::2], strict=True))
    costs = [taken - without for taken, without in pairs]
    middle, plain = statistics.median(costs), statistics.median(without for _, without in pairs)
    error = 1.2533 * statistics.stdev(costs) / len(costs) ** 0.5
    name, copy = keras.backend.backend(), statistics.median(saves)
    print(f"{name}: a checkpoint costs {1e3 * middle:.0f} ms (error {1e3 * error:.0f}), {1e3 * copy:.1f} to copy:")
    print(f"{middle / 60:.3%} of a training that takes one every 60 s.")
    print(f"Medians of {len(pairs)} pairs of blocks of {options.steps} steps, which take {plain:.2f} s.")


if __name__ == "__main__":
    main()
