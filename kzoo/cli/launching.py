"""The command `kzoo launch`, and what commands do that run in several processes."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from kzoo.workers.launching import launch as launch_workers
from kzoo.workers.places import own_place

app = typer.Typer()


def asked_devices(given: str) -> int | str:
    """Returns what `--devices` says: a number, or `"auto"`."""
    if given != "auto" and not (given.isdecimal() and 0 < int(given) < 10**6):
        raise typer.BadParameter(f"must be a number, 1 or larger, or auto. Received: {given!r}.")
    return given if given == "auto" else int(given)


DevicesOption = Annotated[
    Any,
    typer.Option(
        "--devices",
        help="How many devices train together, to the result of one.",
        metavar="N|auto",
        parser=asked_devices,
    ),
]


@app.command()
def launch(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="Such as `kzoo train resnet20`.")],
    workers: Annotated[int, typer.Option("-n", "--workers", help="How many processes.")],
) -> None:
    """Run a command in several processes on this machine, which train together."""
    raise typer.Exit(launch_workers(command, workers))


@contextlib.contextmanager
def joined_workers() -> Iterator[bool]:
    """Joins the processes that this one was started with; yields whether it is the first, which shows the result."""
    place = own_place()
    if place is not None:
        import kzoo

        kzoo.join_workers()
        if place.rank:
            warnings.filterwarnings("ignore", message="EarlyStopping with a patience")  # which the first one says
    yield place is None or place.rank == 0


def program_name() -> str:
    """Returns what messages of this process begin with: the program, and which of several processes it is."""
    try:
        place = own_place()
    except ValueError:
        place = None
    return "kzoo" if place is None else f"kzoo (worker {place.rank})"
