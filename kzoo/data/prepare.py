"""Writing datasets that tensorflow-datasets reads, without TensorFlow."""

import contextlib
import dataclasses
import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from kzoo import arguments
from kzoo.choices import ResizeMode, hint
from kzoo.data.dataset import Parts, carve_validation
from kzoo.data.images import Decoding
from kzoo.data.originals import ORIGINALS, Original
from kzoo.data.prepared import data_root
from kzoo.data.records import write_records
from kzoo.data.sources import read_parts
from kzoo.download import download, sha256_of
from kzoo.durable import LOCK, put_in_place, remove_left, told

_FIRST_VERSION = "1.0.0"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OF_DISKS = (*_FULL, errno.EROFS, errno.EIO)
_TEST_FRACTION = 0.2  # of `train`, where the source has no test split


def prepare_dataset(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    archive: str | os.PathLike[str] | None = None,
    source: str | os.PathLike[str] | None = None,
    image_size: arguments.ImageSize | None = None,
    resize: ResizeMode = "stretch",
    channels: int = 3,
    skip_unreadable: bool = False,
    progress: bool = True,
) -> Path:
    """Writes a dataset under `data_dir` as `array_record`, for `load_dataset` and for tensorflow-datasets.

    `cifar10`, `cifar100` and `svhn_cropped` (without its `extra` split) get the version, features and order that
    tensorflow-datasets gives them, so `tfds.data_source(name)` reads them too. A download is kept in
    `data_dir/downloads/manual`, and resumed after an interruption. The dataset appears at the end, whole, or not at
    all.

    Args:
        name: String, `"cifar10"`, `"cifar100"`, `"svhn_cropped"`, or, with `source`, any name in lower snake case.
        data_dir: Path of the folder of prepared datasets. Defaults to the environment variable `TFDS_DATA_DIR`, or
            `~/tensorflow_datasets`.
        archive: Path of the published archive, or of the folder that holds it (`svhn_cropped` has two files), instead
            of a download. Its SHA-256 is checked. Defaults to `None`.
        source: Path of images as of `load_dataset` (a folder, .zip, table or .npz), instead of the published archive.
            Without a test split, a fifth of `train` becomes it. Defaults to `None`.
        image_size: `(height, width)` in pixels to resize the images of `source` to, an integer for a square, or `None`
            to keep their size. Defaults to `None`.
        resize: How images of another size become that size, `"stretch"`, `"crop"` or `"pad"`. Defaults to `"stretch"`.
        channels: Integer, 1 for grey, 3 for RGB, 4 for RGB with opacity. Defaults to `3`.
        skip_unreadable: Boolean, whether to leave out files of `source` that cannot be read, with a warning. Defaults
            to `False`, an error that lists them.
        progress: Boolean, whether to show progress on the standard error stream. Defaults to `True`.

    Returns:
        Path of the directory of the dataset's version.

    Raises:
        FileExistsError: If the dataset is there already, or another process prepares it. It is not touched.
        FileNotFoundError: If `archive` or `source` does not exist.
        ValueError: If the name, the archive or the images are not as they must be.
        OSError: If the download fails or the disk is full.

    Example:
        >>> kzoo.prepare_dataset("cifar10", data_dir="datasets")  # downloads 170 MB  # doctest: +SKIP
        PosixPath('datasets/cifar10/3.0.2')
    """
    arguments.boolean(skip_unreadable, "skip_unreadable")
    arguments.boolean(progress, "progress")
    for what, given in (("archive", archive), ("source", source)):
        if given is not None:
            arguments.path(given, what)
    decoding = Decoding(image_size, resize, channels)  # type: ignore[arg-type]
    _check_arguments(name, archive, source, decoding)
    original = ORIGINALS.get(name)
    root = data_root(data_dir)
    target = root / name / (original.version if original else _FIRST_VERSION)
    _check_new(target)
    if source is not None:
        parts = _read_source(name, original, Path(source), decoding, skip_unreadable)
    else:
        assert original is not None
        splits = original.read(_archives(name, original, root, archive, progress))
        parts = Parts(name, original.class_names, splits["train"], None, splits["test"])
    _write(parts, original, root, target, progress)
    return target


def _check_new(target: Path) -> None:
    if target.exists():
        name = target.parent.name
        raise FileExistsError(f"`name` must not be prepared yet. Received: {name!r}, which is in {str(target)!r}.")


def _check_class_names(names: Sequence[str]) -> None:
    """Raises `ValueError` for names that tensorflow-datasets, which writes one a line, would read as others."""
    for name in names:
        is_whole = name.splitlines() == [name] and name == name.strip()
        if not is_whole or name != name.encode("utf-8", "replace").decode():
            raise ValueError(f"A class must be named by one line of text, without space around it. Received: {name!r}.")


