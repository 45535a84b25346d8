import json
import os
import re
import subprocess
import sys
import timeit
import types
from importlib.machinery import ModuleSpec

import keras
import numpy as np
import pytest

from kzoo import environment


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
        for name in environment.BACKENDS:
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name: ModuleSpec(name, None, origin="x.py") if name in names else None
        )

    return install


def test_backend_choice_is_keras_default_without_settings(settings):
    assert environment.backend_choice() == ("tensorflow", "Keras's default")


def test_backend_choice_reads_the_settings_file(settings):
    settings.write_text(json.dumps({"backend": "jax"}))
    assert environment.backend_choice() == ("jax", str(settings))


def test_backend_choice_prefers_the_environment(settings, monkeypatch):
    settings.write_text(json.dumps({"backend": "jax"}))
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert environment.backend_choice() == ("torch", "KERAS_BACKEND")


def test_backend_choice_ignores_an_empty_variable(settings, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "")
    assert environment.backend_choice().name == "tensorflow"


@pytest.mark.parametrize("content", ["{ torn", "[]", "{}"])
def test_backend_choice_ignores_a_settings_file_without_a_backend(settings, content):
    settings.write_text(content)
    assert environment.backend_choice().name == "tensorflow"


def test_backend_choice_is_the_one_keras_has_taken(settings, monkeypatch):
    imported = types.SimpleNamespace(config=types.SimpleNamespace(backend=lambda: "jax"))
    monkeypatch.setitem(sys.modules, "keras", imported)
    assert environment.backend_choice() == ("jax", "chosen before kzoo was imported")


def test_backend_choice_agrees_with_keras(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"backend": keras.config.backend()}))
    code = "from kzoo.environment import backend_choice; print(*backend_choice())"
    done = _run_python(code, KERAS_BACKEND="", KERAS_HOME=str(tmp_path))
    assert done.stdout.strip() == f"{keras.config.backend()} {tmp_path / 'keras.json'}", done.stderr


def test_check_backend_accepts_an_installed_one(settings, installed, monkeypatch):
    installed("torch", "jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert environment.check_backend() is None


def test_check_backend_names_the_installed_ones(settings, installed):
    installed("torch", "jax")
    with pytest.raises(ImportError) as error:
        environment.check_backend()
    assert str(error.value) == (
        "Keras's backend is 'tensorflow' (Keras's default), which is not installed. "
        "Installed: jax, torch. Choose one: KERAS_BACKEND=jax or KERAS_BACKEND=torch"
    )


def test_check_backend_says_what_to_install_where_there_is_none(settings, installed):
    installed()
    with pytest.raises(ImportError, match=re.escape('Installed: none. Install one: pip install "kzoo[torch]"')):
        environment.check_backend()


@pytest.mark.parametrize("name", ["pytorch", "numpy", "openvino"])
def test_check_backend_refuses_other_backends(settings, installed, monkeypatch, name):
    installed("torch")
    monkeypatch.setenv("KERAS_BACKEND", name)
    message = f"must be 'tensorflow', 'jax' or 'torch'. Received: '{name}' (KERAS_BACKEND). Installed: torch. Choose"
    with pytest.raises(ImportError, match=re.escape(message)):
        environment.check_backend()


def test_check_backend_is_not_fooled_by_a_folder_of_that_name(settings, monkeypatch, tmp_path):
    for name in environment.BACKENDS:
        (tmp_path / name).mkdir()
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ImportError, match="Installed: none"):
        environment.check_backend()


@pytest.mark.parametrize(
    ("argv", "orig_argv"),
    [(["/usr/bin/kzoo"], ["python", "/usr/bin/kzoo"]), (["-m"], ["python", "-X", "dev", "-m", "kzoo.doctor"])],
)
def test_check_backend_leaves_the_kzoo_program_without_a_traceback(settings, installed, monkeypatch, argv, orig_argv):
    installed("torch")
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    with pytest.raises(SystemExit, match=r"^kzoo: Keras's backend is 'tensorflow'"):
        environment.check_backend()


@pytest.mark.parametrize(("argv", "orig_argv"), [(["-m"], ["python", "-m", "pytest"]), (["-m"], ["python"]), ([], [])])
def test_check_backend_raises_in_any_other_program(settings, installed, monkeypatch, argv, orig_argv):
    installed("torch")
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    with pytest.raises(ImportError):
        environment.check_backend()


def test_import_kzoo_checks_the_backend_first():
    done = _run_python("import kzoo", KERAS_BACKEND="pytorch")
    assert done.stderr.splitlines()[-1].startswith("ImportError: Keras's backend must be 'tensorflow', 'jax' or")


def test_kzoo_program_says_it_in_one_line():
    done = _run_python("import sys; sys.argv = ['bin/kzoo', 'list']; import kzoo", KERAS_BACKEND="pytorch")
    assert done.returncode == 1
    assert re.fullmatch(r"kzoo: Keras's backend must be .* Choose one: KERAS_BACKEND=.*\n", done.stderr)


def test_check_backend_costs_little(settings, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", environment.installed_backends()[0])
    assert min(timeit.repeat(environment.check_backend, number=1, repeat=5)) < 0.005


def _run_python(code, **variables):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)


@pytest.fixture
def files(monkeypatch):
    """Returns a dictionary from path to content that stands for the files of the system."""
    content = {}
    monkeypatch.setattr(environment, "_read", lambda path: content.get(path, ""))
    return content


def test_versions_are_those_imported():
    versions = environment.versions()
    assert versions["keras"] == keras.__version__
    assert versions["numpy"] == np.__version__


def test_look_at_backend_names_a_device():
    facts = environment.look_at_backend(keras.config.backend())
    assert facts.devices
    assert all(kind in {"cpu", "gpu"} and name for kind, name in facts.devices)


def test_processor_reads_model_features_and_memory(files):
    files["/proc/cpuinfo"] = "processor\t: 0\nmodel name\t: Some Processor\nflags\t\t: fpu avx2 avx512_vnni\n\n"
    files["/proc/meminfo"] = "MemTotal:       33554432 kB\nMemAvailable:   3145728 kB\n"
    found = environment.processor()
    assert (found["model"], found["avx512_vnni"], found["memory_available_gib"]) == ("Some Processor", True, 3.0)


def test_processor_knows_what_it_does_not_know(files):
    found = environment.processor()
    assert (found["avx512_vnni"], found["memory_available_gib"]) == (None, None)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("", 6), ("max 100000\n", 6), ("150000 100000\n", 2), ("50000 100000\n", 1), ("900000 100000\n", 6)],
)
def test_usable_cores_respect_a_container_quota(files, monkeypatch, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    files["/sys/fs/cgroup/cpu.max"] = quota
    assert environment.processor()["usable_cores"] == cores
