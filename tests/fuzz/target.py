"""What a target is: something that kzoo reads, as a function of bytes."""

import dataclasses
import importlib.util
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Read = Callable[[bytes, Path], object]
Seeds = Callable[[], Sequence[bytes]]


@dataclasses.dataclass(frozen=True)
class Target:
    """Something that kzoo reads.

    It writes bytes to where kzoo looks for them, and reads them as kzoo does and whoever uses what was read. The result
    is valid, or a `ValueError` whose message names the file. Anything else that is raised is a fault.

    Args:
        read: Reads bytes, with a folder to write them in.
        seeds: Returns valid bytes, of which others are made.
        named: String, what each message has: the name of the file, or what the value is called.
        needs: String, the package that reading takes, or `""`. Defaults to `""`.
        by_kzoo: Boolean, whether kzoo's own code takes the bytes apart, not a library. Defaults to `True`.
        examples: Integer, how many Hypothesis tries. Defaults to `60`.
    """

    read: Read
    seeds: Seeds
    named: str
    needs: str = ""
    by_kzoo: bool = True
    examples: int = 60

    @property
    def can_run(self) -> bool:
        """Whether the package that it needs is installed."""
        return not self.needs or importlib.util.find_spec(self.needs) is not None

    def check(self, content: bytes, folder: Path) -> None:
        """Reads bytes, and raises whatever is a fault."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.read(content, folder)
        except ValueError as error:
            if self.named not in str(error):
                raise AssertionError(f"The message must name {self.named!r}. Received: {error!r}.") from error


TARGETS: dict[str, Target] = {}


def target(named: str, seeds: Seeds, **options: Any) -> Callable[[Read], Read]:
    """Makes a function one of the targets, under its name."""

    def register(read: Read) -> Read:
        TARGETS[read.__name__] = Target(read, seeds, named, **options)
        return read

    return register


def coded(content: Any) -> bytes:
    """Returns JSON."""
    return json.dumps(content).encode()
