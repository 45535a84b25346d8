"""Files that a stranger may have written, of a size that is looked at before memory is taken."""

import json
import os
from pathlib import Path
from typing import Any


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """Reads a file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is longer.
    """
    if not path.is_file():  # a pipe and a device have no end
        raise FileNotFoundError(f"Expected a file. Received: {path}, which is none.")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            raise ValueError(f"{path} must be at most {most_bytes:,} bytes. Received: {size:,} bytes.")
        return file.read(size)


def read_json(path: Path, most_bytes: int) -> Any:
    """Reads a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is longer, or no JSON.
    """
    content = read_bytes(path, most_bytes)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON, as kzoo wrote it. Received: {error}.") from error
