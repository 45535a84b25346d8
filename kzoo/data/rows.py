"""Tables that list images, as files hold them: CSV, TSV, JSON lines, Parquet and Arrow."""

import bisect
import csv
import functools
import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kzoo.data.layouts import SPLIT_NAMES

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
# What people call the columns, whatever the case.
COLUMNS = {
    "image": ("image", "img", "path", "file", "filename", "file_name", "filepath", "file_path", "image_path"),
    "label": ("label", "labels", "class", "class_name", "category", "target", "fine_label"),
    "split": ("split", "set", "subset", "partition"),
    "weight": ("weight", "sample_weight"),
}
_GROUPS_KEPT = 4  # of rows of a Parquet file, whose images threads read at the same time


class Stored(NamedTuple):
    """An image that lies within a table.

    Attributes:
        read: Returns the bytes of its file, from any thread.
        stamp: Two integers that change with the table.
    """

    read: Callable[[], bytes]
    stamp: tuple[int, int]


class TableFile(NamedTuple):
    """A file with rows.

    Attributes:
        path: `Path`.
        split: String, the split that its place or name says, or `None` if the rows say it, or nothing does.
    """

    path: Path
    split: str | None


Row = dict[str, Any]


def table_files(path: Path) -> list[TableFile]:
    """Returns the tables at a path, none if it is something else.

    A folder has tables where it is one of Hugging Face `datasets`: Parquet files named after splits, in it or in `data`
    (`push_to_hub`); Arrow files (`save_to_disk`); `metadata.csv`, `.jsonl` or `.parquet`, in it or in the folders of
    the splits, with a label for each file (`imagefolder`).
    """
    if path.is_file():
        return [TableFile(path, None)] if path.suffix.casefold() in SUFFIXES else []
    if not path.is_dir():
        return []
    for place in (path, path / "data"):
        files = sorted(place.glob("*.parquet"))
        if files and all(file.stem.partition("-")[0].casefold() in SPLIT_NAMES for file in files):
            return [TableFile(file, file.stem.partition("-")[0]) for file in files]
    splits = sorted(folder for folder in path.iterdir() if folder.is_dir() and folder.name.casefold() in SPLIT_NAMES)
    saved = [(folder, folder.name) for folder in splits] if (path / "dataset_dict.json").is_file() else [(path, None)]
    if all((folder / "state.json").is_file() for folder, _ in saved):
        return [TableFile(file, split) for folder, split in saved for file in sorted(folder.glob("*.arrow"))]
    described: list[tuple[Path, str | None]] = [(path, None), *((folder, folder.name) for folder in splits)]
    named = [TableFile(folder / f"metadata{suffix}", split) for folder, split in described for suffix in SUFFIXES]
    return [table for table in named if table.path.is_file() and _labels_files(table.path)]


def rows_of(path: Path) -> tuple[list[Row], dict[str, list[str]]]:
    """Returns the rows of a table, and the names of the classes of each column that has them.

    Images that a Parquet or Arrow file holds are `Stored`, and read when they are needed.

    Raises:
        ValueError: If the file cannot be read.
        ImportError: If it needs pyarrow, which is missing.
    """
    return _READERS[path.suffix.casefold()](path)


def _labels_files(path: Path) -> bool:
    """Returns whether a table has names of files, as Hugging Face calls them, with labels."""
    rows, _ = rows_of(path)
    names = {str(name).casefold() for name in (rows[0] if rows else ())}
    return "file_name" in names and not names.isdisjoint(COLUMNS["label"])


def _text(path: Path) -> tuple[list[Row], dict[str, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        head = text.partition("\n")[0]
        delimiter = max(",;\t", key=head.count)  # the comma, where there is none
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        names = list(reader.fieldnames or ())
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{str(path)!r} must have each column once. Received: {twice[0]!r} twice.")
        return list(reader), {}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} must be a table of text in UTF-8. Received: {error}.") from error


def _json_lines(path: Path) -> tuple[list[Row], dict[str, list[str]]]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} must have a JSON object in each line. Received: {error}.") from error
    if others := [row for row in rows if not isinstance(row, dict)]:
        raise ValueError(f"{str(path)!r} must have a JSON object in each line. Received: {others[0]!r}.")
    return rows, {}


