"""What a disk may hold after the power fails: of a sequence of file operations that was recorded, each possible rest.

Until a file is flushed its bytes may be there, in part, or not; until a folder is flushed, any number of the last
changes to its names may be lost.
"""

import dataclasses
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Event = tuple[str, ...] | tuple[str, str, bytes]
Tree = dict[str, bytes | None]


@dataclasses.dataclass(eq=False)
class File:
    content: bytes = b""
    flushed: bytes = b""


@dataclasses.dataclass(eq=False)
class Folder:
    names: "dict[str, File | Folder]" = dataclasses.field(default_factory=dict)
    flushed: "dict[str, File | Folder]" = dataclasses.field(default_factory=dict)
    # What the names were after each change since the last flush.
    since: "list[dict[str, File | Folder]]" = dataclasses.field(default_factory=list)

    def change(self, names: "dict[str, File | Folder]") -> None:
        self.names = names
        self.since.append(names)


class Recording:
    """The operations within a folder that a function makes, in their order.

    Args:
        root: Path of the folder, which is empty.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[Event] = []
        self._written: dict[str, bytes] = {}
        self._flush = os.fsync

    def __enter__(self) -> "Recording":
        if not _listening:
            sys.addaudithook(_hear)  # it cannot be taken away again
        _listening[:] = [self]
        os.fsync = self._flushed
        return self

    def __exit__(self, *_: Any) -> None:
        os.fsync = self._flush
        _listening[:] = [None]

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        self._look()
        if event == "open" and isinstance(arguments[0], str | Path) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            if (name := self._within(arguments[0])) is not None:
                self.events.append(("create", name))
                self._written[name] = b""
        elif event in ("os.mkdir", "os.remove", "os.rmdir"):
            if (name := self._within(arguments[0], arguments[-1])) is not None:
                self.events.append((event, name))
                self._written.pop(name, None)
        elif event == "os.rename" and (name := self._within(arguments[0])) is not None:
            new = str(self._within(arguments[1]))
            self.events.append((event, name, new))
            if name in self._written:
                self._written[new] = self._written.pop(name)

    def _flushed(self, descriptor: int) -> None:
        self._look()
        self._flush(descriptor)
        if (name := self._within(os.readlink(f"/proc/self/fd/{descriptor}"))) is not None:
            self.events.append(("flush", name))

    def _look(self) -> None:
        """Notes what was written since the last event."""
        for name, before in list(self._written.items()):
            path = self.root / name
            if path.is_file() and (now := path.read_bytes()) != before:
                self.events.append(("write", name, now))
                self._written[name] = now

    def _within(self, path: Any, folder: int = -1) -> str | None:
        inside = Path(os.readlink(f"/proc/self/fd/{folder}"), path) if folder >= 0 else Path(path)
        return inside.relative_to(self.root).as_posix() if inside.is_relative_to(self.root) else None


_listening: list[Recording | None] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    recording = _listening[0]
    if recording is not None and (event == "open" or event.startswith("os.")):
        _listening[:] = [None]  # what it does itself is not heard
        try:
            recording.hear(event, arguments)
        finally:
            _listening[:] = [recording]


def disks(events: list[Event]) -> Iterator[tuple[int, Folder]]:
    """Yields after how many operations the power fails, and the root folder as it is known to the system then."""
    for count in range(len(events) + 1):
        root = Folder()
        for event in events[:count]:
            _apply(root, event)
        yield count, root


def rests(root: Folder) -> Iterator[Tree]:
    """Yields each rest that may be left on the disk: the content of each file by its path, `None` of each folder."""
    folders = [folder for folder in _all_folders(root, set()) if folder.since]
    for counts in itertools.product(*(range(len(folder.since) + 1) for folder in folders)):
        chosen = {
            id(folder): [folder.flushed, *folder.since][count] for folder, count in zip(folders, counts, strict=True)
        }
        for torn in (lambda file: file.content, lambda file: file.flushed, _half):
            yield dict(_tree(root, "", chosen, torn))


def write_tree(tree: Tree, path: Path) -> None:
    """Writes what was left into an empty folder."""
    path.mkdir()
    for name, content in tree.items():
        if content is None:
            (path / name).mkdir()
        else:
            (path / name).write_bytes(content)


def _half(file: File) -> bytes:
    return file.content if file.content == file.flushed else file.content[: len(file.content) // 2]


def _all_folders(folder: Folder, seen: set[int]) -> Iterator[Folder]:
    if id(folder) not in seen:
        seen.add(id(folder))
        yield folder
        for names in (folder.flushed, *folder.since):
            for one in names.values():
                if isinstance(one, Folder):
                    yield from _all_folders(one, seen)


def _apply(root: Folder, event: Event) -> None:
    kind, name = event[0], str(event[1])
    if kind == "flush":
        found = _at(root, name)
        if isinstance(found, File):
            found.flushed = found.content
        else:
            found.flushed, found.since = found.names, []
        return
    *parents, last = name.split("/")
    folder = _at(root, "/".join(parents))
    assert isinstance(folder, Folder)
    rest = {other: content for other, content in folder.names.items() if other != last}
    if kind == "write":
        file = folder.names[last]
        assert isinstance(file, File)
        file.content = event[2]  # type: ignore[assignment]
    elif kind == "create" and last in folder.names:
        file = folder.names[last]
        assert isinstance(file, File)
        file.content = b""
    elif kind in ("create", "os.mkdir"):
        if last not in folder.names:
            folder.change({**rest, last: File() if kind == "create" else Folder()})
    elif kind in ("os.remove", "os.rmdir"):
        folder.change(rest)
    elif kind == "os.rename" and last in folder.names:
        folder.change({**rest, str(event[2]).rpartition("/")[2]: folder.names[last]})


def _at(root: Folder, name: str) -> File | Folder:
    found: File | Folder = root
    for part in filter(None, ("" if name == "." else name).split("/")):
        assert isinstance(found, Folder)
        found = found.names[part]
    return found


def _tree(
    folder: Folder, path: str, chosen: dict[int, Any], torn: Callable[[File], bytes]
) -> Iterator[tuple[str, bytes | None]]:
    for name, one in chosen.get(id(folder), folder.flushed).items():
        if isinstance(one, File):
            yield path + name, torn(one)
        else:
            yield path + name, None
            yield from _tree(one, f"{path}{name}/", chosen, torn)
