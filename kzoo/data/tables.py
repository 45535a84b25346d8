"""Images that a table lists: CSV, TSV or Parquet with a row an image, also as the Hugging Face hub has them."""

import csv
import functools
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo.data.assembling import Member, assembled
from kzoo.data.dataset import Parts
from kzoo.data.files import LARGEST_FILE
from kzoo.data.images import Decoding
from kzoo.data.layouts import SPLIT_NAMES

SUFFIXES = (".csv", ".tsv", ".parquet")
# What people call the columns, whatever the case.
_COLUMNS = {
    "image": ("image", "img", "path", "file", "filename", "file_name", "filepath", "file_path", "image_path"),
    "label": ("label", "labels", "class", "class_name", "category", "target", "fine_label"),
    "split": ("split", "set", "subset", "partition"),
    "weight": ("weight", "sample_weight"),
}


def read_table(path: Path, decoding: Decoding, *, skip_unreadable: bool = False, cache: bool = True) -> Parts:
    """Decodes the images that a table lists, or takes them from the cache.

    Columns, by these or other usual names: `image` (a path beside the table; in Parquet also the bytes of a file),
    `label` (text, or whole numbers), perhaps `split` and `weight`. Without a split all is `train`.

    Args:
        path: Path of a .csv, .tsv or .parquet file, or of a folder of Parquet files named after their splits, such as
            `train-00000-of-00002.parquet`.
        decoding: The `Decoding`.
        skip_unreadable: Boolean, whether to leave out files that are no images, with a warning. Defaults to `False`.
        cache: Boolean, whether to decode all files into the cache at once. Defaults to `True`.

    Returns:
        `Parts`, named after the file. Class names are those of the table's features where it has them, else the labels
        in order.

    Raises:
        ValueError: If a column is missing, a value cannot be understood, or an image cannot be read.
        ImportError: If a Parquet file needs pyarrow, which is missing.
    """
    rows, known = _rows(path)
    if not rows:
        raise ValueError(f"{str(path)!r} must have a row for each image. Received: none.")
    columns = _columns(path, rows[0])
    labels = [_label(path, number, row.get(columns["label"])) for number, row in enumerate(rows, start=1)]
    class_names, label_of = _classes(path, labels, known)
    members = []
    for number, (row, label) in enumerate(zip(rows, labels, strict=True), start=1):
        split = _split(path, number, row.get(columns["split"])) if "split" in columns else "train"
        weight = _weight(path, number, row.get(columns["weight"])) if "weight" in columns else 1.0
        members.append(_member(path, number, row.get(columns["image"]), split, label_of[label], weight))
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{str(path)!r} must list each image once. Received: {twice!r} twice.")
    if "train" not in {member.split for member in members}:
        raise ValueError(f"{str(path)!r} must have rows of the split train. Received: none.")
    name = path.stem if path.is_file() else path.name
    return assembled(str(path), name, class_names, members, decoding, skip_unreadable, cache)


def _rows(path: Path) -> tuple[list[dict[str, Any]], list[str] | None]:
    """Returns the rows of a table, or of all tables of a folder, and the names of the classes where it has them."""
    if path.is_file():
        return _parquet(path) if path.suffix.casefold() == ".parquet" else (_text(path), None)
    rows, known = list[dict[str, Any]](), None
    for file in parquet_files(path):
        found, known = _parquet(file)
        split = file.stem.partition("-")[0]
        rows += [{"split": split, **row, "row in": file.name} for row in found]
    return rows, known


def parquet_files(folder: Path) -> list[Path]:
    """Returns the Parquet files of a folder or of `data` in it, sorted, if all are named after splits."""
    for place in (folder, folder / "data"):
        files = sorted(place.glob("*.parquet"))
        if files and all(file.stem.partition("-")[0].casefold() in SPLIT_NAMES for file in files):
            return files
    return []


def _text(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        head = text.partition("\n")[0]
        delimiter = max(",;\t", key=head.count)  # the comma, where there is none
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        names = list(reader.fieldnames or ())
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{str(path)!r} must have each column once. Received: {twice[0]!r} twice.")
        return list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} must be a table of text in UTF-8. Received: {error}.") from error


def _parquet(path: Path) -> tuple[list[dict[str, Any]], list[str] | None]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"Parquet files need pyarrow: pip install pyarrow. Received: {error}.") from error
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{str(path)!r} must be a readable Parquet file. Received: {error}.") from error
    try:
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        names = next(list(map(str, features[name]["names"])) for name in _COLUMNS["label"] if name in features)
    except (LookupError, TypeError, ValueError, StopIteration):
        names = None  # not from the hub, or its labels have no names
    return table.to_pylist(), names


def _columns(path: Path, row: Mapping[str, Any]) -> dict[str, str]:
    """Returns which column is the image, the label, the split and the weight."""
    given = {str(name).strip().casefold(): name for name in row if name is not None}
    found = {
        what: next(given[name] for name in names if name in given)
        for what, names in _COLUMNS.items()
        if any(name in given for name in names)
    }
    for what in ("image", "label"):
        if what not in found:
            raise ValueError(
                f"{str(path)!r} must have a column {what!r} (or {', '.join(_COLUMNS[what][1:])}). "
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


def _member(path: Path, number: int, image: Any, split: str, label: int, weight: float) -> Member:
    """Returns the image of a row; one in a file must lie in the table's folder or below."""
    if isinstance(image, Mapping) and image.get("bytes") is not None:
        image = image["bytes"]
    elif isinstance(image, Mapping):
        image = image.get("path")
    if isinstance(image, bytes):
        stamp = (len(image), zlib.crc32(image))
        return Member(split, f"row {number}", f"{path} row {number}", label, stamp, lambda: image, weight)
    if not isinstance(image, str) or not image.strip():
        raise ValueError(f"{str(path)!r}, row {number}: the image must be a path. Received: {image!r}.")
    folder = (path.parent if path.is_file() else path).resolve()
    if "\0" in image or len(image) > 1000:
        raise ValueError(f"{str(path)!r}, row {number}: the image must be a path. Received: {len(image)} characters.")
    file = (folder / image.strip().replace("\\", "/")).resolve()
    if not file.is_relative_to(folder):
        raise ValueError(f"{str(path)!r}, row {number}: the image must lie beside the table. Received: {image!r}.")
    if not file.is_file():
        raise ValueError(f"{str(path)!r}, row {number}: the image must be a file. Received: {image!r}.")
    status = file.stat()
    if status.st_size > LARGEST_FILE:
        raise ValueError(f"{str(file)!r} must have at most {LARGEST_FILE:,} bytes. Received: {status.st_size:,}.")
    stamp = (status.st_size, status.st_mtime_ns)
    name = file.relative_to(folder).as_posix()
    return Member(split, name, str(file), label, stamp, functools.partial(Path.read_bytes, file), weight)


def is_table(path: Path) -> bool:
    """Returns whether a path names a table, or a folder of Parquet files."""
    return (path.is_file() and path.suffix.casefold() in SUFFIXES) or (path.is_dir() and bool(parquet_files(path)))
