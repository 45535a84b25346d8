"""The profilers of the backends, for `step_profile.py`."""

import collections
import glob
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

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
        FORWARD_AND_IMAGES: "convolution",
        MIXED: "",
    },
}


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
