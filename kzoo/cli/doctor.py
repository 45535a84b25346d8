"""The command `kzoo doctor`."""

import typer

from kzoo.cli.options import AsJson
from kzoo.cli.showing import show
from kzoo.doctor import diagnose, render

app = typer.Typer()


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show backend, versions, devices, known bad combinations, and what would make it faster."""
    report = diagnose()
    show(report, as_json, render(report))
