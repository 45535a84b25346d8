"""The program: the commands of all the other files, joined."""

import sys

import typer

from kzoo.cli import data, doctor, export, models, parity, training, weights

app = typer.Typer(
    help="A Keras 3 multi-backend model zoo: CIFAR ResNets on TensorFlow, JAX and PyTorch. "
    "KERAS_BACKEND=tensorflow|jax|torch chooses the backend.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
# In the order of `kzoo --help`: without a name the commands are the program's own.
for commands in (export.app, weights.import_app, models.app, training.app, doctor.app):
    app.add_typer(commands)
app.add_typer(data.app, name="data")
app.add_typer(parity.app, name="parity")
app.add_typer(weights.app, name="weights")


def main() -> None:
    """Runs the command line; what a user did wrong is a message, not a traceback."""
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"kzoo: {error}")
