"""One function that loads any dataset by name or path."""

import dataclasses
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kzoo import arguments
from kzoo.choices import ResizeMode, hint
from kzoo.data.dataset import Dataset, Parts, carve_validation
from kzoo.data.digits import read_digits
from kzoo.data.folder import read_image_folder
from kzoo.data.images import WHITE, Decoding
from kzoo.data.npz import read_npz
from kzoo.data.originals import ORIGINALS
from kzoo.data.prepared import (
    data_root,
    is_prepared,
    prepare_command,
    prepared_directory,
    prepared_names,
    read_prepared,
)
from kzoo.data.split import Split
from kzoo.data.tables import is_table, read_table
from kzoo.streams import check_seed


def load_dataset(
    name_or_path: str | os.PathLike[str] = "digits",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: arguments.ImageSize | None = None,
    resize: ResizeMode = "stretch",
    channels: int = 3,
    background: int = WHITE,
    skip_unreadable: bool = False,
    validation: float = 0.1,
    test: float = 0.2,
    split_seed: int = 0,
    flip: bool | None = None,
    balance: bool = False,
    splits: Mapping[str, Sequence[str]] | None = None,
    cache: bool = True,
) -> Dataset:
    """Loads a dataset of any size, with a validation and a test split.

    Files are decoded once, by all cores, into a cache that later calls read from (`kzoo data cache list`). What is
    larger than 256 MB is read from there some images at a time.

    Args:
        name_or_path: String, one of:
            - `"digits"`: 1,797 handwritten digits that come with scikit-learn, resized to 32x32.
            - `"cifar10"`, `"cifar100"`, `"svhn_cropped"`, or the name of any other dataset that was prepared under
              `data_dir` by `kzoo data prepare` (or by tensorflow-datasets, as `array_record`).
            - a path: a folder or .zip of images laid out `split/class/file` (`train`, perhaps `validation` and
              `test`, by these and other usual names) or `class/file`; a .csv, .tsv, .jsonl or .parquet file with the
              columns `image` and `label`, perhaps `split` and `weight`; a folder of Hugging Face `datasets`; an .npz
              file with `x_train`, `y_train` and perhaps `x_test`, `y_test`, or `images` and `labels`; or the directory
              that `prepare_dataset` returned.
            Defaults to `"digits"`.
        data_dir: Path of the folder of prepared datasets. Defaults to the environment variable `TFDS_DATA_DIR`, or
            `~/tensorflow_datasets`.
        image_size: `(height, width)` in pixels to resize every image to (bicubic), an integer for a square, or `None`
            to keep the size. Defaults to `None`.
        resize: How images of another size become that size, `"stretch"`, `"crop"` or `"pad"`, as of `kzoo.Decoding`.
            Defaults to `"stretch"`.
        channels: Integer, 1 for grey, 3 for RGB, 4 for RGB with opacity. Defaults to `3`.
        background: Integer, grey level in [0, 255] behind transparent pixels and beside padded images. Defaults to
            white, `255`.
        skip_unreadable: Boolean, whether to leave out files that cannot be read, with a warning that lists them.
            Defaults to `False`, an error that lists them.
        validation: Float between 0 and 1, the part of every class that is taken out of `train` where no validation
            split is stored. Defaults to `0.1`.
        test: Float between 0 and 1, the part of every class that is taken out before, where no test split is stored.
            Defaults to `0.2`.
        split_seed: Integer, 0 or larger; decides which parts. Defaults to `0`.
        flip: Boolean, whether mirror images keep their class, so that training may mirror them, or `None` for what is
            known: True for `cifar10` and `cifar100`, False for all others, your own images too. Defaults to `None`.
        balance: Boolean, whether each class counts alike in the loss of a training, however many images it has
            (`Dataset.balanced`). Defaults to `False`.
        splits: Split to the names of its files, as a run keeps them, instead of taking parts out of `train`; other
            files are left out. Defaults to `None`.
        cache: Boolean, whether to decode all files into the cache, if they are not there. Without it, each image is
            decoded when it is read, each time: for a look at a few. Defaults to `True`.

    Returns:
        A `Dataset`.

    Raises:
        FileNotFoundError: If the dataset was not prepared, or the path does not exist.
        ValueError: If the name is unknown, the files are not as they must be, or `validation`, `image_size` or
            `split_seed` is out of range; or if `skip_unreadable` is asked for without `cache` and `splits`.

    Example:
        >>> dataset = kzoo.load_dataset("digits")  # or "photos.zip", image_size=(32, 32)
        >>> dataset.class_names[:3], len(dataset.test)
        (('0', '1', '2'), 359)
    """
    decoding = Decoding(image_size, resize, channels, background)  # type: ignore[arg-type]
    split_seed = check_seed(split_seed, "split_seed")
    skip_unreadable = arguments.boolean(skip_unreadable, "skip_unreadable")
    balance, cache = arguments.boolean(balance, "balance"), arguments.boolean(cache, "cache")
    flip = flip if flip is None else arguments.boolean(flip, "flip")
    for part, fraction in (("validation", validation), ("test", test)):
        if not 0 < arguments.number(fraction, part) < 1:
            raise ValueError(f"`{part}` must be between 0 and 1 (exclusive). Received: {part}={fraction!r}.")
    if skip_unreadable and not cache and splits is None:
        raise ValueError("`cache` must be True to skip what cannot be read. Received: cache=False.")
    reading: dict[str, Any] = {"skip_unreadable": skip_unreadable, "cache": cache}
    if str(name_or_path) == "digits":
        name, parts, known = "digits", read_digits(decoding), None
    else:
        name, path = located(name_or_path, data_dir)
        parts = read_parts(path, decoding, **reading)
        known = ORIGINALS.get(parts.name) if is_prepared(path) else None
    if splits is None:
        train, held_out, tested = completed(parts, validation, test, split_seed)
    else:
        train, held_out, tested = _as_listed(parts, splits)
    flip = (known is not None and known.flip) if flip is None else flip
    source = {
        "name_or_path": name,
        "data_dir": None if data_dir is None else str(data_root(data_dir).resolve()),
        **dataclasses.asdict(decoding),
        "skip_unreadable": skip_unreadable,
        "validation": validation,
        "test": test,
        "split_seed": split_seed,
        "flip": flip,
    }
    dataset = Dataset(parts.name, parts.class_names, train, held_out, tested, flip, source)
    return dataset.balanced() if balance else dataset


