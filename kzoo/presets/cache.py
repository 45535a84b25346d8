"""Registered weights on this machine: fetched, verified every time, converted once."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import keras

from kzoo import arguments
from kzoo.download import DownloadError, download, matches, sha256_of
from kzoo.durable import private_folder, put_in_place, written_file
from kzoo.presets.checkpoint import require_torch
from kzoo.presets.registry import WeightsEntry, list_weights, weights_info
from kzoo.presets.torch_import import convert_torch_checkpoint

_PRETRAINED = Path(__file__).with_name("pretrained")
_DIGITS = 16  # of the SHA-256 of a converted file, in its name


def weights_folder() -> Path:
    """Returns the folder of fetched weights, `$KZOO_HOME/weights` or `~/.kzoo/weights`; it need not exist.

    Raises:
        FileNotFoundError: If it lies in a home folder, and there is none.
    """
    try:
        return Path(os.environ.get("KZOO_HOME") or "~/.kzoo").expanduser() / "weights"
    except RuntimeError as error:
        raise FileNotFoundError(f"KZOO_HOME must be set where there is no home folder. Received: {error}") from error


def cached_weights(entry: WeightsEntry) -> Path | None:
    """Returns the `.weights.h5` file of registered weights if it is on this machine, verified.

    Raises:
        ValueError: If its content has changed.
    """
    arguments.instance(entry, "entry", WeightsEntry, "what `kzoo.weights_info` returns")
    if entry.url is None:
        return _verified(_PRETRAINED / entry.file, entry.sha256)
    try:
        folder = weights_folder()
    except FileNotFoundError:
        return None
    if entry.layout is None:
        path = folder / entry.file
        return _verified(path, entry.sha256) if path.exists() else None
    for path in sorted(folder.glob(f"{entry.name}-{'?' * _DIGITS}.weights.h5")):
        return _verified(path, path.name.removesuffix(".weights.h5")[-_DIGITS:])
    return None


def fetch(entry: WeightsEntry, build: Callable[[], keras.Model], *, progress: bool = True) -> Path:
    """Returns the `.weights.h5` file of registered weights, downloaded, verified and converted unless that is done.

    What is converted is written aside, then renamed to a name with its SHA-256: two processes may do it at once.

    Args:
        entry: The weights.
        build: Returns a model of them, with its top; called where there is a checkpoint to convert.
        progress: Boolean, whether to show a bar while downloading. Defaults to `True`.

    Raises:
        ImportError: If PyTorch is missing and there is a checkpoint to convert.
        DownloadError: If there is no network, or what comes is not the file.
        ValueError: If the file on this machine has changed.
    """
    if (path := cached_weights(entry)) is not None:
        return path
    if entry.layout is not None:
        require_torch()
    folder = weights_folder()
    try:
        file = download(
            str(entry.url), folder / entry.file, sha256=entry.sha256, size_bytes=entry.size_bytes, progress=progress
        )
    except DownloadError as error:
        raise DownloadError(f"{error} Or put it in place with `kzoo weights add FILE`.") from error
    if entry.layout is None:
        return file
    with private_folder(folder) as private:
        aside = private / "converted.weights.h5"
        convert_torch_checkpoint(build(), file, aside, layout=entry.layout)
        path = folder / f"{entry.name}-{sha256_of(aside)[:_DIGITS]}.weights.h5"
        put_in_place(aside, path)
    return path


def add_weights(path: str | os.PathLike[str]) -> str:
    """Puts a file of registered weights, got elsewhere, where the download would have put it.

    Args:
        path: Path of the file, under any name: it is known by its SHA-256.

    Returns:
        The name of the weights.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no file of registered weights, or a damaged one.
    """
    if not arguments.path(path, "path").is_file():
        raise FileNotFoundError(f"Expected a file of registered weights. Received: {path}, which does not exist.")
    received = sha256_of(path)
    entries = [entry for entry in map(weights_info, list_weights()) if entry.url is not None]
    for entry in entries:
        if matches(received, entry.sha256):
            folder = weights_folder()
            folder.mkdir(parents=True, exist_ok=True)
            with written_file(folder / entry.file) as aside:
                shutil.copyfile(path, aside)
            return entry.name
    expected = ", ".join(f"{entry.file} ({entry.sha256[:8]}...)" for entry in entries)
    raise ValueError(f"Expected a file by its SHA-256, one of {expected}. Received: {path} ({received}).")


def _verified(path: Path, sha256: str) -> Path:
    received = sha256_of(path)
    if not matches(received, sha256):
        raise ValueError(
            f"{path} must have the SHA-256 {sha256}. Received: {received}. Delete it, and it is made or fetched again."
        )
    return path
