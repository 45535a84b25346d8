"""Datasets prepared by tensorflow-datasets, read without TensorFlow."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.data.dataset import Parts, Split
from kzoo.data.images import decode_images


def data_root(data_dir: str | os.PathLike[str] | None) -> Path:
    """Returns `data_dir`, or where tensorflow-datasets keeps its data: `TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Raises:
        FileNotFoundError: If it lies in a home folder, and there is none.
    """
    try:
        return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(
            f"`data_dir` must be given, or TFDS_DATA_DIR set, where there is no home folder. Received: {error}"
        ) from error


def prepare_command(name: str, root: Path) -> str:
    """Returns the command line that prepares the dataset `name` under `root`."""
    return f"kzoo data prepare {name} --data-dir {shlex.quote(str(root))}"


def prepared_names(root: Path) -> list[str]:
    """Returns the names of the datasets prepared under `root`, in alphabetical order."""
    if not root.is_dir():
        return []
    return sorted(path.name for path in root.iterdir() if path.is_dir() and prepared_directory(root, path.name))


def prepared_directory(root: Path, name: str) -> Path | None:
    """Returns the directory of the newest version of `name` prepared under `root`, or `None`."""
    if not re.fullmatch(r"\w+", name):  # a path, not a name
        return None
    versions = [path.parent for path in (root / name).glob("*/dataset_info.json")]
    versions = [path for path in versions if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
    return max(versions, key=lambda path: [int(number) for number in path.name.split(".")], default=None)


def read_prepared(directory: Path, image_size: tuple[int, int] | None = None) -> Parts:
    """Reads a dataset of images and labels from the directory of one version.

    Args:
        directory: Path with the `dataset_info.json`, for example `~/tensorflow_datasets/cifar10/3.0.2`.
        image_size: `(height, width)` in pixels to resize every image to (bicubic), or `None` when all have the same
            size already. Defaults to `None`.

    Returns:
        `Parts` with the class names of the dataset's features.

    Raises:
        ValueError: If the dataset is not in a format of random access (`array_record`), has no `train` or `test`, is
            none of images with labels, or cannot be read.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(directory))
    splits, features = builder.info.splits, builder.info.features
    for split in ("train", "test"):
        if split not in splits or not splits[split].num_examples:
            raise ValueError(f"{str(directory)!r} must have the splits train and test. Received: {sorted(splits)}.")
    if not {"image", "label"} <= features.keys():
        raise ValueError(
            f"{str(directory)!r} must have the features image and label. Received: {', '.join(sorted(features))}."
        )
    decoders = {"image": tfds.decode.SkipDecoding()}
    try:
        sources = {
            split: builder.as_data_source(split, decoders=decoders)
            for split in ("train", "validation", "test")
            if split in splits
        }
    except NotImplementedError as error:
        raise ValueError(
            f"{str(directory)!r} must be prepared as array_record to be read without TensorFlow. Received: "
            f"{builder.info.file_format.value}. Move that folder away, then run: "
            f"{prepare_command(builder.name, directory.parent.parent)}"
        ) from error
    parts = {split: _read_split(f"{directory}/{split}", source, image_size) for split, source in sources.items()}
    return Parts(builder.name, tuple(features["label"].names), parts["train"], parts.get("validation"), parts["test"])


def _read_split(where: str, source: Sequence[Mapping[str, Any]], image_size: tuple[int, int] | None) -> Split:
    labels = np.empty(len(source), np.int64)

    def files() -> Iterator[tuple[str, bytes]]:
        for index in range(len(source)):
            try:
                example = source[index]
            except (IndexError, RuntimeError, ValueError) as error:
                raise ValueError(f"Example {index} of {where!r} must be readable. Received: {error}.") from error
            labels[index] = example["label"]
            yield f"{where} example {index}", example["image"]

    return Split(decode_images(files(), len(source), image_size), labels)
