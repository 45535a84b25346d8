"""Holds one library's networks for `benchmark.py`, and measures one at a time: a request a line in, an answer out.

A process a library, so that none profits or suffers from what another sets up: kzoo on a Keras backend, a network of
plain `keras.layers` on it, or one of plain `torch.nn`. kzoo leaves its weights in a file, from which the others start.
Here are both ends of the pipe: `Worker` is what `benchmark.py` holds, `main` runs in the other process.
"""

import functools
import importlib
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
from benchmark_rows import BFLOAT16, SLOW_KERAS

CLASSES = 10
SGD: dict[str, Any] = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
MODULES = {"kzoo": "benchmark_kzoo", "keras": "benchmark_keras", "pytorch": "benchmark_twin"}


class Worker:
    """A process that holds the networks of one library on one backend; it inherits the environment."""

    def __init__(self, backend: str, library: str, python: str, arguments: list[Any], threads: int) -> None:
        limits = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "MKL_NUM_THREADS")
        settings = dict.fromkeys(limits, str(threads)) | {"KERAS_BACKEND": backend, "PYTHONSAFEPATH": ""}
        settings |= {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.2", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}  # a GPU is shared
        if library.split()[0] != "kzoo":  # which turns oneDNN on by itself, if KZOO_TUNE_PROCESS=1 allows that
            settings["TF_ENABLE_ONEDNN_OPTS"] = "0" if library == SLOW_KERAS else "1"
        self.process = subprocess.Popen(
            [python, __file__, library, *map(str, arguments)],
            env=os.environ | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @functools.cached_property
    def ready(self) -> Any:
        """What it says of itself, once it can be asked."""
        return self.answer()

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


def main() -> None:
    """Answers requests until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    library, weights, model, *numbers = sys.argv[1:]
    batch, steps = map(int, numbers)
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (steps * batch, 32, 32, 3)).astype("uint8")
    labels = np.eye(CLASSES, dtype="float32")[random.randint(0, CLASSES, steps * batch)]
    module = importlib.import_module(MODULES[library.split()[0]])
    if library.endswith(BFLOAT16):
        module.use_bfloat16()
    programs, facts = module.programs(model, weights, images, labels, batch, SGD)
    first = {}
    for mode, program in programs.items():
        started = time.perf_counter()
        program(1)
        first[mode] = time.perf_counter() - started
        program(min(2, steps))
    print(json.dumps({**facts, "first_seconds": first}), file=answers, flush=True)
    for line in sys.stdin:
        mode, wanted = json.loads(line)
        programs[mode](max(1, wanted // 4))  # not measured: the system may have taken memory back from an idle process
        started = time.perf_counter()
        programs[mode](wanted)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = {"images_per_second": wanted * batch / seconds, "peak_bytes": peak * 1024}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
