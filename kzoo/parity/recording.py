"""What one backend computed, as a file."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo.archives import read_arrays, write_arrays
from kzoo.durable import output_path, written_file
from kzoo.training.kinds import check_kinds

Array = npt.NDArray[Any]

_FORMAT = 1
_HEADER = "header.json"
_MOST_BYTES = 1 << 32  # a thousand times what a usual one has
_KINDS = {
    "settings.model": "text",
    "settings.data.name": "text",
    "settings.steps": "a whole number",
    "settings.dropout": "a number",
    "settings.seed": "a whole number",
    "settings.drift": "true or false",
    "settings.recipe.precision": "float32 or float64",
    "settings.recipe.batch_size": "a whole number",
    "settings.recipe.learning_rate": "a number",
    "environment.backend": "text",
    "environment.device": "text",
    "environment.python": "text",
    "environment.platform": "text",
    "environment.started": "text",
    "environment.versions": "an object",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """Arrays that one backend computed, and how.

    In a file it is an `.npz` of these arrays, and the header as JSON in one more.

    Attributes:
        name: What to call it, for example the name of its file.
        settings: What was computed: model, data, steps, dtype, seed, recipe. Recordings compare if these are equal.
        environment: Versions, backend, device.
        arrays: `"quantity/where"` to array, in the order in which a training computes them.
    """

    name: str
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    arrays: Mapping[str, Array]

    def quantity(self, name: str) -> dict[str, Array]:
        """Returns the arrays of a quantity by where they are, in order."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): array for key, array in self.arrays.items() if key.startswith(prefix)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the recording aside, then renames it; the folder is made.

        Raises:
            ValueError: If the path does not end in `.npz`.
        """
        path = checked_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        names = list(self.arrays)
        header = {"format": _FORMAT, "settings": self.settings, "environment": self.environment, "arrays": names}
        members: dict[str, Any] = {_HEADER: np.array(json.dumps(header)), **self.arrays}
        with written_file(output_path(path)) as aside:
            write_arrays(aside, members, packed=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Recording":
        """Reads a recording.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged, or none of ours.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"Expected a recording, made by `kzoo parity record`. Received: {path}, no file.")
        try:
            arrays = read_arrays(path, texts=True, most_bytes=_MOST_BYTES)
            header = json.loads(str(arrays.pop(_HEADER)))
            format_, settings, environment = header["format"], header["settings"], header["environment"]
            if format_ == _FORMAT and list(arrays) != header["arrays"]:
                raise ValueError(f"not the {len(header['arrays'])} arrays that its header names")
            if format_ == _FORMAT:
                check_kinds("its header", header, _KINDS)
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise ValueError(
                f"Expected a recording, made by `kzoo parity record`. Received: {path}, damaged or something else "
                f"({type(error).__name__}: {error})."
            ) from error
        if format_ != _FORMAT:
            raise ValueError(f"{path} must be of format {_FORMAT}: record it again. Received: format {format_}.")
        return cls(path.stem, settings, environment, arrays)


def load_all(paths: Sequence[str | os.PathLike[str]]) -> list[Recording]:
    """Reads recordings, and calls them by their files' names, or by their paths where two files have one name."""
    recordings = [Recording.load(path) for path in paths]
    if len({recording.name for recording in recordings}) < len(recordings):
        return [dataclasses.replace(each, name=os.fspath(path)) for each, path in zip(recordings, paths, strict=True)]
    return recordings


def checked_path(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a recording to write, if it can be one.

    Raises:
        ValueError: If it does not end in `.npz`.
    """
    if Path(path).suffix != ".npz":
        raise ValueError(f"A recording's path must end in '.npz'. Received: {os.fspath(path)!r}.")
    return Path(path)


def digest(*arrays: Array) -> Array:
    """Returns the SHA-256 of arrays, their dtypes and shapes, as an array of one string."""
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(f"{array.dtype.str}{array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).tobytes())
    return np.array(hashed.hexdigest())
