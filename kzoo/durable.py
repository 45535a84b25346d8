"""Files and folders that are whole or not there, whatever dies: written aside, flushed to the disk, renamed.

An `OSError` in writing one of them names it, and not what stands in for it meanwhile.
"""

import contextlib
import errno
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

LOCK = "lock"  # in a folder that is of one process
ASIDE = ".aside."  # begins the name of what has not taken its place
_GONE = ".gone."  # and of what is being removed


@contextlib.contextmanager
def written_file(path: Path) -> Iterator[Path]:
    """Yields a path to write a file at; what is there in the end takes the place of `path`, or nothing does.

    It ends as `path` does. What a death left of an earlier try is overwritten. Whoever else writes the same file waits.
    """
    aside = aside_of(path)
    with told(path, aside), opened_alone(aside) as file:
        try:
            file.truncate(0)
            yield aside
            put_in_place(aside, path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def written_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder to fill; in the end it takes the place of `path`, or nothing does.

    Two processes may not write the same folder.
    """
    aside = aside_of(path)
    with told(path, aside):
        shutil.rmtree(aside, ignore_errors=True)
        make_folder(path.parent)
        aside.mkdir()
        try:
            yield aside
            _flush_all(aside)
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
    gone = path.with_name(f"{_GONE}{path.name}")
    shutil.rmtree(gone, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        path.rename(gone)
    return gone


def remove_rest(root: Path) -> None:
    """Removes what deaths have left of writing and removing folders in `root`, which nobody else may be at."""
    for pattern in (f"{ASIDE}*/", f"{_GONE}*/"):
        for left in root.glob(pattern):
            shutil.rmtree(left, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Makes a folder and those that it is in, on the disk."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        flush(path.parent)


@contextlib.contextmanager
def private_folder(root: Path) -> Iterator[Path]:
    """Yields a folder in `root` that is of this process alone, and removes it in the end.

    It holds nothing but a lock, by which whoever wants the next one sees what a death has left, and removes that.
    """
    from filelock import FileLock

    remove_left(root)
    new = Path(tempfile.mkdtemp(".new", ".kzoo-", root))
    with FileLock(new / LOCK):
        folder = new.rename(new.with_suffix(".private"))  # which nobody takes for left, since it is locked already
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_left(root: Path, pattern: str = ".kzoo-*.private") -> None:
    """Removes the folders in `root` that were of one process each, which has died."""
    from filelock import FileLock

    for lock in root.glob(f"{pattern}/{LOCK}"):
        with contextlib.suppress(OSError):  # it is held, which is a TimeoutError, or of somebody else
            if not lock.parent.is_symlink():
                with FileLock(lock, timeout=0):
                    shutil.rmtree(lock.parent, ignore_errors=True)


@contextlib.contextmanager
def opened_alone(path: Path) -> Iterator[io.FileIO]:
    """Opens a file for appending once nobody else has it so. The lock dies with its process."""
    while True:
        with io.FileIO(os.fspath(path), "a", opener=_open_no_link) as file:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)
            if is_same_file(file, path):  # which whoever had the lock before may have renamed or removed
                yield file
                return


def is_same_file(file: io.FileIO, path: Path) -> bool:
    """Returns whether a path still names an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


@contextlib.contextmanager
def told(path: Path | str, aside: Path | None = None) -> Iterator[None]:
    """Names `path` in an `OSError` that names nothing, or what stands in for it."""
    try:
        yield
    except OSError as error:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        is_of_others = names and not any(name.startswith(str(aside or path)) for name in names)
        if error.errno is None or is_of_others:
            raise
        raise OSError(error.errno, f"{error.strerror} while writing", str(path)) from error


def aside_of(path: Path) -> Path:
    """Returns where a file or folder is written before it takes its place."""
    return path.with_name(f"{ASIDE}{path.name}")


def output_path(path: str | os.PathLike[str]) -> Path:
    """Returns where to write a file that a user named: a link stays one.

    Raises:
        ValueError: If something is there that is no file: nothing else is replaced.
    """
    resolved = Path(os.path.realpath(path))
    if resolved.exists() and not resolved.is_file():
        raise ValueError(f"The output must be the name of a file. Received: {os.fspath(path)!r}, something else.")
    return resolved


def put_in_place(made: Path, path: Path) -> None:
    """Renames a file or folder to `path`, once all of it is on the disk."""
    _flush_all(made)
    made.replace(path)
    flush(path.parent)


def _flush_all(made: Path) -> None:
    for part in (*made.rglob("*"), made):
        flush(part)


def flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # there are filesystems that flush no folders
            raise
    finally:
        os.close(descriptor)
