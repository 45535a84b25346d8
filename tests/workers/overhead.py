"""Measures what dividing a training costs: `python tests/workers/overhead.py --rounds 3`.

ResNet-20 trains on 32x32 images in batches of 128, by one process on all cores, then by several with as many cores
together, in turns. The first epoch compiles, and does not count.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

import kzoo
from kzoo.workers.launching import launch

BATCH = 128


def train(directory: Path, steps: int) -> None:
    """Trains as one of the workers that the environment tells of."""
    kzoo.join_workers()
    drawn = np.random.RandomState(0).randint(0, 256, (BATCH, 32, 32, 3)).astype(np.uint8)
    split = kzoo.Split(drawn, np.arange(BATCH) % 10)
    images = split.take(np.arange(steps * BATCH) % BATCH)
    data = kzoo.Dataset("noise", tuple("abcdefghij"), images, split, split, flip=True)
    recipe = kzoo.recipe("default").override(epochs=3, batch_size=BATCH, patience=0)
    kzoo.fit(kzoo.resnet20(), data, recipe, run_dir=directory, verbose=0)


def images_per_second(workers: int, steps: int) -> float:
    """Returns how many images a second some workers train on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run")
        if launch([sys.executable, __file__, "--steps", str(steps), "--train", str(path)], workers):
            raise RuntimeError("The training must end. Received: an error.")
        return float(kzoo.Run(path).metrics["images_per_second"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="of an epoch")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(options.train, options.steps)
        return
    os.environ["KZOO_TUNE_PROCESS"] = "1"  # as the `kzoo` program does
    shares, name = [], keras.config.backend()
    for _ in range(options.rounds):
        one, several = (images_per_second(count, options.steps) for count in (1, options.workers))
        shares.append(several / one)
        print(f"{name}: one process {one:.0f} images/s, {options.workers} processes {several:.0f}", flush=True)
    print(f"{name}: {statistics.median(shares):.2f} of the speed of one process, median of {options.rounds} rounds")


if __name__ == "__main__":
    main()
