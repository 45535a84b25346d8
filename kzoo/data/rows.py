"""Tables that list images, as files hold them: CSV, TSV, JSON lines, Parquet and Arrow."""

import bisect
import csv
import functools
import io
import json
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Protocol

from kzoo.data.handles import PerProcess
from kzoo.data.layouts import SPLIT_NAMES

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
# What people call the columns, whatever the case.
COLUMNS = {
    "image": ("image", "img", "path", "file", "filename", "file_name", "filepath", "file_path", "image_path"),
    "label": ("label", "labels", "class", "class_name", "category", "target", "fine_label"),
    "split": ("split", "set", "subset", "partition"),
    "weight": ("weight", "sample_weight"),
}


class Stored:
    """An image that lies within a table.

    Args:
        column: What gives the file of each row: bytes, or a mapping with `"bytes"`.
        number: Integer, the row, counted from 0.
        stamp: Two integers that change with the table.
    """

    def __init__(self, column: "_Column", number: int, stamp: tuple[int, int]) -> None:
        self._column, self._number, self.stamp = column, number, stamp

    def __repr__(self) -> str:
        return "the bytes of a file"

    def read(self) -> bytes:
        """Returns the bytes of its file; may be called by several threads at once.

        Raises:
            ValueError: If the table cannot be read any more.
        """
        value = self._column.value(self._number)
        return bytes(value["bytes"] if isinstance(value, dict) else value)


class TableFile(NamedTuple):
    """A file with rows.

    Attributes:
        path: `Path`.
        split: String, the split that its place or name says, or `None` if the rows say it, or nothing does.
    """

    path: Path
    split: str | None


Row = dict[str, Any]


class Rows(NamedTuple):
    """What is in a table.

    Attributes:
        rows: A dictionary a row.
        columns: Names of all columns.
        classes: Column to the names of its classes, where the table has them.
    """

    rows: list[Row]
    columns: list[str]
    classes: dict[str, list[str]]


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
    if (path / "dataset_dict.json").is_file():
        return _saved_splits(path)
    if (path / "state.json").is_file():
        return [TableFile(file, None) for file in _saved_files(path)]
    splits = sorted(folder for folder in path.iterdir() if folder.is_dir() and folder.name.casefold() in SPLIT_NAMES)
    described: list[tuple[Path, str | None]] = [(path, None), *((folder, folder.name) for folder in splits)]
    named = [TableFile(folder / f"metadata{suffix}", split) for folder, split in described for suffix in SUFFIXES]
    return [table for table in named if table.path.is_file() and _labels_files(table.path)]


def _saved_splits(path: Path) -> list[TableFile]:
    """Returns the tables of the splits that `save_to_disk` wrote; of other splits a warning tells."""
    names = _json(path / "dataset_dict.json").get("splits")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{str(path / 'dataset_dict.json')!r} must list the splits. Received: {names!r}.")
    if others := [name for name in names if name.casefold() not in SPLIT_NAMES]:
        warnings.warn(f"{path}: splits of other names are left out: {', '.join(others)}.", stacklevel=2)
    known = [name for name in names if name not in others and PurePath(name).name == name]
    return [TableFile(file, name) for name in known for file in _saved_files(path / name)]


def _saved_files(folder: Path) -> list[Path]:
    """Returns the files of a table that `save_to_disk` wrote; what lies beside them are copies and results."""
    state = _json(folder / "state.json")
    if state.get("_indices_files"):
        raise ValueError(f"{str(folder)!r} must hold its rows in their order: call `flatten_indices` and save it anew.")
    listed = state.get("_data_files")
    names = [one.get("filename") if isinstance(one, dict) else None for one in listed or ()]
    if not names or not all(isinstance(name, str) and PurePath(name).name == name for name in names):
        raise ValueError(f"{str(folder / 'state.json')!r} must list the files. Received: {listed!r}.")
    return [folder / str(name) for name in names]


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} must be JSON. Received: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} must be a JSON object. Received: {content!r}.")
    return content


def rows_of(path: Path) -> Rows:
    """Returns the rows of a table. Images that a Parquet or Arrow file holds are `Stored`, and read as needed.

    Raises:
        ValueError: If the file cannot be read.
        ImportError: If it needs pyarrow, which is missing.
    """
    return _READERS[path.suffix.casefold()](path)


def _labels_files(path: Path) -> bool:
    """Returns whether a table has names of files, as Hugging Face calls them, with labels."""
    try:
        names = {name.casefold() for name in rows_of(path).columns}
    except ValueError:
        return False  # of something else
    return "file_name" in names and not names.isdisjoint(COLUMNS["label"])


def _text(path: Path) -> Rows:
    try:
        text = path.read_text(encoding="utf-8-sig")
        head = text.partition("\n")[0]
        delimiter = max(",;\t", key=head.count)  # the comma, where there is none
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        names = list(reader.fieldnames or ())
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{str(path)!r} must have each column once. Received: {twice[0]!r} twice.")
        return Rows(list(reader), list(map(str, names)), {})
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} must be a table of text in UTF-8. Received: {error}.") from error


