"""Images that a table lists with their labels, a row an image."""

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo.data.assembling import Member, assembled
from kzoo.data.dataset import Parts
from kzoo.data.files import LARGEST_FILE
from kzoo.data.images import Decoding
from kzoo.data.layouts import SPLIT_NAMES
from kzoo.data.rows import COLUMNS, Row, Stored, rows_of, table_files


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
    rows, places, known = list[Row](), list[Path](), dict[str, list[str]]()
    for file, split in table_files(path):
        found, known = rows_of(file)
        rows += [row if split is None else {**row, "split": split} for row in found]
        places += [file.parent] * len(found)
    if not rows:
        raise ValueError(f"{str(path)!r} must have a row for each image. Received: none.")
    columns = _columns(path, rows[0])
    labels = [_label(path, number, row.get(columns["label"])) for number, row in enumerate(rows, start=1)]
    class_names, label_of = _classes(path, labels, known.get(columns["label"]))
    root = (path.parent if path.is_file() else path).resolve()
    members = []
    for number, (row, place, label) in enumerate(zip(rows, places, labels, strict=True), start=1):
        split = _split(path, number, row.get(columns["split"])) if "split" in columns else "train"
        weight = _weight(path, number, row.get(columns["weight"])) if "weight" in columns else 1.0
        name, where, stamp, read = _file(path, number, row.get(columns["image"]), place.resolve(), root)
        members.append(Member(split, name, where, label_of[label], stamp, read, weight))
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{str(path)!r} must list each image once. Received: {twice!r} twice.")
    if "train" not in {member.split for member in members}:
        raise ValueError(f"{str(path)!r} must have rows of the split train. Received: none.")
    name = path.stem if path.is_file() else path.name
    return assembled(str(path), name, class_names, members, decoding, skip_unreadable, cache)


def _columns(path: Path, row: Mapping[str, Any]) -> dict[str, str]:
    """Returns which column is the image, the label, the split and the weight."""
    given = {str(name).strip().casefold(): name for name in row if name is not None}
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


def _label(path: Path, number: int, value: Any) -> str | int:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{str(path)!r}, row {number}: the label must be text or a whole number. Received: {value!r}.")


def _classes(
    path: Path, labels: Sequence[str | int], known: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str | int, int]]:
    """Returns the names of the classes, and the label of each value in the table."""
    values = set(labels)
    numbers = {value: int(value) for value in values if isinstance(value, int) or value.isdecimal()}
    if known is not None and len(numbers) == len(values):
        if unknown := [number for number in numbers.values() if not 0 <= number < len(known)]:
            raise ValueError(
                f"{str(path)!r} must have labels from 0 to {len(known) - 1}, of its {len(known)} classes. "
                f"Received: {unknown[0]}."
            )
        return tuple(known), dict(numbers)
    if len(numbers) == len(values):
        ordered: list[Any] = sorted(values, key=lambda value: numbers[value])
    else:
        ordered = sorted(values, key=str)
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
    except (TypeError, ValueError):
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise ValueError(f"{str(path)!r}, row {number}: the weight must be a number, 0 or larger. Received: {value!r}.")
    return weight


def _file(
    path: Path, number: int, image: Any, place: Path, root: Path
) -> tuple[str, str, tuple[int, int], Callable[[], bytes]]:
    """Returns name, place, stamp and reader of the image of a row; one in a file must lie in the root or below."""
    if isinstance(image, Mapping):
        image = image.get("path") if image.get("bytes") is None else image["bytes"]
    if isinstance(image, bytes):
        return f"row {number}", f"{path} row {number}", (len(image), zlib.crc32(image)), lambda: image
    if isinstance(image, Stored):
        return f"row {number}", f"{path} row {number}", image.stamp, image.read
    if not isinstance(image, str) or not image.strip():
        raise ValueError(f"{str(path)!r}, row {number}: the image must be a path. Received: {image!r}.")
    if "\0" in image or len(image) > 1000:
        raise ValueError(f"{str(path)!r}, row {number}: the image must be a path. Received: {len(image)} characters.")
    file = (place / image.strip().replace("\\", "/")).resolve()
    if not file.is_relative_to(root):
        raise ValueError(f"{str(path)!r}, row {number}: the image must lie beside the table. Received: {image!r}.")
    if not file.is_file():
        raise ValueError(f"{str(path)!r}, row {number}: the image must be a file. Received: {image!r}.")
    status = file.stat()
    if status.st_size > LARGEST_FILE:
        raise ValueError(f"{str(file)!r} must have at most {LARGEST_FILE:,} bytes. Received: {status.st_size:,}.")
    stamp = (status.st_size, status.st_mtime_ns)
    return file.relative_to(root).as_posix(), str(file), stamp, functools.partial(Path.read_bytes, file)


def is_table(path: Path) -> bool:
    """Returns whether a path names a table, or a folder of tables."""
    return bool(table_files(path))
