"""The command `kzoo doctor`."""

import typer

from kzoo.cli.options import AsJson
from kzoo.cli.showing import show

app = typer.Typer()


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show backend, versions, devices, known bad combinations, and what would make it faster."""
    from kzoo.doctor import diagnose, render

    report = diagnose()
    show(report, as_json, render(report))
