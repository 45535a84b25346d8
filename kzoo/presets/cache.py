"""Presets on this machine: fetched, verified, converted once."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import keras

from kzoo import arguments
from kzoo.download import DownloadError, download, matches, sha256_of
from kzoo.durable import private_folder, put_in_place, written_file
from kzoo.presets.checkpoint import require_torch
from kzoo.presets.config import CONFIG
from kzoo.presets.folder import checked_preset, save_preset
from kzoo.presets.hub import HubName, fetch_from_hub
from kzoo.presets.loading import load_weights
from kzoo.presets.registry import PRETRAINED, PresetInfo, list_presets, preset_info
from kzoo.presets.torch_import import load_torch_checkpoint

Build = Callable[[PresetInfo], keras.Model]


def presets_folder() -> Path:
    """Returns the folder of fetched presets, `$KZOO_HOME/presets` or `~/.kzoo/presets`; it need not exist.

    Raises:
        FileNotFoundError: If it lies in a home folder, and there is none.
    """
    try:
        return Path(os.environ.get("KZOO_HOME") or "~/.kzoo").expanduser() / "presets"
    except RuntimeError as error:
        raise FileNotFoundError(f"KZOO_HOME must be set where there is no home folder. Received: {error}") from error


def cached_preset(name: str) -> Path | None:
    """Returns the folder of a preset if it is on this machine.

    Args:
        name: String, one of `kzoo.list_presets()`.

    Raises:
        ValueError: If there is none of that name.

    Example:
        >>> kzoo.cached_preset("digits/resnet20").name
        'resnet20'
    """
    info = preset_info(name)
    if info.url is None:
        return PRETRAINED / name
    try:
        folder = presets_folder() / info.name
    except FileNotFoundError:
        return None
    return folder if (folder / CONFIG).is_file() else None


def folder_of(found: PresetInfo | HubName | Path, build: Build, *, progress: bool = True) -> Path:
    """Returns the folder of a preset, which is fetched first unless it is on this machine.

    Args:
        found: What `find_preset` returns.
        build: Returns a model of a preset, for a checkpoint to be converted.
        progress: Boolean, whether to show a bar while downloading. Defaults to `True`.

    Raises:
        ImportError: If PyTorch is missing and there is a checkpoint to convert, or `huggingface_hub` for an address.
        DownloadError: If there is no network, or what comes is not the file.
        ValueError: If a file on this machine has changed.
    """
    if isinstance(found, Path):
        return found
    if isinstance(found, HubName):
        return fetch_from_hub(found, presets_folder())
    path = cached_preset(found.name)
    if path is not None:
        _verify(path, replaceable=found.url is not None)
        return path
    return _converted(found, build, progress)


def _verify(path: Path, *, replaceable: bool) -> None:
    try:
        checked_preset(path)
    except (ValueError, FileNotFoundError) as error:
        what = f" Delete {path}, and it is made or fetched again." if replaceable else ""
        raise ValueError(f"{error}{what}") from error


def _converted(info: PresetInfo, build: Build, progress: bool) -> Path:
    """Makes a preset of a published file. It is written aside: two processes may do it at once."""
    if info.layout is not None:
        require_torch()
    root = presets_folder()
    path = root / info.name
    try:
        file = download(
            str(info.url), root / str(info.file), sha256=info.sha256, size_bytes=info.size_bytes, progress=progress
        )
    except DownloadError as error:
        raise DownloadError(f"{error} Or put it in place with `kzoo preset add FILE`.") from error
    model = build(info)
    if info.layout is None:
        load_weights(model, file)
    else:
        load_torch_checkpoint(model, file, layout=info.layout)
    with private_folder(root) as private:
        made = save_preset(
            model, private / info.name, class_names=info.class_names, about=info.about, construction=info.construction
        )
        try:
            put_in_place(made, path)
        except OSError:
            if not (path / CONFIG).is_file():  # else another process was faster
                raise
    return path


def add_preset(path: str | os.PathLike[str]) -> str:
    """Puts the file of a published preset, got elsewhere, where the download would have put it.

    Args:
        path: Path of the file, under any name: it is known by its SHA-256.

    Returns:
        The name of the preset.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no file of a published preset, or a damaged one.

    Example:
        >>> kzoo.add_preset("resnet20-12fca82f.th")  # doctest: +SKIP
        'akamaster_resnet20'
    """
    if not arguments.path(path, "path").is_file():
        raise FileNotFoundError(f"Expected a file of a published preset. Received: {path}, which does not exist.")
    received = sha256_of(path)
    published = [info for info in map(preset_info, list_presets()) if info.url is not None]
    for info in published:
        if matches(received, info.sha256):
            folder = presets_folder()
            folder.mkdir(parents=True, exist_ok=True)
            with written_file(folder / str(info.file)) as aside:
                shutil.copyfile(path, aside)
            return info.name
    expected = ", ".join(f"{info.file} ({info.sha256[:8]}...)" for info in published)
    raise ValueError(f"Expected a file by its SHA-256, one of {expected}. Received: {path} ({received}).")
