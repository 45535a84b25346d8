"""The image files of a folder or .zip file, and what else lies there."""

import abc
import collections
import contextlib
import errno
import functools
import lzma
import os
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from kzoo.data.handles import PerProcess

# What a damaged archive makes `zipfile` raise; NotImplementedError is a RuntimeError.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OverflowError,
    RuntimeError,
    ValueError,
)
LARGEST_FILE = 1 << 28  # bytes, of one image: a zip may claim anything
_PIECE = 1 << 20  # bytes to ask a zip for at once: memory for them is taken before it is known that they are there

# What operating systems and programs leave behind, whatever the case.
_JUNK = {
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "@eadir",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "icon\r",
}
# Text and tables that describe images, and lie beside them.
_TEXTS = ("aae", "doc", "docx", "htm", "html", "ini", "lnk", "log", "lst", "md", "pdf", "rst", "rtf", "txt", "xmp")
_TABLES = ("csv", "db", "json", "jsonl", "parquet", "pbtxt", "tsv", "xlsx", "xml", "yaml", "yml")
_SIDECARS = {f".{suffix}" for suffix in (*_TEXTS, *_TABLES)}


class Files(abc.ABC):
    """The files of a folder or archive.

    Attributes:
        path: `Path` of the folder or archive.
        names: Names of the files that may be images, with `/` between folders, sorted.
        folders: Names of all folders, those without files too, sorted.
        ignored: What was left out, and how often: `"hidden"`, `"junk"`, `"sidecar"` or `"special"`.
    """

    path: Path
    names: list[str]
    folders: list[str]
    ignored: Mapping[str, int]

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """Returns the bytes of a file; may be called by several threads at once."""

    @abc.abstractmethod
    def stamp(self, name: str) -> tuple[int, int]:
        """Returns the size of a file in bytes, and a number that changes with its content."""

    def where(self, name: str) -> str:
        """Returns what to call a file in a message."""
        return os.path.join(self.path, name)

    def _sort(self, names: Iterable[str], folders: Iterable[str]) -> None:
        kept, counts = [], collections.Counter[str]()
        for name in names:
            reason = _why_ignored(name)
            if reason:
                counts[reason] += 1
            else:
                kept.append(name)
        self.names = sorted(kept)
        self.folders = sorted(name for name in folders if _why_ignored(name) in (None, "sidecar"))
        self.ignored = counts


class Folder(Files):
    """Files below a folder. Links are followed, but none into a folder that is above it already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamps: dict[str, tuple[int, int]] = {}
        folders, special = [], 0
        for name, status in _walk(path, "", ()):
            if stat.S_ISDIR(status.st_mode):
                folders.append(name)
            elif stat.S_ISREG(status.st_mode):
                self._stamps[name] = (status.st_size, status.st_mtime_ns)
            else:
                special += 1
        self._sort(self._stamps, folders)
        if special:
            self.ignored = {**self.ignored, "special": special}

    def read(self, name: str) -> bytes:
        path = self.path / name
        _check_size(self.where(name), path.stat().st_size)
        return path.read_bytes()

    def stamp(self, name: str) -> tuple[int, int]:
        return self._stamps[name]


class Archive(Files):
    """Files in a .zip file, whatever slashes the names in it have."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened = PerProcess(functools.partial(_opened, path))
        _, archive = self._opened.get()
        self._entries: dict[str, zipfile.ZipInfo] = {}
        folders = set[str]()
        for entry in archive.infolist():
            written = entry.filename.replace("\\", "/")
            name = str(PurePosixPath(written))
            if ".." in PurePosixPath(name).parts or name.startswith("/"):
                raise ValueError(f"{str(path)!r} must have no names outside of it. Received: {entry.filename!r}.")
            if written.endswith("/"):
                folders.update({name} - {"."})
                continue
            if name in self._entries:
                raise ValueError(f"{str(path)!r} must have each file once. Received: {name!r} twice.")
            self._entries[name] = entry
            folders.update(str(folder) for folder in PurePosixPath(name).parents if str(folder) != ".")
        self._sort(self._entries, folders)

    def read(self, name: str) -> bytes:
        entry = self._entries[name]
        _check_size(self.where(name), entry.file_size)
        lock, archive = self._opened.get()
        with lock, _whole(f"{name!r} in {str(self.path)!r} must be readable."), archive.open(entry) as file:
            return b"".join(iter(functools.partial(file.read, _PIECE), b""))

    def stamp(self, name: str) -> tuple[int, int]:
        return self._entries[name].file_size, self._entries[name].CRC


def _opened(path: Path) -> tuple[threading.Lock, zipfile.ZipFile]:
    """Opens a .zip file, with a lock: it is read by one thread at a time."""
    with _whole(f"{str(path)!r} must be a folder or a readable .zip file."):
        return threading.Lock(), zipfile.ZipFile(path)


@contextlib.contextmanager
def _whole(expected: str) -> Iterator[None]:
    """Turns what a damaged archive raises into `ValueError`."""
    try:
        yield
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # of the disk: damage is a place before 0
            raise
        raise ValueError(f"{expected} Received: {error}.") from error


def files_of(path: Path) -> Files:
    """Returns the `Files` of a folder or .zip file; the latter stays open for as long as somebody has them.

    Raises:
        ValueError: If it is neither, or names a file twice.
    """
    return Folder(path) if path.is_dir() else Archive(path)


def _walk(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, os.stat_result]]:
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name = f"{prefix}{entry.name}"
        try:
            status = entry.stat()
        except OSError as error:
            if not entry.is_symlink():
                raise
            raise ValueError(f"{entry.path!r} must not be a link to nothing. Received: {error}.") from error
        if (status.st_dev, status.st_ino) in (*above, identity):
            continue  # a link to a folder that it lies in
        yield name, status
        if stat.S_ISDIR(status.st_mode) and _why_ignored(name) not in ("hidden", "junk"):
            yield from _walk(Path(entry.path), f"{name}/", (*above, identity))


def _why_ignored(name: str) -> str | None:
    if not _JUNK.isdisjoint(name.casefold().split("/")):
        return "junk"
    if any(part.startswith(".") for part in name.split("/")):
        return "hidden"
    return "sidecar" if os.path.splitext(name)[1].casefold() in _SIDECARS else None


def _check_size(where: str, size: int) -> None:
    if size > LARGEST_FILE:
        raise ValueError(f"{where!r} must have at most {LARGEST_FILE:,} bytes. Received: {size:,}.")
