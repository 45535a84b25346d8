import json
import os
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

from kzoo import environment


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
