"""The program: the commands of all the other files, joined."""

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from kzoo import __version__
from kzoo.cli import data, doctor, export, launching, models, parity, presets, recipes, studies, sweeps, training
from kzoo.cli.launching import program_name
from kzoo.cli.showing import printable
from kzoo.errors import DivergenceError, ExportError, OutOfMemoryError, WorkerError

# What a user can do something about; the message says what. Anything else is a mistake of kzoo's, and a traceback.
FORESEEN = (ValueError, ImportError, DivergenceError, ExportError, OutOfMemoryError, WorkerError)

app = typer.Typer(
    help="A Keras 3 multi-backend model zoo: CIFAR ResNets on TensorFlow, JAX and PyTorch. "
    "KERAS_BACKEND=tensorflow|jax|torch chooses the backend; where one alone is installed, it is taken.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
# In the order of `kzoo --help`: without a name the commands are the program's own.
for commands in (
    export.app,
    presets.import_app,
    models.app,
    training.app,
    launching.app,
    sweeps.app,
    studies.app,
    doctor.app,
):
    app.add_typer(commands)
app.add_typer(data.app, name="data")
app.add_typer(parity.app, name="parity")
app.add_typer(presets.app, name="preset")
app.add_typer(recipes.app, name="recipe")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Takes what stands before the name of a command."""


def main() -> None:
    """Runs the command line; what a user did wrong is a message, not a traceback."""
    warnings.showwarning = _show_warning
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = os.environ.get("TF_CPP_MIN_LOG_LEVEL") or "2"  # lower ones are for developers
    try:
        with _ended_by_sigterm():
            app()
    except OSError as error:
        _drop_what_is_not_written()
        sys.exit(printable(f"{program_name()}: {str(error).removeprefix(f'[Errno {error.errno}] ')}"))
    except FORESEEN as error:
        sys.exit(printable(f"{program_name()}: {error}"))
    except KeyboardInterrupt:
        sys.exit(130)  # as shells report the signal
    except _Terminated as end:
        typer.echo("kzoo: ended by SIGTERM", err=True)
        raise end


def _drop_what_is_not_written() -> None:
    """Drops what standard output does not take: Python would try again at its end, and exit with 120."""
    try:
        if sys.stdout is not None:  # whoever started the program may have closed it
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Terminated(SystemExit):
    """The end that SIGTERM asks for: what is begun is removed on the way."""


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM end the program in order meanwhile, unless whoever started it has it ignored."""

    def end(number: int, _: object) -> None:
        raise _Terminated(128 + number)  # as shells report the signal

    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Shows a warning as what it says: where in the source it was raised tells a user nothing."""
    typer.echo(printable(f"{program_name()}: warning: {message}"), err=True)
