"""Transfers a trained ResNet to new classes: a new head on frozen features first, then all of it at a lower rate.

    KERAS_BACKEND=torch python applications/transfer.py --data photos/ --image-size 32

What is trained already comes from a preset or a `.weights.h5` file (`--weights`), or from a run directory (`--run`).
Batch normalization of the features stays as it was trained, in both phases: a small data set would spoil its
statistics. `--smoke` trains a small network on the digits 0 to 4 and transfers it to 5 to 9.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kzoo


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet20", choices=kzoo.list_models(), help="what the weights are of")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--weights",
        default="cifar10-jpeg/resnet20",
        help="preset (name, folder or hf://owner/name), or .weights.h5 file",
    )
    source.add_argument("--run", help="run directory of the network to transfer, instead of --model and --weights")
    parser.add_argument("--data", default="digits", help="name of the new dataset, or path of a folder or zip")
    parser.add_argument("--data-dir", help="folder of prepared datasets")
    parser.add_argument("--image-size", type=int, help="pixels to resize to, where images have several sizes")
    parser.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, help="mirror images at random; default: where known to be safe"
    )
    parser.add_argument("--epochs", type=int, default=10, help="of each phase")
    parser.add_argument("--head-rate", type=float, default=0.1, help="peak learning rate of the new head alone")
    parser.add_argument("--rate", type=float, default=0.01, help="peak learning rate of the whole network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="runs/transfer", help="folder for the runs of the two phases, new or empty")
    parser.add_argument("--smoke", action="store_true", help="a few quick epochs on digits")
    return parser.parse_args()


def part_of(dataset: kzoo.Dataset, labels: range) -> kzoo.Dataset:
    """Returns the classes `labels` of a dataset as a dataset of its own."""

    def part(split: kzoo.Split) -> kzoo.Split:
        chosen = np.isin(split.labels, labels)
        return kzoo.Split(split.images[chosen], split.labels[chosen] - labels.start)

    return dataclasses.replace(
        dataset,
        name=f"{dataset.name}-{labels[0]}to{labels[-1]}",
        class_names=dataset.class_names[labels.start : labels.stop],
        train=part(dataset.train),
        validation=part(dataset.validation),
        test=part(dataset.test),
        source=None,
    )


def features_of(model: keras.Model) -> keras.Model:
    """Returns a trained classifier without its last layer: from images to the vector that it classifies."""
    return kzoo.Model(model.input, model.layers[-1].input, name="features")


def with_new_head(features: keras.Model, classes: int, seed: int) -> keras.Model:
    """Returns a classifier of new classes on the features."""
    images = keras.Input(features.input_shape[1:], name="image")
    head = keras.layers.Dense(classes, kernel_initializer=kzoo.HeNormal(seed, "classifier/kernel"), name="classifier")
    return kzoo.Model(images, head(features(images)), name="transferred")


def transfer(
    features: keras.Model, dataset: kzoo.Dataset, head: kzoo.Recipe, whole: kzoo.Recipe, seed: int, out: Path
) -> tuple[kzoo.Run, kzoo.Run]:
    """Trains a new head, then the whole network, and returns both runs."""
    model = with_new_head(features, dataset.classes, seed)
    features.trainable = False
    first = kzoo.fit(model, dataset, head, seed=seed, run_dir=out / "head")
    features.trainable = True
    for layer in features.layers:
        if isinstance(layer, kzoo.BatchNorm | keras.layers.BatchNormalization):
            layer.trainable = False  # it goes on with the statistics that it has
    second = kzoo.fit(model, dataset, whole, seed=seed, run_dir=out / "whole")
    return first, second


def main() -> None:
    """Transfers and reports."""
    arguments = parse_arguments()
    base = kzoo.recipe("default").override(epochs=arguments.epochs, patience=0)
    options: dict[str, Any] = {"data_dir": arguments.data_dir, "image_size": arguments.image_size}
    dataset = kzoo.load_dataset(arguments.data, **options, flip=arguments.flip)
    if arguments.smoke:
        digits = kzoo.load_dataset("digits", image_size=(8, 8))
        dataset, known = part_of(digits, range(5, 10)), part_of(digits, range(5))
        base = dataclasses.replace(base, epochs=8, batch_size=32)
        trained = kzoo.resnet(8, input_shape=known.image_shape, classes=known.classes, seed=arguments.seed)
        kzoo.set_pixel_statistics(trained, known, base)
        with tempfile.TemporaryDirectory() as directory:
            first = kzoo.fit(trained, known, dataclasses.replace(base, learning_rate=0.05), run_dir=directory)
            print(f"digits 0 to 4: test top-1 {first.metrics['test_accuracy']:.4f}")
        features = features_of(trained)
    elif arguments.run:
        features = features_of(kzoo.Run(arguments.run).load_model())
    else:
        features = kzoo.create_model(
            arguments.model,
            weights=arguments.weights,
            input_shape=dataset.image_shape,
            include_top=False,
            pooling="avg",
        )

    head = dataclasses.replace(base, learning_rate=arguments.head_rate)
    whole = dataclasses.replace(base, learning_rate=arguments.rate)
    runs = transfer(features, dataset, head, whole, arguments.seed, Path(arguments.out))
    for what, run in zip(("new head on frozen features", "all of it, at a lower rate"), runs, strict=True):
        print(f"{what}: test top-1 {run.metrics['test_accuracy']:.4f} ({run.directory})")


if __name__ == "__main__":
    main()
