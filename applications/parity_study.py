"""Trains the same seeds on each backend in float32, and shows whether the accuracies are of one distribution.

    for backend in tensorflow jax torch; do
        KERAS_BACKEND=$backend python applications/parity_study.py --results study.csv
    done

Whole trainings in float32 cannot be compared weight by weight: they are chaotic, and drift apart from the last bit.
What must agree is how good they become. Each run adds its rows to the results, skips those that are there, and prints
the table of all backends so far. `--smoke` trains ResNet-8 with two seeds for one epoch on tiny images.
"""

import argparse
import csv
import itertools
import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras

import kzoo

COLUMNS = ("backend", "model", "epochs", "seed", "test_accuracy", "seconds")
Row = dict[str, str]


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("parity_study.csv"), help="file that rows are added to")
    parser.add_argument("--model", default="resnet20", choices=kzoo.list_models())
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--smoke", action="store_true", help="two quick trainings")
    return parser.parse_args()


def read(path: Path) -> list[Row]:
    """Returns the rows so far."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def train(model: str, dataset: kzoo.Dataset, epochs: int, seed: int) -> Row:
    """Trains one seed to the end, without stopping early, and returns its row."""
    recipe = kzoo.recipe("default").override(epochs=epochs, patience=0)
    with tempfile.TemporaryDirectory() as folder:
        run = kzoo.train(model, dataset, recipe, seed=seed, run_dir=folder, verbose=0, dropout=0.1)
        metrics = run.metrics
    accuracy, seconds = f"{metrics['test_accuracy']:.6f}", f"{metrics['train_seconds']:.1f}"
    return dict(zip(COLUMNS, (keras.backend.backend(), model, str(epochs), str(seed), accuracy, seconds), strict=True))


def add(path: Path, row: Row) -> None:
    """Adds a row to the file."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def summary(rows: Sequence[Row]) -> list[str]:
    """Returns a Markdown table of mean and standard deviation, and how far apart the means are.

    Two means of n accuracies each agree if they differ by less than three standard errors of the difference.
    """
    lines = ["| backend | seeds | mean test top-1 | standard deviation |", "| --- | --- | --- | --- |"]
    accuracies: dict[str, list[float]] = {}
    for row in rows:
        accuracies.setdefault(row["backend"], []).append(float(row["test_accuracy"]))
    for backend, values in accuracies.items():
        lines.append(f"| {backend} | {len(values)} | {statistics.fmean(values):.4f} | {deviation(values):.4f} |")
    for one, other in itertools.combinations(accuracies, 2):
        a, b = accuracies[one], accuracies[other]
        apart = abs(statistics.fmean(a) - statistics.fmean(b))
        error = math.sqrt(deviation(a) ** 2 / len(a) + deviation(b) ** 2 / len(b))
        lines.append(f"\n{one} and {other}: {apart:.4f} apart, {'agree' if apart <= 3 * error else 'DIFFER'}")
    return lines


def deviation(values: Sequence[float]) -> float:
    """Returns the standard deviation of a sample; of one value, none."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def main() -> None:
    """Trains what is missing and prints the table."""
    arguments = parse_arguments()
    dataset = kzoo.load_dataset("digits", image_size=(8, 8) if arguments.smoke else None)
    if arguments.smoke:
        arguments.model, arguments.seeds, arguments.epochs = "resnet8", 2, 1
    seeds, epochs = arguments.seeds, arguments.epochs
    kzoo.deterministic()

    done = [row for row in read(arguments.results) if (row["model"], row["epochs"]) == (arguments.model, str(epochs))]
    for seed in range(seeds):
        if (keras.backend.backend(), str(seed)) not in {(row["backend"], row["seed"]) for row in done}:
            row = train(arguments.model, dataset, epochs, seed)
            add(arguments.results, row)
            done.append(row)
            print(f"{row['backend']} seed {seed}: top-1 {row['test_accuracy']} in {row['seconds']} s", flush=True)
    print("\n".join(summary(done)))


if __name__ == "__main__":
    main()
