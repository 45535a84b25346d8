"""PyTorch checkpoints, read without running what is in them."""

import importlib.util
import io
import os
import pickletools
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kzoo import arguments
from kzoo.bounded import read_bytes

_OLDEST_TORCH = (2, 10)  # of older ones, `weights_only` can be tricked
_MOST_BYTES = 1 << 32
# What a file that is no whole archive makes `zipfile` raise.
_DAMAGE = (zipfile.BadZipFile, EOFError, OSError, OverflowError, RuntimeError, ValueError, struct.error)
_TENSOR = re.compile(r"[\w.]+\.(weight|bias|running_mean|running_var|num_batches_tracked)")


def require_torch(doing: str = "Reading") -> Any:
    """Imports PyTorch.

    Args:
        doing: String, what is done with a checkpoint. Defaults to `"Reading"`.

    Raises:
        ImportError: If it is not installed, or too old to read files from anywhere.
    """
    if importlib.util.find_spec("torch") is None:
        elsewhere = " Or run `kzoo import` where it is installed: the .weights.h5 file that it writes needs no PyTorch."
        raise ImportError(
            f"{doing} a PyTorch checkpoint needs PyTorch, whatever the backend: pip install 'kzoo[torch]'."
            f"{elsewhere if doing == 'Reading' else ''}"
        )
    import torch

    version = tuple(map(int, torch.__version__.split(".")[:2]))
    if version < _OLDEST_TORCH:
        raise ImportError(
            f"{doing} a PyTorch checkpoint safely needs PyTorch 2.10 or newer: pip install 'kzoo[torch]'. "
            f"Received: {torch.__version__}."
        )
    return torch


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the tensors of a PyTorch checkpoint: a state dict, alone or as the entry `state_dict`.

    Args:
        path: Path of the file, of the zip format or the older one.

    Returns:
        Names to tensors, as they are in the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If PyTorch is missing.
        ValueError: If it is no checkpoint, damaged, or holds anything but plain data and tensors. Nothing is run.
    """
    if not arguments.path(path, "path").is_file():
        raise FileNotFoundError(f"Expected a PyTorch checkpoint. Received: {path}, which does not exist.")
    torch = require_torch()
    content = read_bytes(Path(path), _MOST_BYTES)
    _check_archive(content, path)
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes PyTorch raise
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"a reference to {named[1]!r}, which is not run" if named else str(error).partition("\n")[0]
        raise ValueError(f"{path} must be a PyTorch checkpoint of tensors alone. Received: {what}.") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(state, Mapping) or not state:
        raise ValueError(f"{path} must hold a state dict. Received: {type(state).__name__}.")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{path} must hold tensors. Received: {name!r} of {type(tensor).__name__}.")
    return dict(state)


def _check_archive(content: bytes, path: str | os.PathLike[str]) -> None:
    """Checks what PyTorch does not: that an archive is not packed, and the checksum of every entry."""
    packed, damaged = None, None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            packed = next((one.filename for one in archive.infolist() if one.compress_type != zipfile.ZIP_STORED), None)
            if packed is None and (entry := archive.testzip()) is not None:
                damaged = _tensor_in(archive, entry)
    except _DAMAGE:
        return  # of the older format, or PyTorch will say what is wrong with it
    if packed is not None:
        raise ValueError(f"{path} must be uncompressed, as PyTorch writes it. Received: {packed}.")
    if damaged is not None:
        raise ValueError(f"{path} is damaged: {damaged} has not the CRC-32 that the file says.")


def _tensor_in(archive: zipfile.ZipFile, entry: str) -> str:
    """Returns the name of the tensor whose storage is an entry of the archive, or the entry's if that is not known."""
    folder, _, storage = entry.rpartition("/data/")
    name = entry
    try:
        for _, argument, _ in pickletools.genops(archive.read(f"{folder}/data.pkl")):
            if isinstance(argument, str) and _TENSOR.fullmatch(argument):
                name = argument
            elif argument == storage:
                return name
    except (KeyError, ValueError, zipfile.BadZipFile):
        pass
    return entry