def _check_arguments(name: str, archive: object, source: object, decoding: Decoding) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise ValueError(f"`name` must be lower snake case, as in my_images. Received: name={name!r}.")
    if name == "digits":
        raise ValueError(
            "`name` must not be that of data that need no preparation, as digits, which come with scikit-learn. "
            f"Received: name={name!r}."
        )
    if source is not None and archive is not None:
        raise ValueError(f"`archive` and `source` must not both be given. Received: {archive!r} and {source!r}.")
    if source is None and name not in ORIGINALS:
        raise ValueError(
            f"`name` must be one of {', '.join(ORIGINALS)}, unless `source` (--from) gives the images. "
            f"Received: name={name!r}.{hint(name, ORIGINALS)}"
        )
    if source is None and decoding != Decoding():
        changed = {name: value for name, value in vars(decoding).items() if value != getattr(Decoding(), name)}
        name, value = next(iter(changed.items()))
        raise ValueError(f"`{name}` must come with `source`. Received: {name}={value!r}.")


def _archives(
    name: str, original: Original, root: Path, archive: str | os.PathLike[str] | None, progress: bool
) -> list[Path]:
    """Returns the paths of the verified archives, which are downloaded unless `archive` is given."""
    if archive is None:
        folder = root / "downloads" / "manual"  # where tensorflow-datasets looks for them, too
        return [
            download(file.url, folder / file.name, sha256=file.sha256, size_bytes=file.size_bytes, progress=progress)
            for file in original.files
        ]
    given = Path(os.path.expanduser(archive))
    if len(original.files) > 1 and given.is_file():
        names = ", ".join(file.name for file in original.files)
        raise ValueError(f"`archive` must be the folder with {names} for {name}. Received: {str(given)!r}.")
    paths = [given / file.name if given.is_dir() else given for file in original.files]
    for path, file in zip(paths, original.files, strict=True):
        if not path.is_file():
            raise FileNotFoundError(f"`archive` must exist. Received: no file {str(path)!r} ({file.url}).")
        received = sha256_of(path)
        if received != file.sha256:
            raise ValueError(f"{str(path)!r} must have the SHA-256 {file.sha256}. Received: {received}.")
    return paths


def _read_source(name: str, original: Original | None, path: Path, decoding: Decoding, skip_unreadable: bool) -> Parts:
    path = Path(os.path.expanduser(path))
    if not path.exists():
        raise FileNotFoundError(f"`source` must be a folder or a file that exists. Received: {str(path)!r}.")
    parts = read_parts(path, decoding, skip_unreadable=skip_unreadable)
    if parts.test is None:
        train, test = carve_validation(parts.train, _TEST_FRACTION, 0, "test")
        parts = dataclasses.replace(parts, train=train, test=test)
    if original is None:
        return dataclasses.replace(parts, name=name)
    if parts.train.image_shape != (32, 32, 3):
        raise ValueError(
            f"{str(path)!r} must have images of 32x32 pixels for {name}; pass `image_size=(32, 32)` to resize them. "
            f"Received: shape={parts.train.image_shape}."
        )
    if set(parts.class_names) != set(original.class_names):
        unknown = sorted(set(parts.class_names) - set(original.class_names))
        missing = sorted(set(original.class_names) - set(parts.class_names))
        raise ValueError(
            f"{str(path)!r} must have exactly the classes of {name}. "
            f"Received: unknown classes {unknown}, missing classes {missing}."
        )
    return dataclasses.replace(parts, name=name)


def _write(parts: Parts, original: Original | None, root: Path, target: Path, progress: bool) -> None:
    """Writes into a folder beside `target` and renames it at the end."""
    _check_class_names(parts.class_names)
    with _aside(root, parts.name) as folder, told(target, folder):
        _check_new(target)  # now that no other process prepares it
        try:
            written = write_records(parts, original, target.name, folder, progress=progress)
            target.parent.mkdir(exist_ok=True)
            put_in_place(written, target)
        except Exception as error:
            if number := _number_of(error):
                expected = "have room for the dataset" if number in _FULL else "take the dataset"
                message = f"The disk must {expected}, of which nothing is left. Received: {error}"
                raise OSError(number, message, str(target)) from error
            raise
        finally:
            with contextlib.suppress(OSError):
                target.parent.rmdir()  # only when it is empty


@contextlib.contextmanager
def _aside(root: Path, name: str) -> Iterator[Path]:
    """Yields an empty folder under `root`, which no other process uses, and removes it in the end.

    Raises:
        FileExistsError: If another process prepares the dataset.
    """
    from filelock import FileLock, Timeout

    folder = root / f".{name}-incomplete"
    was_interrupted = any(path.is_dir() for path in folder.glob("*"))
    remove_left(root, ".*-incomplete")  # of other datasets, too
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            if was_interrupted:
                print(f"Preparing {name} was interrupted before: it starts anew.", file=sys.stderr)  # noqa: T201
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        raise FileExistsError(f"{name!r} must be prepared by one process. Received: another is at it.") from None


def _number_of(error: BaseException | None) -> int | None:
    """Returns what the disk answered, where that is what failed."""
    # The record writer is C++ and raises RuntimeError; the builder wraps what it catches.
    while error is not None:
        for number in _OF_DISKS:
            if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
                return number
        error = error.__cause__ or error.__context__
    return None