def _json_lines(path: Path) -> Rows:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # texts may hold other ends of lines
        rows = [json.loads(line) for line in lines if line.strip()]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} must have a JSON object in each line. Received: {error}.") from error
    if others := [row for row in rows if not isinstance(row, dict)]:
        raise ValueError(f"{str(path)!r} must have a JSON object in each line. Received: {others[0]!r}.")
    return Rows(rows, list(dict.fromkeys(name for row in rows for name in row)), {})


def _parquet(path: Path) -> Rows:
    arrow = _arrow()
    try:
        file = _opened_parquet(path)
        schema = file.schema_arrow
        held = [name for name in _held(schema) if _are_all_there(file, name)]
        eager = file.read(columns=[name for name in _wanted(schema) if name not in held])
        starts = [0]
        for group in range(file.num_row_groups):
            starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{str(path)!r} must be a readable Parquet file. Received: {error}.") from error
    return _rows(path, schema, eager, starts[-1], {name: _ParquetColumn(path, name, starts) for name in held})


def _saved(path: Path) -> Rows:
    arrow = _arrow()
    try:
        table = _opened_arrow(path)
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{str(path)!r} must be a readable Arrow file. Received: {error}.") from error
    held = [name for name in _held(table.schema) if not _bytes_of(table.column(name)).null_count]
    eager = table.select([name for name in _wanted(table.schema) if name not in held])
    return _rows(path, table.schema, eager, table.num_rows, {name: _ArrowColumn(path, name) for name in held})


class _Column(Protocol):
    def value(self, number: int) -> Any: ...


class _ParquetColumn:
    """Reads a column of a Parquet file, some thousand rows at a time; the last that were read are kept."""

    def __init__(self, path: Path, name: str, starts: Sequence[int]) -> None:
        self._path, self._name, self._starts = path, name, starts
        self._groups = PerProcess(functools.partial(_groups_of, path, name))

    def value(self, number: int) -> Any:
        group = bisect.bisect_right(self._starts, number) - 1
        try:
            lock, read = self._groups.get()
            with lock:
                column = read(group)
            return column[number - self._starts[group]].as_py()
        except (_arrow().ArrowException, OSError, IndexError) as error:
            raise ValueError(f"{str(self._path)!r} must be a readable Parquet file. Received: {error}.") from error


class _ArrowColumn:
    """Reads a column of an Arrow file, which is mapped into memory."""

    def __init__(self, path: Path, name: str) -> None:
        self._name, self._table = name, PerProcess(functools.partial(_opened_arrow, path))

    def value(self, number: int) -> Any:
        return self._table.get().column(self._name)[number].as_py()


def _opened_parquet(path: Path) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path)


def _opened_arrow(path: Path) -> Any:
    import pyarrow

    return pyarrow.ipc.open_stream(pyarrow.memory_map(str(path))).read_all()


def _groups_of(path: Path, name: str) -> tuple[threading.Lock, Callable[[int], Any]]:
    """Returns what reads a column's groups of rows, with a lock: one thread reads at a time."""
    file = _opened_parquet(path)
    kept = 2 + (os.cpu_count() or 1)  # each thread that decodes is at another place
    return threading.Lock(), functools.lru_cache(kept)(
        lambda group: file.read_row_group(group, columns=[name]).column(0)
    )


def _wanted(schema: Any) -> list[str]:
    """Returns the columns that are read; of others nobody knows what is in them."""
    known = {name for names in COLUMNS.values() for name in names}
    return [name for name in schema.names if name.strip().casefold() in known]


_READERS: dict[str, Callable[[Path], Rows]] = {
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

    for field in (schema.field(name) for name in _wanted(schema)):
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


def _rows(path: Path, schema: Any, eager: Any, count: int, held: dict[str, _Column]) -> Rows:
    """Returns rows of values, and of `Stored` images."""
    status = path.stat()
    stamp = (status.st_size, status.st_mtime_ns)
    try:
        rows = eager.to_pylist() if eager.num_columns else [{} for _ in range(count)]
    except (_arrow().ArrowException, ValueError, OverflowError) as error:
        raise ValueError(f"{str(path)!r} must have values that Python has, too. Received: {error}.") from error
    for number, row in enumerate(rows):
        row.update((name, Stored(column, number, stamp)) for name, column in held.items())
    return Rows(rows, list(schema.names), _classes(schema))


def _classes(schema: Any) -> dict[str, list[str]]:
    """Returns column to names of classes, of the features that Hugging Face `datasets` writes."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        about = {name: feature["names"] for name, feature in features.items() if "names" in feature}
        return {name: list(map(str, names)) for name, names in about.items()}
    except (LookupError, TypeError, ValueError, AttributeError):
        return {}
