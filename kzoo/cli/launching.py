"""The command `kzoo launch`, and what commands do that run in several processes."""

import warnings
from typing import Annotated

import typer

from kzoo.workers.launching import launch as launch_workers
from kzoo.workers.places import own_place

app = typer.Typer()

DevicesOption = Annotated[
    str | None,
    typer.Option("--devices", help="How many devices train together, to the result of one.", metavar="N|auto"),
]


@app.command()
def launch(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="Such as `kzoo train resnet20`.")],
    workers: Annotated[int, typer.Option("-n", "--workers", help="How many processes.")],
) -> None:
    """Run a command in several processes on this machine, which train together."""
    raise typer.Exit(launch_workers(command, workers))


def asked_devices(given: str | None) -> int | str | None:
    """Returns what `--devices` says: a number, `"auto"`, or `None`."""
    if given is None or given == "auto":
        return given
    if not given.isdecimal() or not 0 < int(given) < 10**6:
        raise ValueError(f"`--devices` must be a number, 1 or larger, or auto. Received: {given!r}.")
    return int(given)


def join() -> bool:
    """Joins the processes that this one was started with, and returns whether it is the first: it prints the result."""
    place = own_place()
    if place is None:
        return True
    import kzoo

    kzoo.join_workers()
    if place.rank:
        warnings.filterwarnings("ignore", message="EarlyStopping with a patience")  # which the first one says
    return place.rank == 0


def program_name() -> str:
    """Returns what messages of this process begin with: the program, and which of several processes it is."""
    try:
        place = own_place()
    except ValueError:
        place = None
    return "kzoo" if place is None else f"kzoo (worker {place.rank})"
