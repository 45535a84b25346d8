"""Measures kzoo against plain `keras.layers` and plain PyTorch: images a second, side by side, in interleaved rounds.

    KERAS_BACKEND=torch python applications/benchmark.py --quick

One process a library and backend, each with the interpreter that KZOO_PYTHON_TORCH, KZOO_PYTHON_JAX or
KZOO_PYTHON_TENSORFLOW names; where none is named, the backend in use alone. kzoo and Keras run as users run them
(`model.fit`, `model.predict`), PyTorch in a loop over channels_last memory. The yardsticks do not import kzoo. All
start from the same weights, and must give the same loss. A ratio is the median over the rounds, each within its round,
and by bootstrap what it is at least: with 7 rounds that holds in 94 % of cases, with the 3 of `--quick` in 88 %. The
limit is what the multiply-adds would take in one large matrix product. On TensorFlow Keras is measured with oneDNN, and
without: so it comes on processors without AVX-512 VNNI. Writes `benchmark.json` and `benchmark.png` into `--out`.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import timeit
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out
from benchmark_rows import PASSES, SLOW_KERAS, Case, draw, line, ratio, yardsticks

BACKENDS = ("torch", "tensorflow", "jax")
WORKER = Path(__file__).with_name("benchmark_worker.py")
MODES = ("train", "inference", "folded")
INFERENCE = 4  # times the steps of training: it is faster


class Worker:
    """A process that holds the networks of one library on one backend."""

    def __init__(self, backend: str, library: str, python: str, arguments: list[Any], threads: int) -> None:
        limits = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "MKL_NUM_THREADS")
        settings = dict.fromkeys(limits, str(threads)) | {"KERAS_BACKEND": backend, "PYTHONSAFEPATH": ""}
        settings["TF_ENABLE_ONEDNN_OPTS"] = "0" if library == SLOW_KERAS else "1"
        self.process = subprocess.Popen(
            [python, str(WORKER), library.split()[0], *map(str, arguments)],
            env=os.environ | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self.answer()

    def ask(self, mode: str, steps: int) -> Any:
        """Returns a measurement over that many batches."""
        assert self.process.stdin
        print(json.dumps([mode, steps]), file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> Any:
        """Reads the next answer."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A worker ended early; its own error is above.")
        return json.loads(line)


def interpreters() -> dict[str, str]:
    """Returns the interpreter of each backend to measure."""
    named = {backend: os.environ.get(f"KZOO_PYTHON_{backend.upper()}") for backend in BACKENDS}
    found = {backend: python for backend, python in named.items() if python}
    return found or {os.environ.get("KERAS_BACKEND", "tensorflow"): sys.executable}


def start(depth: int, batch: int, steps: int, threads: int, folder: str) -> dict[tuple[str, str], Worker]:
    """Starts the workers, kzoo's first: it writes the weights."""
    pythons = interpreters()
    cases = [(backend, library) for library in ("kzoo", "keras") for backend in pythons]
    cases += [("torch", "pytorch")] * ("torch" in pythons) + [("tensorflow", SLOW_KERAS)] * ("tensorflow" in pythons)
    arguments = [Path(folder) / "weights.npz", depth, batch, INFERENCE * steps]
    workers = {case: Worker(*case, pythons[case[0]], arguments, threads) for case in cases}
    losses = {" ".join(case): worker.ready["loss"] for case, worker in workers.items()}
    np.testing.assert_allclose(list(losses.values()), next(iter(losses.values())), rtol=1e-4, err_msg=str(losses))
    return workers


def measure(depth: int, batch: int, rounds: int, images: int, threads: int) -> list[dict[str, Any]]:
    """Returns a row for each program: speeds, and the ratios to plain PyTorch and Keras in the same rounds."""
    steps = min(64, max(1, images // batch))
    with tempfile.TemporaryDirectory() as folder:
        workers = start(depth, batch, steps, threads, folder)
    speeds, peaks = dict[Case, list[float]](), {}
    order = [(c, m) for kind in MODES for c, w in workers.items() for m in w.ready["first_seconds"] if kind in m]
    for case, mode in order * rounds:
        answer = workers[case].ask(mode, steps if "train" in mode else INFERENCE * steps)
        speeds.setdefault((*case, mode), []).append(answer["images_per_second"])
        peaks[case] = answer["peak_bytes"]
    for worker in workers.values():
        worker.process.communicate()  # the end of its input
    multiply_adds = next(worker.ready["multiply_adds"] for (_, library), worker in workers.items() if library == "kzoo")
    return [
        {
            "case": [depth, batch, backend, f"{library} {mode}"],
            "images_per_second": values,
            "median": statistics.median(values),
            "multiply_adds_per_second": statistics.median(values) * multiply_adds * (PASSES if "train" in mode else 1),
            "ratios": {
                name: ratio(values, speeds[other]) for name, other in yardsticks(backend, library, mode, speeds)
            },
            "first_seconds": workers[backend, library].ready["first_seconds"][mode],
            "peak_bytes_of_worker": peaks[backend, library],
        }
        for (backend, library, mode), values in speeds.items()
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
    parser.add_argument("--images", type=int, default=1024, help="trained on in a measurement, in 1 to 64 batches")
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
    result = {"limit_multiply_adds_per_second": limit, "threads": arguments.threads, "rows": rows}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "benchmark.json").write_text(json.dumps(result, indent=2))
    draw(rows, arguments.out / "benchmark.png")


if __name__ == "__main__":
    main()
