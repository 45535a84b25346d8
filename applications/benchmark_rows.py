"""Compares what `benchmark.py` measured, and prints it."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

PASSES = 3  # of a training step: forward, to the inputs, to the kernels
SLOW_KERAS, BFLOAT16 = "keras without oneDNN", "in bfloat16"
Case = tuple[str, str, str]  # backend, library and mode


def yardsticks(backend: str, library: str, mode: str, measured: Collection[Case]) -> Iterator[tuple[str, Case]]:
    """Yields what a mode of kzoo is compared with, by name; folded, Keras has none of its own."""
    if library.endswith(BFLOAT16):
        plain, pytorch = library.removesuffix(f" {BFLOAT16}"), f"pytorch {BFLOAT16}"
        if (backend, plain, mode) in measured:
            yield "float32", (backend, plain, mode)
        if library != pytorch and ("torch", pytorch, mode) in measured:
            yield f"PyTorch {BFLOAT16}", ("torch", pytorch, mode)
    if library != "kzoo":
        return
    if mode == "train augmented":
        yield "kzoo without augmentation", (backend, "kzoo", "train")
        return
    on_keras = mode.replace("folded", "inference")
    for name, other in ((f"Keras on {backend}", "keras"), ("Keras without oneDNN", SLOW_KERAS)):
        if (backend, other, on_keras) in measured:
            yield name, (backend, other, on_keras)
    if ("torch", "pytorch", mode) in measured:
        yield "PyTorch", ("torch", "pytorch", mode)


def ratio(values: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """Returns the median of the ratios of two programs' speeds, and its one-sided 95 % bound by bootstrap."""
    ratios = np.array(values) / np.array(others)
    medians = np.median(np.random.RandomState(0).choice(ratios, (10_000, len(ratios))), axis=1)
    return {"median": float(np.median(ratios)), "at_least": float(np.percentile(medians, 5))}


def line(row: dict[str, Any], limit: float) -> str:
    """Describes a row in a line: median, spread, share of a CPU's limit, and the ratios."""
    low, high = min(row["images_per_second"]), max(row["images_per_second"])
    name = "{} batch {:3} {:10} {:30}".format(*row["case"])
    ratios = [f"{r['median']:.2f} (at least {r['at_least']:.2f}) of {name}" for name, r in row["ratios"].items()]
    if row["device"][0] == "cpu":
        ratios.insert(0, f"{row['multiply_adds_per_second'] / limit:.2f} of the limit")
    return ", ".join([f"{name} {row['median']:6.0f} images/s ({low:.0f} to {high:.0f})", *ratios])
