"""Shows where the time of a training step goes, operation by operation.

    KERAS_BACKEND=jax python applications/step_profile.py
    KERAS_BACKEND=torch python applications/step_profile.py --library pytorch --model resnet56

Prints two tables: milliseconds of a step by what they are spent on, and the single operations that take most of them.
The step is the one that `benchmark.py` times, of kzoo, of plain `keras.layers` or of plain PyTorch, recorded by the
profiler of the backend. It runs on one core, where an operation's time is not mixed with that of others.
"""

import argparse
import collections
import importlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out
from benchmark_networks import network
from benchmark_worker import CLASSES, MODULES, SGD
from step_recorders import GROUPS, RECORDED, REST, Times


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", choices=sorted(MODULES), default="kzoo")
    parser.add_argument("--model", type=network, default="resnet20", help="which network (default: resnet20)")
    parser.add_argument("--batch-size", type=int, default=128, help="images in a step (default: 128)")
    parser.add_argument("--steps", type=int, default=10, help="that are recorded (default: 10)")
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--top", type=int, default=12, help="operations in the second table (default: 12)")
    return parser.parse_args()


def group_of(operation: str, groups: dict[str, str]) -> str:
    """Returns what an operation is for."""
    return next((name for name, pattern in groups.items() if re.search(pattern, operation)), REST)


def tables(times: Times, groups: dict[str, str], steps: int, seconds: float, top: int) -> Iterator[str]:
    """Returns the lines of both tables, given the seconds that all steps took."""
    known = {operation: found for operation, found in times.items() if group_of(operation, groups) != REST}
    totals = collections.defaultdict[str, float](float)
    for operation, (spent, _) in known.items():
        totals[group_of(operation, groups)] += spent
    totals[REST] = seconds - sum(totals.values())
    yield "| ms a step | share | spent on |"
    yield "|---|---|---|"
    for name, spent in sorted(totals.items(), key=lambda pair: (pair[0] == REST, -pair[1])):
        yield f"| {1000 * spent / steps:.1f} | {spent / seconds:.0%} | {name} |"
    yield f"| {1000 * seconds / steps:.1f} | 100% | a step |"
    yield ""
    yield "| ms a step | times | operation |"
    yield "|---|---|---|"
    for operation, (spent, count) in sorted(known.items(), key=lambda pair: -pair[1][0])[:top]:
        yield f"| {1000 * spent / steps:.1f} | {count / steps:.0f} | `{operation}` |"


def main() -> None:
    """Records a few steps, and prints what they were spent on."""
    arguments = parse_arguments()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if arguments.library == "pytorch" and backend != "torch":
        raise SystemExit("Plain PyTorch needs KERAS_BACKEND=torch.")
    random = np.random.RandomState(0)
    count = arguments.steps * arguments.batch_size
    images = random.randint(0, 256, (count, 32, 32, 3)).astype("uint8")
    labels = np.eye(CLASSES, dtype="float32")[random.randint(0, CLASSES, count)]
    module: Any = importlib.import_module(MODULES[arguments.library])
    if arguments.bfloat16:
        module.use_bfloat16()
    with tempfile.TemporaryDirectory() as folder:
        weights = f"{folder}/weights.npz"
        if arguments.library != "kzoo":  # whose weights the others start from
            kzoo: Any = importlib.import_module(MODULES["kzoo"])
            kzoo.programs(arguments.model, weights, images, labels, arguments.batch_size, SGD)
        programs, _ = module.programs(arguments.model, weights, images, labels, arguments.batch_size, SGD)
        train = programs["train"]
        train(arguments.steps)  # what is compiled, is now
        seconds = list[float]()

        def timed() -> None:
            started = time.perf_counter()
            train(arguments.steps)
            seconds.append(time.perf_counter() - started)

        times = RECORDED[backend](timed, folder)
    print(*tables(times, GROUPS[backend], arguments.steps, seconds[0], arguments.top), sep="\n")


if __name__ == "__main__":
    main()
