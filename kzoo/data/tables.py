"""Images that a table lists with their labels, a row an image."""

import functools
import os
import reprlib
import stat
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kzoo.data.arrow import Stored
from kzoo.data.assembling import Member, assembled
from kzoo.data.columns import COLUMNS, Rows
from kzoo.data.dataset import Parts
from kzoo.data.files import LARGEST_FILE
from kzoo.data.images import Decoding
from kzoo.data.layouts import SPLIT_NAMES
from kzoo.data.rows import rows_of, table_files

_LARGEST_WEIGHT = float(np.finfo(np.float32).max)


def read_table(path: Path, decoding: Decoding, *, skip_unreadable: bool = False, cache: bool = True) -> Parts:
    """Decodes the images that a table lists, or takes them from the cache.

    Columns, by these or other usual names: `image` (a path, from the table's folder on; in Parquet and Arrow also the
    bytes of a file), `label` (text, or whole numbers), perhaps `split` and `weight`. Without a split all is `train`.

    Args:
        path: Path of a .csv, .tsv, .jsonl or .parquet file, or of a folder of Hugging Face `datasets`, as of
            `kzoo.data.rows.table_files`.
        decoding: The `Decoding`.
        skip_unreadable: Boolean, whether to leave out files that are no images, with a warning. Defaults to `False`.
        cache: Boolean, whether to decode all files into the cache at once. Defaults to `True`.

    Returns:
        `Parts`, named after the path. Class names are those of the table's features where it has them, else the labels
        in order.

    Raises:
        ValueError: If a column is missing, a value cannot be understood, or an image cannot be read.
        ImportError: If a Parquet or Arrow file needs pyarrow, which is missing.
    """
    tables = [(file, rows_of(file.path)) for file in table_files(path)]
    rows = [row if file.split is None else {**row, "split": file.split} for file, table in tables for row in table.rows]
    places = [file.path.parent.absolute() for file, table in tables for _ in table.rows]
    if not rows:
        raise ValueError(f"{str(path)!r} must have a row for each image. Received: none.")
    names = [name for _, table in tables for name in table.columns]
    columns = _columns(path, dict.fromkeys((*names, *(name for row in rows for name in row))))
    labels = [_label(path, number, row.get(columns["label"])) for number, row in enumerate(rows, start=1)]
    class_names, label_of = _classes(path, labels, _known(path, columns["label"], [table for _, table in tables]))
    root = Path(os.path.abspath(path.parent if path.is_file() else path))
    files = [
        _file(path, number, row.get(columns["image"]), place, root)
        for number, (row, place) in enumerate(zip(rows, places, strict=True), start=1)
    ]
    if "split" in columns:
        splits = [_split(path, number, row.get(columns["split"])) for number, row in enumerate(rows, start=1)]
    else:
        splits = _splits_of_folders([file.name for file in files])
    weights = [
        _weight(path, number, row.get(columns["weight"])) if "weight" in columns else 1.0
        for number, row in enumerate(rows, start=1)
    ]
    members = [
        Member(split, name, where, label_of[label], stamp, read, weight)
        for (name, where, stamp, read), split, label, weight in zip(files, splits, labels, weights, strict=True)
    ]
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{str(path)!r} must list each image once. Received: {twice!r} twice.")
    if "train" not in {member.split for member in members}:
        raise ValueError(f"{str(path)!r} must have rows of the split train. Received: none.")
    name = path.stem if path.is_file() else path.name
    return assembled(str(path), name, class_names, members, decoding, skip_unreadable, cache)


def _columns(path: Path, names: Iterable[Any]) -> dict[str, str]:
    """Returns which column is the image, the label, the split and the weight."""
    given = {str(name).strip().casefold(): name for name in names if name is not None}
    found = {
        what: next(given[name] for name in names if name in given)
        for what, names in COLUMNS.items()
        if any(name in given for name in names)
    }
    for what in ("image", "label"):
        if what not in found:
            raise ValueError(
                f"{str(path)!r} must have a column {what!r} (or {', '.join(COLUMNS[what][1:])}). "
                f"Received: {', '.join(given)}."
            )
    return found


def _known(path: Path, column: str, tables: Sequence[Rows]) -> list[str] | None:
    """Returns the names of the classes that the tables of a dataset have, or `None` if none has them."""
    found = [table.classes[column] for table in tables if column in table.classes]
    if others := [names for names in found if names != found[0]]:
        raise ValueError(
            f"{str(path)!r} must have tables with the same class names, in the same order. "
            f"Received: {found[0]} and {others[0]}."
        )
    return found[0] if found else None


