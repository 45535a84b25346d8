"""The program ends in order where SIGTERM asks for it, and says of the disk what a user must know."""

import os
import shlex
import signal
import subprocess
import sys

import pytest
from PIL import Image

import kzoo

# Starts as the program does; the fifth image that is decoded or written kills it.
KILLED = """
import os, signal, sys
number = getattr(signal, sys.argv.pop(1))
sys.argv[0] = "kzoo"
from kzoo.cli import main
from kzoo.data import images, records
calls = []
def killing(function):
    def wrapped(*arguments):
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), number)
        return function(*arguments)
    return wrapped
if "prepare" in sys.argv:
    records._png = killing(records._png)
else:
    images.Decoding.decode = killing(images.Decoding.decode)
main()
"""


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("KZOO_HOME", str(tmp_path / "home"))
    for index in range(20):
        path = tmp_path / "photos" / "train" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 5), (index, 0, 0)).save(path)
    return tmp_path / "photos"


def killed(number, *arguments):
    command = [sys.executable, "-c", KILLED, number, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_sigterm_while_decoding_leaves_nothing(photos, tmp_path):
    done = killed("SIGTERM", "data", "info", photos)
    assert (done.returncode, done.stderr) == (143, "kzoo: ended by SIGTERM\n")
    assert [path for path in (tmp_path / "home" / "decoded").iterdir() if path.is_dir()] == []


def test_sigterm_while_preparing_leaves_nothing(photos, tmp_path):
    done = killed("SIGTERM", "data", "prepare", "pets", "--from", photos, "--data-dir", tmp_path / "data")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (143, "kzoo: ended by SIGTERM")
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path / "data") == []


@pytest.fixture
def own_sigterm():
    """A handler of whoever calls the program in a process of theirs, and what it has heard."""
    heard = []

    def hear(number, frame):
        heard.append(number)

    before = signal.signal(signal.SIGTERM, hear)
    yield heard, hear
    signal.signal(signal.SIGTERM, before)


def test_sigterm_ends_an_export_and_its_other_process(program, own_sigterm, tmp_path):
    kzoo.save_weights(kzoo.resnet20(input_shape=(8, 8, 3)), tmp_path / "a.weights.h5")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 0.5\nkill -TERM $PPID\nexec sleep 60\n")
    python.chmod(0o755)
    digits = kzoo.load_dataset("digits", image_size=(8, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kzoo, "load_dataset", lambda *arguments, **options: digits)
        options = ["--model", "resnet20", "--data", "digits", "--out", tmp_path / "out", "--python", python]
        assert program("export", tmp_path / "a.weights.h5", *options) == (143, "kzoo: ended by SIGTERM\n")
    assert os.listdir(tmp_path / "out") == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert own_sigterm[0] == []


def test_handlers_of_others_are_given_back(program, own_sigterm):
    assert program("list")[0] == 0
    assert signal.getsignal(signal.SIGTERM) is own_sigterm[1]


def test_sigterm_that_is_ignored_stays_so(program, own_sigterm, monkeypatch):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def list_models(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        return ["a"]

    monkeypatch.setattr(kzoo, "list_models", list_models)
    assert program("list") == (0, "")


def test_mistake_is_told_where_standard_output_is_closed():
    code = "import sys; sys.argv = ['kzoo', 'evaluate', 'nowhere']; from kzoo.cli import main; main()"
    closed = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(code)} >&-"
    done = subprocess.run(["sh", "-c", closed], stderr=subprocess.PIPE, text=True)
    assert done.stderr.splitlines()[-1].startswith("kzoo: Expected a run directory")
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_standard_output_is_told(unbuffered):
    code = "import sys; sys.argv = ['kzoo', 'list']; from kzoo.cli import main; main()"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert done.stderr == "kzoo: No space left on device while writing: 'standard output'\n"
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["parity", "record", "file/a.npz", "--image-size", "8", "--steps", "1"], "file"),
        (["data", "info", "digits", "--report", "a" * 256], "a" * 256),
        (["train", "plain20", "--run", "file/run"], "file/run"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_written_is_told_with_its_name(program, arguments, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    status, said = program(*arguments)
    assert status == 1
    assert said.startswith("kzoo: ")
    assert path in said
    assert "Traceback" not in said
    assert "Errno" not in said
