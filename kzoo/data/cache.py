"""Images decoded once: one file of pixels a dataset, in the user's cache folder.

A cache is a folder named by a key: `pixels` (uint8, one image after the other), `index.npz` (checksum and sums of each
image) and `manifest.json` (which also says what could not be read). The key is made of all that decides the pixels:
names, sizes and times of the files, the decoding, the versions of the decoders. It is written aside and renamed; what
is found under a key is therefore whole.
"""

import atexit
import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kzoo.archives import write_arrays
from kzoo.data.cached import FORMAT, CachedExamples
from kzoo.data.examples import ArrayExamples, Examples, sums_of
from kzoo.data.images import Decoding, decoder_versions
from kzoo.data.items import FileExamples, Item, first_shape, other_size
from kzoo.durable import ASIDE, aside_of, private_folder, written_folder

IN_MEMORY = 1 << 28  # bytes of pixels up to which a cache is read into memory as a whole
_SPARE = 1 << 26  # bytes that a disk must have left
_AT_ONCE = 64  # files that a thread takes on


class Decoded(NamedTuple):
    """Images of some files, one a file; why some could not be read (they are black); the labels that came with them."""

    examples: Examples
    unreadable: dict[int, str]
    labels: npt.NDArray[np.int64]


def cache_root() -> Path:
    """Returns the folder of decoded images: `$KZOO_HOME/decoded`, or in the user's cache folder; it need not exist."""
    import platformdirs

    home = os.environ.get("KZOO_HOME")
    return (Path(home).expanduser() if home else Path(platformdirs.user_cache_dir("kzoo"))) / "decoded"


@functools.cache
def _temporary_root() -> Path:
    until_the_end = contextlib.ExitStack()
    atexit.register(until_the_end.close)
    return until_the_end.enter_context(private_folder(Path(tempfile.gettempdir())))


def _usable_root() -> Path:
    """Returns the folder of decoded images, which exists: one for this process alone where no other can be made."""
    try:
        root = cache_root()
        root.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or none that can be written in
        return _temporary_root()
    return root if os.access(root, os.W_OK) else _temporary_root()


