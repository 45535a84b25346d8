"""Datasets prepared by tensorflow-datasets, read without TensorFlow."""

import functools
import json
import os
import re
import shlex
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kzoo import arguments
from kzoo.data.assembling import tell_of_unreadable
from kzoo.data.cache import decoded
from kzoo.data.dataset import Parts
from kzoo.data.images import Decoding
from kzoo.data.items import Item
from kzoo.data.split import Split


def data_root(data_dir: str | os.PathLike[str] | None) -> Path:
    """Returns `data_dir`, or where tensorflow-datasets keeps its data: `TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Raises:
        FileNotFoundError: If it lies in a home folder, and there is none.
    """
    if data_dir:
        arguments.path(data_dir, "data_dir")
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


def is_prepared(path: Path) -> bool:
    """Returns whether a path is a dataset of tensorflow-datasets; Hugging Face `datasets` has files of that name."""
    return (path / "dataset_info.json").is_file() and not (path / "state.json").is_file()


def read_prepared(directory: Path, decoding: Decoding, *, skip_unreadable: bool = False, cache: bool = True) -> Parts:
    """Decodes a dataset of images and labels from the directory of one version, or takes it from the cache.

    Args:
        directory: Path with the `dataset_info.json`, for example `~/tensorflow_datasets/cifar10/3.0.2`.
        decoding: The `Decoding`.
        skip_unreadable: Boolean, whether to leave out images that cannot be read, with a warning. Defaults to `False`.
        cache: Boolean, whether to decode all images into the cache at once. Defaults to `True`.

    Returns:
        `Parts` with the class names of the dataset's features.

    Raises:
        ValueError: If the dataset is not in a format of random access (`array_record`), has no `train`, is none of
            images with labels, names features that tensorflow-datasets does not have, or cannot be read.
    """
    import tensorflow_datasets as tfds

    _check_features(directory)
    try:
        builder = tfds.builder_from_directory(str(directory))
    except Exception as error:  # of protocol buffers, of JSON, of what the files name: nowhere specified
        raise ValueError(
            f"{str(directory)!r} must be a dataset that tensorflow-datasets prepared. Received: {error}"
        ) from error
    splits, features = builder.info.splits, builder.info.features
    if "train" not in splits or not splits["train"].num_examples:
        raise ValueError(f"{str(directory)!r} must have the split train. Received: {sorted(splits)}.")
    if not {"image", "label"} <= features.keys():
        raise ValueError(
            f"{str(directory)!r} must have the features image and label. Received: {', '.join(sorted(features))}."
        )
    decoders = {"image": tfds.decode.SkipDecoding()}
    names = [name for name in ("train", "validation", "test") if name in splits and splits[name].num_examples]
    try:
        sources = {name: builder.as_data_source(name, decoders=decoders) for name in names}
    except (ValueError, OSError) as error:
        raise ValueError(f"{str(directory)!r} must have the files of its splits. Received: {error}") from error
    except NotImplementedError as error:
        raise ValueError(
            f"{str(directory)!r} must be prepared as array_record to be read without TensorFlow. Received: "
            f"{builder.info.file_format.value}. Move that folder away, then run: "
            f"{prepare_command(builder.name, directory.parent.parent)}"
        ) from error
    items = [
        record for name, source in sources.items() for record in _records(f"{directory}/{name}", source, directory)
    ]
    examples, unreadable, labels = decoded(str(directory), items, decoding, cache)
    tell_of_unreadable(str(directory), len(items), unreadable, skip_unreadable)
    if not cache and (labels < 0).any():  # they are known when a record has been read
        for item in items:
            item.read()
        labels = np.array([item.label for item in items], np.int64)
    parts, start = {}, 0
    for name, source in sources.items():
        chosen = np.array([i for i in range(start, start + len(source)) if i not in unreadable], np.intp)
        parts[name] = Split.of(examples, labels[chosen], indices=chosen)
        start += len(source)
    return Parts(
        builder.name, tuple(features["label"].names), parts["train"], parts.get("validation"), parts.get("test")
    )


def _records(where: str, source: Sequence[Mapping[str, Any]], directory: Path) -> list[Item]:
    """Returns an `Item` a record, which learns its label as it is read. The files of a version never change."""
    statuses = [path.stat() for path in sorted(directory.iterdir())]
    stamp = (sum(status.st_size for status in statuses), max(status.st_mtime_ns for status in statuses))
    lock = threading.Lock()
    items: list[Item] = []

    def read(index: int) -> bytes:
        try:
            with lock:
                example = source[index]
        except (IndexError, RuntimeError, ValueError) as error:
            raise ValueError(f"Example {index} of {where!r} must be readable. Received: {error}.") from error
        items[index].label = int(example["label"])
        return bytes(example["image"])

    items += [Item(f"{where} example {index}", stamp, functools.partial(read, index)) for index in range(len(source))]
    return items


def _check_features(directory: Path) -> None:
    """Raises `ValueError` unless all features are tensorflow-datasets' own: it imports whatever is named."""
    import tensorflow_datasets as tfds

    path = directory / "features.json"
    known = {f"{one.__module__}.{one.__qualname__}" for one in vars(tfds.features).values() if isinstance(one, type)}
    try:
        content = json.loads(path.read_bytes()) if path.exists() else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} must be JSON. Received: {error}.") from error
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for key in ("pythonClassName", "type"):
                if isinstance(value.get(key), str) and "." in value[key] and value[key] not in known:
                    raise ValueError(
                        f"{str(path)!r} must name features of tensorflow-datasets. Received: {value[key]!r}, which "
                        "reading it would import."
                    )
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
