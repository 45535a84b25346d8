"""Runs commands of the `kzoo` program inside the test's process."""

import json

from typer.testing import CliRunner

from kzoo.cli.app import app


def kzoo_command(*arguments):
    """Runs a command as in a terminal of 100 columns; raises what it raises."""
    result = CliRunner(env={"COLUMNS": "100"}).invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def printed_json(*arguments):
    """Returns what a command prints with `--json`."""
    result = kzoo_command(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
