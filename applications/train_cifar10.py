"""Trains a CIFAR ResNet from start to finish: data, model, recipe, run directory, evaluation, the paper beside it.

    KERAS_BACKEND=torch python applications/train_cifar10.py --data cifar10 --model resnet20

`cifar10` must be prepared first (`kzoo data prepare cifar10`); a folder or zip laid out `split/class/file` will do too,
with `--flip` if mirror images keep their class.
`--smoke` trains a small network for two epochs on the digits that come along, to see that all is well.
"""

import argparse
import dataclasses

import keras

import kzoo

# Top-1 on the original test set: He et al., 2015, table 6.
PAPER = {"resnet20": 0.9125, "resnet32": 0.9249, "resnet44": 0.9283, "resnet56": 0.9303, "resnet110": 0.9357}


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet20", choices=kzoo.list_models())
    parser.add_argument("--data", default="cifar10", help="name of a dataset, or path of a folder or zip")
    parser.add_argument("--data-dir", help="folder of prepared datasets")
    parser.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, help="mirror images at random; default: where known to be safe"
    )
    parser.add_argument("--recipe", default="default", help="name of a recipe, or path of a .toml file")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", help="run directory; default: a new one under runs/")
    parser.add_argument("--smoke", action="store_true", help="two quick epochs on digits")
    return parser.parse_args()


def main() -> None:
    """Trains, evaluates and reports."""
    arguments = parse_arguments()
    recipe = kzoo.recipe(arguments.recipe)
    if arguments.epochs is not None:
        recipe = recipe.override(epochs=arguments.epochs)
    if arguments.smoke:
        dataset = kzoo.load_dataset("digits", image_size=(16, 16))
        recipe = dataclasses.replace(recipe, epochs=2, learning_rate=0.05, patience=None)
        model = kzoo.resnet(8, input_shape=dataset.image_shape, seed=arguments.seed)
    else:
        dataset = kzoo.load_dataset(arguments.data, data_dir=arguments.data_dir, flip=arguments.flip)
        model = kzoo.create_model(
            arguments.model, input_shape=dataset.image_shape, classes=dataset.classes, seed=arguments.seed
        )
    kzoo.set_pixel_statistics(model, dataset, recipe)
    cost = kzoo.describe(model)
    print(
        f"{model.name} on {keras.backend.backend()}: {cost.parameters:,} parameters, "
        f"{cost.multiply_adds:,} multiply-adds an image; {dataset.name}: {len(dataset.train):,} images to train on"
    )

    run = kzoo.fit(model, dataset, recipe, seed=arguments.seed, run_dir=arguments.run)

    metrics = run.metrics
    print(f"{run.directory}: test top-1 {metrics['test_accuracy']:.4f} after {metrics['epochs_run']} epochs", end="")
    if dataset.name == "cifar10" and model.name in PAPER:
        print(f" (He et al., 2015: {PAPER[model.name]:.4f})", end="")
    print()
    result = kzoo.evaluate(model, dataset.test.images, dataset.test.labels, dataset.class_names)
    for name, accuracy in sorted(result.per_class.items(), key=lambda item: item[1]):
        print(f"  {name:12} {accuracy:.4f}")


if __name__ == "__main__":
    main()
