"""Measures kzoo against plain `keras.layers` and plain PyTorch: images a second, side by side, in interleaved rounds.

    KERAS_BACKEND=torch python applications/benchmark.py --quick

One process a backend, each with the interpreter that KZOO_PYTHON_TORCH, KZOO_PYTHON_JAX or KZOO_PYTHON_TENSORFLOW
names; where none is named, the backend in use alone. kzoo and Keras run as users run them (`model.fit` on batches,
`model.predict`), PyTorch in a loop over channels_last memory. All start from the same weights, and must give the same
loss. A ratio is the median over the rounds, each within its round, and by bootstrap what it is at least: with 7 rounds
that holds in 94 % of cases, with the 3 of `--quick` in 88 %. The limit is what the multiply-adds would take in one
large matrix product. Writes `benchmark.json` and `benchmark.png` into `--out`.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import timeit
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out
from benchmark_rows import PASSES, Case, draw, line, ratio, yardsticks

BACKENDS = ("torch", "tensorflow", "jax")
WORKER = Path(__file__).with_name("benchmark_worker.py")
MODES = ("train", "inference", "folded")


class Worker:
    """A process that holds the networks of one backend."""

    def __init__(self, backend: str, python: str, arguments: list[int], threads: int) -> None:
        limits = dict.fromkeys(
            ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "MKL_NUM_THREADS"), str(threads)
        )
        self.process = subprocess.Popen(
            [python, str(WORKER), *map(str, arguments)],
            env={**os.environ, **limits, "KERAS_BACKEND": backend, "PYTHONSAFEPATH": ""},  # its twin is beside it
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self.answer()

    def ask(self, program: str) -> Any:
        """Returns the measurement of one program."""
        assert self.process.stdin
        print(program, file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> Any:
        """Reads the next answer."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A worker ended early; its own error is above.")
        return json.loads(line)


def measure(depth: int, batch: int, rounds: int, images: int, threads: int) -> list[dict[str, Any]]:
    """Returns a row for each program: speeds, and the ratios to plain PyTorch and Keras in the same rounds."""
    named = {backend: os.environ.get(f"KZOO_PYTHON_{backend.upper()}") for backend in BACKENDS}
    pythons = {backend: python for backend, python in named.items() if python}
    pythons = pythons or {os.environ.get("KERAS_BACKEND", "tensorflow"): sys.executable}
    arguments = [depth, batch, max(1, images // batch)]
    workers = {backend: Worker(backend, python, arguments, threads) for backend, python in pythons.items()}
    losses = {backend: worker.ready["loss"] for backend, worker in workers.items()}
    np.testing.assert_allclose(list(losses.values()), next(iter(losses.values())), rtol=1e-4, err_msg=str(losses))
    speeds, peaks = dict[Case, list[float]](), {}
    programs = [(b, p) for mode in MODES for b, w in workers.items() for p in w.ready["first_seconds"] if mode in p]
    for backend, program in programs * rounds:
        answer = workers[backend].ask(program)
        speeds.setdefault((backend, program), []).append(answer["images_per_second"])
        peaks[backend] = answer["peak_bytes"]
    for worker in workers.values():
        worker.process.communicate()  # the end of its input
    return [
        {
            "case": [depth, batch, backend, program],
            "images_per_second": values,
            "median": statistics.median(values),
            "multiply_adds_per_second": statistics.median(values)
            * workers[backend].ready["multiply_adds"]
            * (PASSES if "train" in program else 1),
            "ratios": {name: ratio(values, speeds[other]) for name, other in yardsticks(backend, program, speeds)},
            "first_seconds": workers[backend].ready["first_seconds"][program],
            "peak_bytes_of_worker": peaks[backend],
        }
        for (backend, program), values in speeds.items()
    ]


def matrix_product(size: int = 2048) -> float:
    """Returns the multiply-adds a second of a float32 matrix product in NumPy, the machine's limit."""
    a = np.ones((size, size), np.float32)
    return size**3 / min(timeit.repeat(lambda: a @ a, number=1, repeat=5))


def main() -> None:
    """Measures, prints a table and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 56])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 32, 128, 512])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=1024, help="images a measurement, at least one batch")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="depth 20, batch 128, 3 rounds of 256 images")
    parser.add_argument("--out", type=Path, default=Path("benchmark"))
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.depths, arguments.batch_sizes, arguments.rounds, arguments.images = [20], [128], 3, 256
    limit = matrix_product()
    rows = []
    print(f"matrix product: {limit / 1e9:.0f} G multiply-adds a second, {arguments.threads} threads")
    for depth, batch in itertools.product(arguments.depths, arguments.batch_sizes):
        for row in measure(depth, batch, arguments.rounds, arguments.images, arguments.threads):
            print(line(row, limit), flush=True)
            rows.append(row)
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = {"limit_multiply_adds_per_second": limit, "threads": arguments.threads, "rows": rows}
    (arguments.out / "benchmark.json").write_text(json.dumps(result, indent=2))
    draw(rows, arguments.out / "benchmark.png")


if __name__ == "__main__":
    main()
