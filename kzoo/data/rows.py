"""Tables that list images, as files hold them: CSV, TSV, JSON lines, Parquet and Arrow."""

import csv
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from kzoo.data.arrow import read_arrow, read_parquet
from kzoo.data.columns import COLUMNS, Rows
from kzoo.data.layouts import SPLIT_NAMES

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


class TableFile(NamedTuple):
    """A file with rows.

    Attributes:
        path: `Path`.
        split: String, the split that its place or name says, or `None` if the rows say it, or nothing does.
    """

    path: Path
    split: str | None


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
    files = listed if isinstance(listed, list) else []
    names = [one.get("filename") if isinstance(one, dict) else None for one in files]
    if not names or not all(isinstance(name, str) and _is_arrow(name) for name in names):
        raise ValueError(f"{str(folder / 'state.json')!r} must list the files. Received: {listed!r}.")
    return [folder / str(name) for name in names]


def _is_arrow(name: str) -> bool:
    """Returns whether a name is that of an Arrow file, and of one in the same folder."""
    return PurePath(name).name == name and PurePath(name).suffix == ".arrow"


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


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".csv": _text,
    ".tsv": _text,
    ".jsonl": _json_lines,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
}
