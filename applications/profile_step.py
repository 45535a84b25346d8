"""Shows where the time of a training step goes, operation by operation.

    KERAS_BACKEND=jax python applications/profile_step.py
    KERAS_BACKEND=torch python applications/profile_step.py --library pytorch --depth 56

Prints two tables: milliseconds of a step by what they are spent on, and the single operations that take most of them.
The step is the one that `benchmark.py` times, of kzoo, of plain `keras.layers` or of plain PyTorch, recorded by the
profiler of the backend. It runs on one core, where an operation's time is not mixed with that of others.
"""

import argparse
import collections
import glob
import gzip
import importlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out
from benchmark_worker import CLASSES, MODULES, SGD

Times = dict[str, tuple[float, int]]  # of an operation: seconds in all steps, and how often it ran

FORWARD, GRADIENTS, GATHERING = "convolutions", "gradients of convolutions", "gathering for the kernels' gradients"
FORWARD_AND_IMAGES, KERNELS = "convolutions, and their gradients for images", "gradients of kernels, matrix products"
NORM, ELEMENTWISE, OPTIMIZER, REST = "batch normalization", "rectifiers, sums and shortcuts", "optimizer", "the rest"
MIXED = "batch normalization, rectifiers, sums, shortcuts, optimizer"

# What the profilers call operations, as a pattern for each group; the first that is found counts.
GROUPS: dict[str, dict[str, str]] = {
    "torch": {
        GRADIENTS: "convolution_backward",
        FORWARD: "convolution",
        NORM: "batch_norm",
        OPTIMIZER: "_foreach|_fused_sgd",
        ELEMENTWISE: "relu|threshold|add|clamp|copy|pad|slice|pool|mul|sub|div|sum|zero|fill|index",
    },
    "tensorflow": {
        GRADIENTS: "Conv2DBackprop",
        FORWARD: "Conv2D",
        NORM: "FusedBatchNorm|Rsqrt|SquaredDifference|^Mean",
        OPTIMIZER: "ResourceApply|AssignSub",
        ELEMENTWISE: "Relu|Add|AvgPool|Pad|Slice|Mul|Sub|Cast|Tile|RealDiv",
    },
    "jax": {
        KERNELS: "matmul|^dot",
        GATHERING: "in a loop",
        FORWARD_AND_IMAGES: "conv",
        MIXED: "",
    },
}


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", choices=sorted(MODULES), default="kzoo")
    parser.add_argument("--depth", type=int, default=20, help="of the ResNet, 6n + 2 (default: 20)")
    parser.add_argument("--batch-size", type=int, default=128, help="images in a step (default: 128)")
    parser.add_argument("--steps", type=int, default=10, help="that are recorded (default: 10)")
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--top", type=int, default=12, help="operations in the second table (default: 12)")
    return parser.parse_args()


def recorded_on_torch(run: Callable[[], object], folder: str) -> Times:
    """Returns the time of each operation, without that of the operations it calls."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        run()
    events = profiler.key_averages()
    return {event.key: (event.self_cpu_time_total / 1e6, event.count) for event in events}


def recorded_on_tensorflow(run: Callable[[], object], folder: str) -> Times:
    """Returns the time of each operation of TensorFlow's graphs."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    tf.profiler.experimental.start(folder)
    run()
    tf.profiler.experimental.stop()
    space = xplane_pb2.XSpace()
    space.ParseFromString(Path(only(f"{folder}/**/*.xplane.pb")).read_bytes())
    found = collections.defaultdict[str, list[float]](list)
    for plane in space.planes:
        names = {number: metadata.name for number, metadata in plane.event_metadata.items()}
        for event in (event for line in plane.lines for event in line.events):
            place, _, operation = names[event.metadata_id].rpartition(":")  # "model/block/conv:Conv2D"
            if place:
                found[operation].append(event.duration_ps / 1e12)
    return {name: (sum(seconds), len(seconds)) for name, seconds in found.items()}


def recorded_on_jax(run: Callable[[], object], folder: str) -> Times:
    """Returns the time of each operation of XLA's program; those in a loop are named so."""
    import jax

    with jax.profiler.trace(folder):
        run()
    with gzip.open(only(f"{folder}/**/*.trace.json.gz")) as file:
        events = [event for event in json.load(file)["traceEvents"] if "hlo_op" in event.get("args", {})]
    found = collections.defaultdict[str, list[float]](list)
    loops = [(event["ts"], event["ts"] + event["dur"]) for event in events if event["name"].startswith("while")]
    for event in (event for event in events if not re.match("while|call", event["name"])):
        name = re.sub(r"\.\d+", "", event["name"])
        is_in_loop = any(start <= event["ts"] < end for start, end in loops)
        found[f"{name}, in a loop" if is_in_loop else name].append(event["dur"] / 1e6)
    return {name: (sum(seconds), len(seconds)) for name, seconds in found.items()}


RECORDED = {"torch": recorded_on_torch, "tensorflow": recorded_on_tensorflow, "jax": recorded_on_jax}


def only(pattern: str) -> str:
    """Returns the one file that fits a pattern."""
    (found,) = glob.glob(pattern, recursive=True)
    return found


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
            kzoo.programs(arguments.depth, weights, images, labels, arguments.batch_size, SGD)
        programs, _ = module.programs(arguments.depth, weights, images, labels, arguments.batch_size, SGD)
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