def _parquet(path: Path) -> tuple[list[Row], dict[str, list[str]]]:
    arrow = _arrow()
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        schema = file.schema_arrow
        held = [name for name in _held(schema) if _are_all_there(file, name)]
        eager = file.read(columns=[name for name in schema.names if name not in held])
        starts = [0]
        for group in range(file.num_row_groups):
            starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{str(path)!r} must be a readable Parquet file. Received: {error}.") from error
    lock = threading.Lock()

    @functools.lru_cache(_GROUPS_KEPT)
    def group_of(group: int, name: str) -> Any:
        return file.read_row_group(group, columns=[name]).column(0)

    def read(number: int, name: str) -> Any:
        group = bisect.bisect_right(starts, number) - 1
        with lock:
            column = group_of(group, name)
        return column[number - starts[group]]

    return _rows(path, eager, starts[-1], {name: functools.partial(read, name=name) for name in held}), _classes(schema)


def _saved(path: Path) -> tuple[list[Row], dict[str, list[str]]]:
    arrow = _arrow()
    try:
        table = arrow.ipc.open_stream(arrow.memory_map(str(path))).read_all()
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{str(path)!r} must be a readable Arrow file. Received: {error}.") from error
    held = [name for name in _held(table.schema) if not _bytes_of(table.column(name)).null_count]
    readers = {name: table.column(name).__getitem__ for name in held}
    return _rows(path, table.drop_columns(held), table.num_rows, readers), _classes(table.schema)


_READERS: dict[str, Callable[[Path], tuple[list[Row], dict[str, list[str]]]]] = {
    ".csv": _text,
    ".tsv": _text,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
    ".arrow": _saved,
}


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(f"Parquet and Arrow files need pyarrow: pip install pyarrow. Received: {error}.") from error
    return pyarrow


def _held(schema: Any) -> Iterator[str]:
    """Yields the columns that hold files: bytes, or pairs of bytes and path."""
    from pyarrow import types

    for field in schema:
        inner = field.type
        if types.is_struct(inner) and inner.get_field_index("bytes") >= 0:
            inner = inner.field("bytes").type
        if types.is_binary(inner) or types.is_large_binary(inner):
            yield field.name


def _are_all_there(file: Any, name: str) -> bool:
    """Returns whether a column of files has the bytes in each row: else some may be paths, which are read at once."""
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group)
        columns = [rows.column(number) for number in range(rows.num_columns)]
        found = [column.statistics for column in columns if column.path_in_schema in (name, f"{name}.bytes")]
        if not found or any(one is None or not one.has_null_count or one.null_count for one in found):
            return False
    return True


def _bytes_of(column: Any) -> Any:
    import pyarrow

    if not pyarrow.types.is_struct(column.type):
        return column
    chunks = [chunk.field("bytes") for chunk in column.chunks]
    return pyarrow.chunked_array(chunks, column.type.field("bytes").type)


def _rows(path: Path, eager: Any, count: int, held: dict[str, Callable[[int], Any]]) -> list[Row]:
    """Returns rows of values, and of `Stored` images."""
    status = path.stat()
    stamp = (status.st_size, status.st_mtime_ns)

    def read(reader: Callable[[int], Any], number: int) -> bytes:
        value = reader(number).as_py()
        return bytes(value["bytes"] if isinstance(value, dict) else value)

    rows = eager.to_pylist() if eager.num_columns else [{} for _ in range(count)]
    for number, row in enumerate(rows):
        row.update((name, Stored(functools.partial(read, reader, number), stamp)) for name, reader in held.items())
    return rows


def _classes(schema: Any) -> dict[str, list[str]]:
    """Returns column to names of classes, of the features that Hugging Face `datasets` writes."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        about = {name: feature["names"] for name, feature in features.items() if "names" in feature}
        return {name: list(map(str, names)) for name, names in about.items()}
    except (LookupError, TypeError, ValueError, AttributeError):
        return {}
