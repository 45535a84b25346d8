"""Compares what the environments of tox recorded: `python -m kzoo.parity.matrix FOLDER cpu|gpu`."""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

from kzoo.parity.comparison import Comparison, compare
from kzoo.parity.recording import Recording
from kzoo.parity.report import table_of

BACKENDS = ("tensorflow", "jax", "torch")


def compare_matrix(folder: str | os.PathLike[str], device: str) -> list[Comparison]:
    """Compares the recordings of three backends on a device; those of a GPU also with each backend's on the CPU.

    Args:
        folder: Path of the folder with their `.npz` files. What a file is stands in it, not in its name.
        device: `"cpu"` or `"gpu"`.

    Raises:
        ValueError: If a recording that is needed is missing, or there are two of a backend and device.
    """
    found: dict[tuple[str, str], Recording] = {}
    for path in sorted(Path(folder).glob("*.npz")):
        recording = Recording.load(path)
        place = (recording.environment["backend"], recording.environment["device"])
        if place in found:
            raise ValueError(
                f"Expected one recording of {'-'.join(place)}. Received: {found[place].name}.npz, {path.name}."
            )
        found[place] = recording
    needed = [(backend, kind) for kind in dict.fromkeys((device, "cpu")) for backend in BACKENDS]
    missing = [f"py311-{'-'.join(place)}" for place in needed if place not in found]
    if missing:
        raise ValueError(
            f"{folder} must have a recording of each environment. Missing: run `tox -e {','.join(missing)}`."
        )
    comparisons = [compare([found[backend, device] for backend in BACKENDS])]
    if device == "gpu":
        comparisons += [compare([found[backend, "cpu"], found[backend, "gpu"]]) for backend in BACKENDS]
    return comparisons


def main(arguments: list[str] | None = None) -> int:
    """Prints the comparisons; returns the exit status, 1 where one fails."""
    parser = argparse.ArgumentParser(prog="python -m kzoo.parity.matrix", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of recordings")
    parser.add_argument("device", choices=("cpu", "gpu"))
    options = parser.parse_args(arguments)
    comparisons = compare_matrix(options.folder, options.device)
    for comparison in comparisons:
        Console().print(table_of(comparison))
    return 0 if all(comparison.passed for comparison in comparisons) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"kzoo: {error}")
