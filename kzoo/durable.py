"""Files and folders that are whole or not there, whatever dies: written aside, flushed to the disk, renamed."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_file(path: Path) -> Iterator[Path]:
    """Yields a path to write a file at; what is there in the end takes the place of `path`, or nothing does.

    What a death left of an earlier try is overwritten. Two processes may not write the same file.
    """
    aside = path.with_name(f".{path.name}.aside")
    try:
        yield aside
        flush(aside)
        aside.replace(path)
        flush(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def written_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder to fill with files; in the end it takes the place of `path`, or nothing does."""
    aside = path.with_name(f".{path.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    make_folder(path.parent)
    aside.mkdir()
    try:
        yield aside
        for file in aside.iterdir():
            flush(file)
        flush(aside)
        gone = _hidden(path)
        aside.rename(path)
        flush(path.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    shutil.rmtree(gone, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Removes a folder, if it is there: one that is removed in part has another name."""
    shutil.rmtree(_hidden(path), ignore_errors=True)


def _hidden(path: Path) -> Path:
    """Gives a folder, if it is there, the name of one that is to be removed, and returns that."""
    gone = path.with_name(f".{path.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        path.rename(gone)
    return gone


def make_folder(path: Path) -> None:
    """Makes a folder and those that it is in, on the disk."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        flush(path.parent)


def flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