def _splits_of_folders(names: Sequence[str]) -> list[str]:
    """Returns the split of each file by the first folder of its name, if those are splits; else all are `train`."""
    splits = [SPLIT_NAMES.get(name.partition("/")[0].casefold()) if "/" in name else None for name in names]
    return [str(split) for split in splits] if None not in splits and "train" in splits else ["train"] * len(names)


def _label(path: Path, number: int, value: Any) -> str | int:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(
        f"{str(path)!r}, row {number}: the label must be text or a whole number. Received: {_short(value)}."
    )


def _classes(
    path: Path, labels: Sequence[str | int], known: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str | int, int]]:
    """Returns the names of the classes, and the label of each value in the table."""
    values = set(labels)
    numbers = {value: int(value) for value in values if isinstance(value, int) or _is_number(value)}
    if known is not None and len(numbers) == len(values):
        if unknown := [number for number in numbers.values() if not 0 <= number < len(known)]:
            raise ValueError(
                f"{str(path)!r} must have labels from 0 to {len(known) - 1}, of its {len(known)} classes. "
                f"Received: {unknown[0]}."
            )
        return tuple(known), dict(numbers)
    if len(numbers) == len(values):
        ordered: list[Any] = sorted(values, key=lambda value: (numbers[value], str(value)))
    else:
        ordered = sorted(values, key=str)
    if both := [value for value in values if isinstance(value, int) and str(value) in values]:
        raise ValueError(f"{str(path)!r} must have labels of one kind. Received: {both[0]} as a number and as text.")
    return tuple(map(str, ordered)), {value: label for label, value in enumerate(ordered)}


def _split(path: Path, number: int, value: Any) -> str:
    split = SPLIT_NAMES.get(str(value).strip().casefold())
    if split is None:
        raise ValueError(
            f"{str(path)!r}, row {number}: the split must be train, validation or test. Received: {value!r}."
        )
    return split


def _weight(path: Path, number: int, value: Any) -> float:
    try:
        weight = 1.0 if value in (None, "") else float(value)
    except (TypeError, ValueError, OverflowError):
        weight = -1.0
    if not 0 <= weight <= _LARGEST_WEIGHT:
        raise ValueError(
            f"{str(path)!r}, row {number}: the weight must be a number, 0 or larger. Received: {_short(value)}."
        )
    return weight


class _File(NamedTuple):
    name: str
    where: str
    stamp: tuple[int, int]
    read: Callable[[], bytes]


def _file(path: Path, number: int, image: Any, place: Path, root: Path) -> _File:
    """Returns the image of a row; one in a file must lie in the root or below, perhaps as a link."""
    if isinstance(image, Mapping):
        image = image.get("path") if image.get("bytes") is None else image["bytes"]
    if isinstance(image, bytes):
        return _File(
            f"row {number}", f"{path} row {number}", (len(image), zlib.crc32(image)), functools.partial(bytes, image)
        )
    if isinstance(image, Stored):
        return _File(f"row {number}", f"{path} row {number}", image.stamp, image.read)
    if not isinstance(image, str) or not image.strip() or "\0" in image or len(image) > 1000:
        raise ValueError(f"{str(path)!r}, row {number}: the image must be a path. Received: {_short(image)}.")
    file = Path(os.path.abspath(place / image.strip().replace("\\", "/")))
    if not file.is_relative_to(root):
        raise ValueError(f"{str(path)!r}, row {number}: the image must lie beside the table. Received: {image!r}.")
    try:
        status = file.stat()
    except (OSError, ValueError):
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{str(path)!r}, row {number}: the image must be a file. Received: {image!r}.")
    if status.st_size > LARGEST_FILE:
        raise ValueError(f"{str(file)!r} must have at most {LARGEST_FILE:,} bytes. Received: {status.st_size:,}.")
    stamp = (status.st_size, status.st_mtime_ns)
    return _File(file.relative_to(root).as_posix(), str(file), stamp, functools.partial(Path.read_bytes, file))


def _is_number(text: str) -> bool:
    """Returns whether a label is a whole number; of more digits than any it is a text."""
    return text.isdecimal() and len(text) <= 18


def _short(value: Any) -> str:
    """Returns a value as a message shows it."""
    return reprlib.repr(value) if isinstance(value, list | dict | str | bytes | int) else repr(value)


def is_table(path: Path) -> bool:
    """Returns whether a path names a table, or a folder of tables."""
    return bool(table_files(path))