def key_of(items: Sequence[Item], decoding: Decoding) -> str:
    """Returns the key of the images that decoding some files gives."""
    digest = hashlib.sha256()
    about = {"format": FORMAT, "decoding": dataclasses.asdict(decoding), "versions": decoder_versions()}
    digest.update(json.dumps(about, sort_keys=True).encode())
    for item in items:
        digest.update(f"{item.name}\0{item.stamp[0]} {item.stamp[1]}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()[:32]


def decoded(source: str, items: Sequence[Item], decoding: Decoding, cache: bool = True) -> Decoded:
    """Returns the images of some files, from the cache if they were decoded before.

    Args:
        source: What to call the files as a whole.
        items: An `Item` a file, one or more.
        decoding: The `Decoding`.
        cache: Boolean, whether to decode all of them into the cache, if they are not there. Without it, nobody knows
            yet which cannot be read. Defaults to `True`.

    Returns:
        `Decoded`.

    Raises:
        ValueError: If no file can be read, or they are of different sizes and `decoding` names none.
        OSError: If the disk has too little room.
    """
    from filelock import FileLock

    root = _usable_root()
    folder = root / key_of(items, decoding)
    if not cache and not folder.is_dir():
        shape, _ = first_shape(source, items, decoding)
        return Decoded(FileExamples(items, decoding, shape), {}, np.array([item.label for item in items], np.int64))
    with FileLock(root / f".{folder.name}.lock"):  # a second process waits for the first, and takes what it made
        if folder.exists() and not folder.is_dir():
            folder.unlink()
        if folder.is_dir():
            try:
                cached = CachedExamples(folder)
            except ValueError as error:
                _say(f"{error} Decoding starts anew.")
                shutil.rmtree(folder)
        if not folder.is_dir():
            _write(source, items, decoding, folder)
            cached = CachedExamples(folder)
    if len(cached) * int(np.prod(cached.image_shape)) > IN_MEMORY:
        return Decoded(cached, cached.unreadable, cached.labels)
    return Decoded(ArrayExamples(cached.read(np.arange(len(cached)))), cached.unreadable, cached.labels)


def _write(source: str, items: Sequence[Item], decoding: Decoding, folder: Path) -> None:
    """Decodes all files into a folder aside, and renames it."""
    if aside_of(folder).exists():
        _say(f"Decoding {source} was interrupted before: it starts anew.")
    _remove_left(folder.parent)
    shape, unreadable = first_shape(source, items, decoding)
    _check_room(source, folder.parent, len(items) * int(np.prod(shape)))
    with written_folder(folder) as aside:
        checksums, sums = _fill(aside / "pixels", items, decoding, shape, unreadable)
        labels = np.array([item.label for item in items], np.int64)
        write_arrays(aside / "index.npz", {"crc32": checksums, "sums": sums, "labels": labels})
        about = {
            "format": FORMAT,
            "source": source,
            "shape": [len(items), *shape],
            "decoding": dataclasses.asdict(decoding),
            "versions": decoder_versions(),
            "unreadable": {str(position): unreadable[position] for position in sorted(unreadable)},
        }
        (aside / "manifest.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _fill(
    path: Path, items: Sequence[Item], decoding: Decoding, shape: tuple[int, int, int], unreadable: dict[int, str]
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64]]:
    """Decodes all files by all cores into one; returns checksum and sums of each image."""
    from tqdm import tqdm

    size = int(np.prod(shape))
    black = np.zeros(shape, np.uint8)
    checksums = np.full(len(items), zlib.crc32(black.data), np.uint32)
    sums = np.zeros((len(items), shape[-1], 2), np.uint64)
    other_sizes: dict[int, tuple[int, ...]] = {}

    with path.open("wb") as file:
        file.truncate(len(items) * size)

        def decode(start: int) -> int:
            positions = range(start, min(start + _AT_ONCE, len(items)))
            for position in positions:
                if position in unreadable:
                    continue
                try:
                    image = decoding.decode(items[position].read(), items[position].name)
                except ValueError as error:
                    unreadable[position] = str(error)
                    continue
                except OSError as error:  # of the disk, not of the image: may be mended, and is not kept
                    raise OSError(error.errno, error.strerror or str(error), items[position].name) from error
                if image.shape != shape:
                    other_sizes[position] = image.shape
                    continue
                image = np.ascontiguousarray(image)
                os.pwrite(file.fileno(), image.data, position * size)
                checksums[position], sums[position] = zlib.crc32(image.data), sums_of(image)
            return len(positions)

        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="kzoo-decoding") as pool:
            try:
                # Shown on a terminal only, where it takes more than a second.
                with tqdm(total=len(items), desc="decoding", unit=" images", disable=None, delay=1) as bar:
                    for count in pool.map(decode, range(0, len(items), _AT_ONCE)):
                        bar.update(count)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    if other_sizes:
        position = min(other_sizes)
        first = next(i for i in range(len(items)) if i not in unreadable and i not in other_sizes)
        message = other_size(items[position].name, other_sizes[position], items[first].name, shape)
        raise ValueError(f"{message}; {len(other_sizes):,} of {len(items):,} images have another size.")
    return checksums, sums


def _check_room(source: str, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise OSError(
            errno.ENOSPC,
            f"The pixels of {source} take {needed:,} bytes; the disk has {free:,} left. Set KZOO_HOME to a folder on "
            "another disk, or choose a smaller image size",
            str(folder),
        )


def cached_entries() -> list[dict[str, Any]]:
    """Returns what is in the cache: folder, source, shape and bytes of each, also of what an interruption left."""
    entries = []
    for folder in sorted(path for path in cache_root().glob("*") if path.is_dir()):
        try:
            about = CachedExamples.manifest(folder)
        except ValueError:
            about = {}
        size = sum(path.stat().st_size for path in folder.glob("*"))
        state = "whole" if about and not folder.name.startswith(".") else "incomplete"
        entries.append(
            {"folder": str(folder), "source": about.get("source"), "shape": about.get("shape"), "bytes": size}
            | {"state": state}
        )
    return entries


def clear_cache() -> int:
    """Removes all that is in the cache and not being written; returns how many bytes that were."""
    return sum(entry["bytes"] for entry in cached_entries() if _removed(Path(entry["folder"])))


def _remove_left(root: Path) -> None:
    """Removes what deaths have left of decoding whatever it was."""
    for left in root.glob(f"{ASIDE}*"):
        _removed(left)


def _removed(folder: Path) -> bool:
    """Removes a folder and its lock unless it is being written; returns whether it did."""
    from filelock import FileLock, Timeout

    lock = folder.with_name(f".{folder.name.removeprefix(ASIDE)}.lock")
    try:
        with FileLock(lock, timeout=0):
            shutil.rmtree(folder)
            lock.unlink(missing_ok=True)
    except Timeout:
        return False
    return True


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201
