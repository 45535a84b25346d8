import ast
import inspect
import subprocess
import sys

import pytest
import typer

from kzoo.cli.app import app

COMMANDS = {
    "list", "describe", "train", "evaluate", "predict", "compare", "runs", "export", "serve", "import",
    "launch", "doctor",
    "data prepare", "data info", "data cache list", "data cache clear", "parity record", "parity compare",
    "preset list", "preset info", "preset fetch", "preset add", "preset save", "preset push", "preset to-torch",
    "recipe list", "recipe show", "sweep", "study", "explain",
}  # fmt: skip


def functions_of(joined):
    """Yields the function of every command of an app and of the apps joined to it."""
    yield from (command.callback for command in joined.registered_commands)
    for group in joined.registered_groups:
        yield from functions_of(group.typer_instance)


def commands_of(command, prefix=""):
    """Yields the name and the command of each that does something, also those of groups."""
    for name, inner in command.commands.items():
        yield from commands_of(inner, f"{prefix}{name} ") if hasattr(inner, "commands") else [(prefix + name, inner)]


def body_lines(source):
    """Returns how many lines the body of a function takes, without its docstring."""
    function = ast.parse(source).body[0]
    body = function.body[ast.get_docstring(function) is not None :]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_program_joins_every_command():
    assert {name for name, _ in commands_of(typer.main.get_command(app))} == COMMANDS
    assert len(list(functions_of(app))) == len(COMMANDS)


@pytest.mark.parametrize(("name", "command"), [*commands_of(typer.main.get_command(app))])
def test_each_argument_and_option_has_help(name, command):
    assert command.help
    assert [one.name for one in command.params if not one.help] == []


@pytest.mark.parametrize(
    "function", [*functions_of(app)], ids=lambda function: f"{function.__module__}.{function.__name__}"
)
def test_command_is_short(function):
    assert body_lines(inspect.getsource(function)) < 10


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("def f():\n    '''Does.'''", 0),
        ("@a\ndef f(\n    b,\n):\n    '''Does.\n\n    It.\n    '''\n    c(\n        d\n    )", 3),
        ("def f():\n    a\n    # b\n    c", 3),
    ],
)
def test_lines_of_a_body_are_counted_without_its_docstring(source, lines):
    assert body_lines(source) == lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["describe", "resnet21"], "kzoo: `name` must be one of"),
        (["train", "resnet20", "--data", "nowhere.zip"], "Received: 'nowhere.zip'"),
        (["train", "resnet20", "--epochs", "0"], "kzoo: `epochs` must be at least 1. Received: epochs=0."),
        (["evaluate", "nowhere"], "kzoo: Expected a run directory"),
        (["evaluate"], "kzoo: Expected either a run, or a preset with data, or a model with weights and data."),
        (["predict", "nowhere", "image.png"], "kzoo: Expected a run directory"),
    ],
)
def test_mistake_is_a_message_and_no_traceback(arguments, message, tmp_path):
    command = [sys.executable, "-m", "kzoo.cli", *arguments]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
