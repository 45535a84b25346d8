"""Exports a model in every format and precision, and measures accuracy, size, latency and throughput of each.

    KERAS_BACKEND=torch python applications/export_table.py akamaster_resnet20 --data cifar10-jpeg.zip --python PYTHON

SOURCE is a run directory or a preset. Accuracy is that of the whole test split; int8 is calibrated on training images,
and refused beyond `--max-drop` on the validation split. Beside the exports stand the model itself on the backend at
hand, folded, and, where it is installed, the same network in plain PyTorch. All are measured in turn; the figures
are medians. Threads are what each library takes: set OMP_NUM_THREADS, or bind the process to cores, for fewer.
`--smoke` measures an export of a small network on digits.
"""

import argparse
import dataclasses
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

import kzoo
from kzoo.serving.runners import load_runner

FORMATS = {"onnx": "onnxruntime", "openvino": "openvino", "litert": "litert"}
PRECISIONS = ("float32", "float16", "int8")
BATCH = 64
Answer = Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]]


@dataclasses.dataclass
class Row:
    """What one model in one format was measured to be."""

    name: str
    answer: Answer
    megabytes: float
    accuracy: float = 0.0
    single: list[float] = dataclasses.field(default_factory=list)  # seconds for one image
    many: list[float] = dataclasses.field(default_factory=list)  # seconds for a batch


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="digits/resnet20", help="run directory or preset")
    parser.add_argument("--data", default="digits", help="name of a dataset, or path of a folder or zip")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--python", type=Path, help="interpreter that has TensorFlow; default: this one")
    parser.add_argument("--max-drop", type=float, default=0.01)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, help="of the test split; default: all")
    parser.add_argument("--out", type=Path, help="where to leave the exports; default: nowhere")
    parser.add_argument("--smoke", action="store_true", help="one format, one round, few images")
    return parser.parse_args()


def exported(arguments: argparse.Namespace, dataset: kzoo.Dataset, out: Path) -> list[Row]:
    """Exports in each precision, and opens what was written by the runtime of its format."""
    rows = []
    for precision in PRECISIONS:
        smaller = {} if precision == "float32" else {"quantize": precision, "max_drop": arguments.max_drop}
        written = kzoo.export_saved(
            arguments.source,
            out,
            dataset=dataset,
            name=precision,
            format=arguments.formats,
            python=arguments.python,
            **smaller,
        )
        for one in written.formats:
            runner = load_runner(Path(written.directory), FORMATS[one.format])
            rows.append(Row(f"{one.runtime} {precision}", logits_by(runner.predict), one.measured.bytes / 1e6))
    return rows


def logits_by(predict: Any) -> Answer:
    """Returns a function from images to logits."""
    return lambda images: np.asarray(predict(images)["logits"])


def on_backend(model: keras.Model) -> Row:
    """Returns the row of the model itself, folded, on the backend of this process."""
    folded = kzoo.fold_batch_norm(model)
    size = 4 * folded.count_params() / 1e6
    return Row(f"{keras.backend.backend()}, folded", lambda images: folded.predict_on_batch(images), size)


def in_plain_torch(model: keras.Model) -> list[Row]:
    """Returns the row of the network as users of PyTorch write it: none without PyTorch, or of another network."""
    if importlib.util.find_spec("torch") is None:
        return []
    from benchmark_kzoo import initial_weights
    from benchmark_twin import predictor

    return [Row("PyTorch", *found)] if (found := predictor(initial_weights(model))) else []


def measure(rows: list[Row], split: kzoo.Split, images: int, rounds: int) -> None:
    """Fills in accuracy and times."""
    count = min(images, len(split))
    batches = [np.arange(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
    right = np.zeros(len(rows))
    for batch in batches:
        pixels = split.read(batch)
        right += [(row.answer(pixels).argmax(axis=-1) == split.labels[batch]).sum() for row in rows]
    many = split.read(np.arange(min(BATCH, count)))
    for row, found in zip(rows, right, strict=True):
        row.accuracy = found / count
    for _ in range(rounds):
        for row in rows:
            row.single.append(seconds_of(row.answer, many[:1]))
            row.many.append(seconds_of(row.answer, many))


def seconds_of(answer: Answer, images: npt.NDArray[np.uint8], enough: float = 0.25) -> float:
    """Returns the median time of an answer, after a first one that is not counted."""
    answer(images)
    times: list[float] = []
    while sum(times) < enough or len(times) < 3:
        start = time.perf_counter()
        answer(images)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    """Prints the table."""
    arguments = parse_arguments()
    if arguments.smoke:
        arguments.formats, arguments.rounds, arguments.images = ["onnx"], 1, 64
    dataset = kzoo.load_dataset(arguments.data)
    with tempfile.TemporaryDirectory() as nowhere:
        source = arguments.source
        model = kzoo.Run(source).load_model() if Path(source).is_dir() else kzoo.load_preset(source)
        out = arguments.out or Path(nowhere)
        rows = [on_backend(model), *in_plain_torch(model), *exported(arguments, dataset, out)]
        measure(rows, dataset.test, arguments.images or len(dataset.test), arguments.rounds)
    print("| | top-1 | MB | ms, one image | images/s |\n|---|---|---|---|---|")
    for row in rows:
        single, many = 1e3 * np.median(row.single), BATCH / np.median(row.many)
        print(f"| {row.name} | {row.accuracy:.4f} | {row.megabytes:.2f} | {single:.2f} | {many:,.0f} |")


if __name__ == "__main__":
    main()
