"""Files that a stranger may have written, of a size that is looked at before memory is taken."""

import json
import os
from pathlib import Path
from typing import Any


def read_bytes(path: Path, most_bytes: int, *, links: bool = True) -> bytes:
    """Reads a file.

    Args:
        path: Path of the file.
        most_bytes: Integer, how long it may be.
        links: Boolean, whether it may be a link to another file, which may be anywhere. Defaults to `True`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is longer, or a link where none is allowed.
    """
    if not links and path.is_symlink():
        raise ValueError(f"{path} must be a file of its own. Received: a link to {os.readlink(path)!r}.")
    if not path.is_file():  # a pipe and a device have no end
        raise FileNotFoundError(f"Expected a file. Received: {path}, which is none.")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            raise ValueError(f"{path} must be at most {most_bytes:,} bytes. Received: {size:,} bytes.")
        return file.read(size)


def read_json(path: Path, most_bytes: int, *, links: bool = True) -> Any:
    """Reads a JSON file.

    Args:
        path: As for `read_bytes`.
        most_bytes: As for `read_bytes`.
        links: As for `read_bytes`. Defaults to `True`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is longer, no JSON, or a link where none is allowed.
    """
    content = read_bytes(path, most_bytes, links=links)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON, as kzoo wrote it. Received: {error}.") from error
