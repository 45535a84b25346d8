"""Images in a folder or a .zip file laid out `split/class/file`."""

import contextlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from kzoo.data.dataset import Parts, Split
from kzoo.data.images import decode_images

_SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
_JUNK = {"__MACOSX", "Thumbs.db", "desktop.ini"}

# split -> class -> paths of its files, all relative to the folder or inside the zip
_Tree = dict[str, dict[str, list[str]]]


def read_image_folder(path: str | os.PathLike[str], image_size: tuple[int, int] | None = None) -> Parts:
    """Reads every image of a folder or .zip laid out `split/class/file`.

    The splits are `train`, `test` and, optionally, `validation` (or `val`). One folder around them is allowed. Hidden
    files and what operating systems leave behind (`__MACOSX`, `Thumbs.db`) are ignored, and so is everything outside
    the splits.

    Args:
        path: Path of the folder or .zip file.
        image_size: `(height, width)` in pixels to resize every image to (bicubic), or `None` when all have the same
            size already. Defaults to `None`.

    Returns:
        `Parts`, named after the path, with the class names in alphabetical order.

    Raises:
        ValueError: If the zip or an image cannot be read, `train` or `test` is missing, a split or class is empty,
            a file lies elsewhere than in `split/class/`, a class is not in `train`, or sizes differ.
    """
    path = Path(path)
    with _opened(path) as (names, read):
        tree = _tree(path, names)
        class_names = tuple(sorted(tree["train"]))
        splits = {split: _read_split(path, tree[split], class_names, read, image_size) for split in tree}
    return Parts(path.stem, class_names, splits["train"], splits.get("validation"), splits["test"])


def _read_split(
    path: Path,
    classes: dict[str, list[str]],
    class_names: tuple[str, ...],
    read: Callable[[str], bytes],
    image_size: tuple[int, int] | None,
) -> Split:
    files = [(name, label) for label, class_name in enumerate(class_names) for name in classes.get(class_name, ())]
    images = decode_images(((str(path / name), read(name)) for name, _ in files), len(files), image_size)
    return Split(images, np.array([label for _, label in files], np.int64))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """Yields the names in a folder or zip (those of folders end in `/`) and a function that reads a file."""
    if path.is_dir():
        names = []
        for folder, folders, files in os.walk(path, followlinks=True):
            relative = Path(folder).relative_to(path)
            names += [f"{(relative / name).as_posix()}/" for name in folders]
            names += [(relative / name).as_posix() for name in files]
        yield names, lambda name: (path / name).read_bytes()
        return
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{str(path)!r} must be a folder or a readable .zip file. Received: {error}.") from error

    def read(name: str) -> bytes:
        try:
            return archive.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise ValueError(f"{name!r} in {str(path)!r} must be readable. Received: {error}.") from error

    with archive:
        yield archive.namelist(), read


def _tree(path: Path, names: list[str]) -> _Tree:
    """Sorts names into splits and classes, and checks that nothing is missing or out of place."""
    entries = [(PurePosixPath(name), name.endswith("/")) for name in names]
    entries = [(name, folder) for name, folder in entries if not _ignored(name)]
    prefix = _wrapping_folder(entries)
    tree: _Tree = {}
    for name, is_folder in entries:
        parts = name.parts[len(prefix) :]
        if name.parts[: len(prefix)] != prefix or not parts or parts[0] not in _SPLITS:
            continue
        files = tree.setdefault(_SPLITS[parts[0]], {})
        if is_folder and len(parts) <= 2:
            for class_name in parts[1:]:
                files.setdefault(class_name, [])
        elif not is_folder and len(parts) == 3:
            files.setdefault(parts[1], []).append(str(name))
        else:
            raise ValueError(f"{str(path / name)!r} must not be there: files lie in `split/class/file`.")
    _check_tree(path, tree)
    return {split: {key: sorted(files) for key, files in classes.items()} for split, classes in tree.items()}


def _check_tree(path: Path, tree: _Tree) -> None:
    for split in ("train", "test"):
        if split not in tree:
            raise ValueError(
                f"{str(path)!r} must have the folders `train` and `test` (`split/class/file`). "
                f"Received: no `{split}`; found {sorted(tree) or 'neither'}."
            )
    for split, classes in tree.items():
        if not classes:
            raise ValueError(f"{str(path / split)!r} must have a folder for each class. Received: an empty split.")
        for class_name, files in classes.items():
            if not files:
                raise ValueError(f"{str(path / split / class_name)!r} must have images. Received: an empty class.")
    for split, classes in tree.items():
        for class_name in classes:
            if class_name not in tree["train"]:
                raise ValueError(
                    f"{str(path / split / class_name)!r} must be a class of `train`. Received: unknown class "
                    f"{class_name!r}; `train` has {sorted(tree['train'])}."
                )


def _ignored(name: PurePosixPath) -> bool:
    return any(part.startswith(".") or part in _JUNK for part in name.parts)


def _wrapping_folder(entries: list[tuple[PurePosixPath, bool]]) -> tuple[str, ...]:
    """The one folder around the splits, or nothing when they are at the top."""
    top = {name.parts[0] for name, folder in entries if folder or len(name.parts) > 1}
    return tuple(top) if len(top) == 1 and not top & _SPLITS.keys() else ()
