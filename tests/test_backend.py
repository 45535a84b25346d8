import json
import os
import re
import subprocess
import sys
import timeit
import types
from importlib.machinery import ModuleSpec

import keras
import pytest

from kzoo import backend


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """Keras not imported yet, KERAS_BACKEND unset and no settings file; returns where that file would be."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    return tmp_path / "keras.json"


@pytest.fixture
def installed(monkeypatch):
    """Returns a function that makes exactly the named backends look installed."""

    def install(*names):
        for name in backend.BACKENDS:
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name: ModuleSpec(name, None, origin="x.py") if name in names else None
        )

    return install


def test_backend_choice_is_keras_default_without_settings(settings):
    assert backend.backend_choice() == ("tensorflow", "Keras's default")


def test_backend_choice_reads_the_settings_file(settings):
    settings.write_text(json.dumps({"backend": "jax"}))
    assert backend.backend_choice() == ("jax", str(settings))


def test_backend_choice_prefers_the_environment(settings, monkeypatch):
    settings.write_text(json.dumps({"backend": "jax"}))
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert backend.backend_choice() == ("torch", "KERAS_BACKEND")


def test_backend_choice_ignores_an_empty_variable(settings, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "")
    assert backend.backend_choice().name == "tensorflow"


@pytest.mark.parametrize("content", ["{ torn", "[]", "{}"])
def test_backend_choice_ignores_a_settings_file_without_a_backend(settings, content):
    settings.write_text(content)
    assert backend.backend_choice().name == "tensorflow"


def test_backend_choice_is_the_one_keras_has_taken(settings, monkeypatch):
    imported = types.SimpleNamespace(config=types.SimpleNamespace(backend=lambda: "jax"))
    monkeypatch.setitem(sys.modules, "keras", imported)
    assert backend.backend_choice() == ("jax", "chosen before kzoo was imported")


def test_backend_choice_agrees_with_keras(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"backend": keras.config.backend()}))
    code = "from kzoo.backend import backend_choice; print(*backend_choice())"
    done = _run_python(code, KERAS_BACKEND="", KERAS_HOME=str(tmp_path))
    assert done.stdout.strip() == f"{keras.config.backend()} {tmp_path / 'keras.json'}", done.stderr


def test_check_backend_accepts_an_installed_one(settings, installed, monkeypatch):
    installed("torch", "jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert backend.check_backend() is None


@pytest.mark.parametrize(
    ("name", "given", "expected"), [("tensorflow", None, "1"), ("tensorflow", "0", "0"), ("torch", None, None)]
)
def test_check_backend_turns_onednn_on_unless_told(settings, installed, monkeypatch, name, given, expected):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", given or "")  # so that monkeypatch restores it
    if given is None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    installed(name)
    monkeypatch.setenv("KERAS_BACKEND", name)
    backend.check_backend()
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == expected


def test_check_backend_names_the_installed_ones(settings, installed):
    installed("torch", "jax")
    with pytest.raises(ImportError) as error:
        backend.check_backend()
    assert str(error.value) == (
        "Keras's backend is 'tensorflow' (Keras's default), which is not installed. "
        "Installed: jax, torch. Choose one: KERAS_BACKEND=jax or KERAS_BACKEND=torch"
    )


def test_check_backend_says_what_to_install_where_there_is_none(settings, installed):
    installed()
    with pytest.raises(ImportError, match=re.escape('Installed: none. Install one: pip install "kzoo[torch]"')):
        backend.check_backend()


@pytest.mark.parametrize("name", ["pytorch", "numpy", "openvino"])
def test_check_backend_refuses_other_backends(settings, installed, monkeypatch, name):
    installed("torch")
    monkeypatch.setenv("KERAS_BACKEND", name)
    message = f"must be 'tensorflow', 'jax' or 'torch'. Received: '{name}' (KERAS_BACKEND). Installed: torch. Choose"
    with pytest.raises(ImportError, match=re.escape(message)):
        backend.check_backend()


def test_check_backend_is_not_fooled_by_a_folder_of_that_name(settings, monkeypatch, tmp_path):
    for name in backend.BACKENDS:
        (tmp_path / name).mkdir()
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ImportError, match="Installed: none"):
        backend.check_backend()


@pytest.mark.parametrize(
    ("argv", "orig_argv"),
    [(["/usr/bin/kzoo"], ["python", "/usr/bin/kzoo"]), (["-m"], ["python", "-X", "dev", "-m", "kzoo.doctor"])],
)
def test_check_backend_leaves_the_kzoo_program_without_a_traceback(settings, installed, monkeypatch, argv, orig_argv):
    installed("torch")
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    with pytest.raises(SystemExit, match=r"^kzoo: Keras's backend is 'tensorflow'"):
        backend.check_backend()


@pytest.mark.parametrize(("argv", "orig_argv"), [(["-m"], ["python", "-m", "pytest"]), (["-m"], ["python"]), ([], [])])
def test_check_backend_raises_in_any_other_program(settings, installed, monkeypatch, argv, orig_argv):
    installed("torch")
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    with pytest.raises(ImportError):
        backend.check_backend()


def test_import_kzoo_checks_the_backend_first():
    done = _run_python("import kzoo", KERAS_BACKEND="pytorch")
    assert done.stderr.splitlines()[-1].startswith("ImportError: Keras's backend must be 'tensorflow', 'jax' or")


def test_kzoo_program_says_it_in_one_line():
    done = _run_python("import sys; sys.argv = ['bin/kzoo', 'list']; import kzoo", KERAS_BACKEND="pytorch")
    assert done.returncode == 1
    assert re.fullmatch(r"kzoo: Keras's backend must be .* Choose one: KERAS_BACKEND=.*\n", done.stderr)


def test_check_backend_costs_little(settings, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", backend.installed_backends()[0])
    assert min(timeit.repeat(backend.check_backend, number=1, repeat=5)) < 0.005


def _run_python(code, **variables):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
