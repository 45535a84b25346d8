"""Trainings that are left and gone on with on the command line."""

import json
import os
import signal

import pytest
from typer.testing import CliRunner

from kzoo.cli.app import app
from kzoo.training import checkpoint, session
from kzoo.training.checkpoint import newest_state


@pytest.fixture
def signals_as_they_were():
    """Hears signals, which whoever started the tests in the background has ignored, and undoes it."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def train(program, tmp_path, colours):
    """Returns a function that trains for two epochs of four steps each, with whatever options beside."""
    arguments = ["train", "resnet8", "--data", colours, "--image-size", "8", "--epochs", "2", "--batch-size", "12"]
    return lambda *options: program(*arguments, "--run", tmp_path / "run", "--quiet", *options)


def signalled_at(monkeypatch, step, *numbers):
    """Sends this process signals in a step."""
    end = session.Session.on_train_batch_end

    def ends(self, batch, logs=None):
        if self.epoch * self.per_epoch + self._first + batch + 1 == step:
            os.kill(os.getpid(), numbers[0])
        end(self, batch, logs)

    monkeypatch.setattr(session.Session, "on_train_batch_end", ends)


@pytest.mark.usefixtures("signals_as_they_were")
def test_signals_end_a_training_with_the_command_that_goes_on(program, train, tmp_path, monkeypatch):
    for step, number, code in ((2, signal.SIGINT, 130), (6, signal.SIGTERM, 143)):
        with monkeypatch.context() as patch:
            signalled_at(patch, step, number)
            ended, said = train("--resume")
        assert ended == code
        assert f"{number.name}: finishing the step, then writing a checkpoint." in said
        assert "A checkpoint was written. To go on: kzoo train resnet8 --data" in said
        assert said.rstrip().endswith("--resume")
        assert newest_state(tmp_path / "run" / "checkpoints").numbers["step"] == step
    assert train("--resume")[0] == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs_run"] == 2


@pytest.mark.usefixtures("signals_as_they_were")
def test_second_interrupt_ends_at_once_and_tears_nothing(train, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        signalled_at(patch, 3, signal.SIGINT)
        train("--checkpoint-every", "1")
    kept = newest_state(tmp_path / "run" / "checkpoints").numbers["step"]
    with monkeypatch.context() as patch:
        signalled_at(patch, 5, signal.SIGINT)
        write = checkpoint.write_checkpoint

        def interrupted(folder, state):
            if state.numbers["step"] == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return write(folder, state)

        patch.setattr("kzoo.training.keeper.write_checkpoint", interrupted)
        ended, said = train("--resume")
    assert ended == 130
    assert "To go on" not in said
    assert newest_state(tmp_path / "run" / "checkpoints").numbers["step"] >= kept
    assert train("--resume")[0] == 0


@pytest.mark.usefixtures("signals_as_they_were")
def test_runs_are_listed_with_the_command_that_goes_on(train, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        signalled_at(patch, 6, signal.SIGINT)
        train()
    shown = CliRunner().invoke(app, ["runs", str(tmp_path)]).stdout.splitlines()
    assert shown[0] == f"{tmp_path / 'run'}  interrupted, 1 of 2 epochs"
    assert shown[1].startswith("    kzoo train resnet8 --data ")
    assert shown[1].endswith(f" --quiet --run {tmp_path / 'run'} --resume")
    (one,) = json.loads(CliRunner().invoke(app, ["runs", str(tmp_path), "--json"]).stdout)
    assert (one["state"], one["command"]) == ("interrupted", shown[1].strip())


def test_training_gone_wrong_is_told_in_a_line(train, tmp_path):
    ended, said = train("--lr", "1e30")
    assert ended == 1
    assert "kzoo: The loss is" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run" / "metrics.json").exists()
