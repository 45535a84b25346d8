"""What each ingredient of a recipe is worth: the recipe without one of them at a time, beside recipes of others.

    python applications/recipe_study.py --data cifar10-jpeg.zip --flip --model resnet20 --epochs 30 --seeds 3

Each row is trained with the same number of epochs, on the same split, with the same seeds. What matters most comes
first: all rows with one seed, then all with the next. The same command goes on where it was left; what fails stays in
the table. `results.csv` has a row a training, `table.md` a row a recipe. Choose by the validation split alone: the test
split is there to be reported. `--smoke` trains ResNet-8 for two rows on tiny images.
"""

import argparse
import csv
import dataclasses
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import kzoo

BESIDE = ("default", "chenyaofo", "akamaster", "he2015")
OFF = kzoo.Recipe()

# What the recipe is left without. Ingredients that kzoo's default does not have are found by themselves.
LEFT_OUT: dict[str, dict[str, Any]] = {
    "label smoothing": {"label_smoothing": 0.0},
    "warm-up": {"warmup": 0.0},
    "Nesterov": {"nesterov": False},
    "weight decay": {"weight_decay": 0.0},
    "decay on kernels alone": {"decay_on": "all"},
    "crops": {"crop_padding": 0},
    "mirror images": {"flip": False},
    "reflected padding": {"pad_mode": "constant"},
}


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--recipe", default="fast" if "fast" in kzoo.list_recipes() else "default", help="what to study"
    )
    parser.add_argument("--model", default="resnet20", choices=kzoo.list_models())
    parser.add_argument("--data", default="digits", help="name of a dataset, or path of a folder or zip")
    parser.add_argument("--data-dir", type=Path, help="folder of prepared datasets")
    parser.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, help="mirror images at random; default: where known to be safe"
    )
    parser.add_argument("--image-size", type=int, help="resize images to a square of that many pixels")
    parser.add_argument("--epochs", type=int, default=30, help="15 to sieve, 30 to decide")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16", "float64"])
    parser.add_argument("--rows", nargs="+", help="names of the rows to train, in this order; all by default")
    parser.add_argument("--out", type=Path, default=Path("recipe_study"), help="folder of the results")
    parser.add_argument("--smoke", action="store_true", help="two rows, one seed, one epoch")
    return parser.parse_args()


def rows_of(recipe: kzoo.Recipe, name: str) -> dict[str, kzoo.Recipe]:
    """Returns the recipes to train by their names in the table, what matters most first."""
    found = {name: recipe} | {other: kzoo.recipe(other) for other in BESIDE if other != name}
    for ingredient, changes in LEFT_OUT.items():
        without = recipe.override(**changes)
        if without != recipe:
            found[f"{name} without {ingredient}"] = without
    of_its_own = [field for field in recipe.record() if field not in OFF.record()]  # off unless a recipe names them
    for field in of_its_own:
        try:
            found[f"{name} without {field}"] = dataclasses.replace(recipe, **{field: getattr(OFF, field)})
        except ValueError as error:  # another ingredient needs it
            print(f"no row without {field}: {error}", file=sys.stderr)
    return found


def train(arguments: argparse.Namespace, dataset: kzoo.Dataset, rows: Mapping[str, kzoo.Recipe]) -> None:
    """Trains each row with each seed that has not been, and writes the tables after each."""
    for seed in range(arguments.seeds):
        for name, recipe in rows.items():
            print(f"== {name}, seed {seed}", flush=True)
            kzoo.sweep(
                arguments.model, dataset, recipe, seeds=[seed], directory=folder_of(arguments.out, name), verbose=2
            )
            write_tables(arguments.out, rows)


def folder_of(out: Path, name: str) -> Path:
    """Returns the folder of a row's trainings."""
    return out / "".join(letter if letter.isalnum() else "-" for letter in name)


def write_tables(out: Path, rows: Iterable[str]) -> None:
    """Writes `results.csv` and `table.md` of what has been trained."""
    sweeps = {name: kzoo.Sweep(folder_of(out, name)) for name in rows if (folder_of(out, name) / "sweep.json").exists()}
    results = [{"recipe": name} | row for name, sweep in sweeps.items() for row in sweep.results()]
    with (out / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(results[0]))
        writer.writeheader()
        writer.writerows(results)
    (out / "table.md").write_text("\n".join(markdown(sweeps)) + "\n")


def markdown(sweeps: Mapping[str, kzoo.Sweep]) -> list[str]:
    """Returns a table of mean and standard deviation of the top-1 accuracy, and why trainings failed."""
    lines = ["| recipe | validation | test | n | failed |", "|---|---|---|---|---|"]
    for name, sweep in sweeps.items():
        (row,) = sweep.summary()
        scores = [score(row, split) for split in ("val", "test")]
        lines.append(f"| {name} | {' | '.join(scores)} | {row['n']} | {row['failed']} |")
    reasons = [
        f"- {name}, seed {one.seed}: {one.failure}" for name, sweep in sweeps.items() for one in sweep.failures()
    ]
    return [*lines, "", *reasons] if reasons else lines


def score(row: Mapping[str, Any], split: str) -> str:
    """Returns mean and deviation in percent."""
    mean, deviation = row[f"{split}_accuracy_mean"], row[f"{split}_accuracy_deviation"]
    if mean is None:
        return "-"
    return f"{100 * mean:.2f}" if deviation is None else f"{100 * mean:.2f} ± {100 * deviation:.2f}"


def main() -> None:
    """Trains what is missing, and prints the table."""
    arguments = parse_arguments()
    if arguments.smoke:
        arguments.model, arguments.epochs, arguments.seeds, arguments.image_size = "resnet8", 1, 1, 8
    options: dict[str, Any] = {"data_dir": arguments.data_dir, "image_size": arguments.image_size}
    dataset = kzoo.load_dataset(arguments.data, **options, flip=arguments.flip)
    changes: dict[str, Any] = {"epochs": arguments.epochs, "patience": 0, "precision": arguments.precision}
    every = rows_of(kzoo.recipe(arguments.recipe), Path(arguments.recipe).stem)
    if unknown := set(arguments.rows or ()) - every.keys():
        sys.exit(f"`--rows` must be of: {', '.join(every)}. Received: {', '.join(sorted(unknown))}.")
    rows = {name: every[name].override(**changes) for name in arguments.rows or every}
    arguments.out.mkdir(parents=True, exist_ok=True)
    train(arguments, dataset, dict(list(rows.items())[:2]) if arguments.smoke else rows)
    print((arguments.out / "table.md").read_text(), end="")


if __name__ == "__main__":
    main()