def read_parts(path: Path, decoding: Decoding, **reading: bool) -> Parts:
    """Reads what lies at a path, as `load_dataset` names it; `skip_unreadable` and `cache` are as there."""
    if is_prepared(path):
        return read_prepared(path, decoding, **reading)
    if path.suffix.casefold() == ".npz":
        return read_npz(path, decoding)
    if is_table(path):
        return read_table(path, decoding, **reading)
    return read_image_folder(path, decoding, **reading)


def completed(parts: Parts, validation: float, test: float, seed: int) -> tuple[Split, Split, Split]:
    """Returns train, validation and test split; what is not stored is taken out of `train`, the test split first."""
    train, held_out, tested = parts.train, parts.validation, parts.test
    if tested is None:
        train, tested = carve_validation(train, test, seed, "test")
    if held_out is None:
        train, held_out = carve_validation(train, validation, seed)
    return train, held_out, tested


def _as_listed(parts: Parts, splits: Mapping[str, Sequence[str]]) -> tuple[Split, Split, Split]:
    """Returns train, validation and test split of the very files that are listed."""
    for split in ("train", "validation", "test"):
        names = splits.get(split) if isinstance(splits, Mapping) else None
        if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(
                f"`splits` must list the names of files of train, validation and test. Received: {names!r}."
            )
    every = [name for split in ("train", "validation", "test") for name in splits[split]]
    if len(set(every)) < len(every):
        twice = next(name for name in every if every.count(name) > 1)
        raise ValueError(f"`splits` must list each file once. Received: {twice!r} twice.")
    whole = parts.train.joined(part for part in (parts.validation, parts.test) if part is not None)
    position = {} if whole.names is None else {name: i for i, name in enumerate(whole.names)}
    listed = set(every)
    new = [name for name in position if name not in listed]
    if missing := sorted(listed - position.keys()):
        others = f"; {len(new):,} are new, the first is {new[0]!r}" if new else ""
        raise ValueError(
            f"{parts.name!r} must have all files that the splits list. Received: {len(missing):,} are missing, "
            f"the first is {missing[0]!r}{others}."
        )
    if new:
        warnings.warn(f"{parts.name}: {len(new):,} files that the splits do not list are left out.", stacklevel=3)
    train, validation, test = (
        whole.take(np.array([position[name] for name in splits[split]], np.intp))
        for split in ("train", "validation", "test")
    )
    return train, validation, test


def located(name_or_path: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None) -> tuple[str, Path]:
    """Returns the name by which to load a dataset again, from anywhere, and the path where it is."""
    path = Path(os.path.expanduser(arguments.path(name_or_path, "name_or_path")))  # `~nobody` stays as it is
    name = os.fspath(name_or_path)
    if re.fullmatch(r"\w+", name):
        try:
            root = data_root(data_dir)
        except FileNotFoundError:
            if not path.exists():
                raise
        else:
            if directory := prepared_directory(root, name):
                return name, directory
            if name in ORIGINALS:
                raise FileNotFoundError(
                    f"{name!r} must be prepared under {str(root)!r} first. Run: {prepare_command(name, root)}"
                )
    if path.exists():
        path = Path(os.path.abspath(path))  # links keep their names, which say what is there
        return str(path), path
    if isinstance(name_or_path, os.PathLike) or path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(f"`name_or_path` must be a folder or a .zip file that exists. Received: {name!r}.")
    root = data_root(data_dir)
    known = sorted({"digits", *ORIGINALS, *prepared_names(root)})
    near = hint(name, known)
    raise ValueError(
        f"`name_or_path` must be one of {', '.join(known)}, a dataset prepared under {str(root)!r}, or the path of a "
        f"folder or .zip file. Received: {name!r}.{near}"
    )
