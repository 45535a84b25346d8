"""How commands end that a signal ends."""

import contextlib
from collections.abc import Iterator

import typer

from kzoo.errors import TrainingInterrupted


@contextlib.contextmanager
def interruption_told() -> Iterator[None]:
    """Says how to go on with a training that a signal ended, and ends the program as shells report the signal."""
    try:
        yield
    except TrainingInterrupted as interruption:
        typer.echo(f"kzoo: {interruption}", err=True)
        raise typer.Exit(128 + interruption.signal) from None
