"""Tables as Parquet and Arrow files, whose images are read as they are needed."""

import bisect
import functools
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from kzoo.data.columns import COLUMNS, Rows
from kzoo.data.handles import PerProcess


class _Column(Protocol):
    def value(self, number: int) -> Any: ...


class Stored:
    """An image that lies within a table.

    Args:
        column: What gives the file of each row: bytes, or a mapping with `"bytes"`.
        number: Integer, the row, counted from 0.
        stamp: Two integers that change with the table.
    """

    def __init__(self, column: _Column, number: int, stamp: tuple[int, int]) -> None:
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


def read_parquet(path: Path) -> Rows:
    """Returns the rows of a file; images that it holds are `Stored`."""
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


def read_arrow(path: Path) -> Rows:
    """Returns the rows of a file; images that it holds are `Stored`."""
    arrow = _arrow()
    try:
        table = _opened_arrow(path)
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{str(path)!r} must be a readable Arrow file. Received: {error}.") from error
    held = [name for name in _held(table.schema) if not _bytes_of(table.column(name)).null_count]
    eager = table.select([name for name in _wanted(table.schema) if name not in held])
    return _rows(path, table.schema, eager, table.num_rows, {name: _ArrowColumn(path, name) for name in held})


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
        about = {name: list(feature["names"]) for name, feature in features.items() if "names" in feature}
        are_texts = all(isinstance(one, str) for names in about.values() for one in names)
        return about if are_texts and all(len(set(names)) == len(names) for names in about.values()) else {}
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
