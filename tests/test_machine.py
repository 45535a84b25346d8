import os

import keras
import numpy as np
import pytest

from kzoo import machine


@pytest.fixture
def files(monkeypatch):
    """Returns a dictionary from path to content that stands for the files of the system."""
    content = {}
    monkeypatch.setattr(machine, "_read", lambda path: content.get(path, ""))
    return content


def test_versions_are_those_imported():
    versions = machine.versions()
    assert versions["keras"] == keras.__version__
    assert versions["numpy"] == np.__version__


def test_look_at_backend_names_a_device():
    facts = machine.look_at_backend(keras.config.backend())
    assert facts.devices
    assert all(kind in {"cpu", "gpu"} and name for kind, name in facts.devices)


def test_processor_reads_model_features_and_memory(files):
    files["/proc/cpuinfo"] = "processor\t: 0\nmodel name\t: Some Processor\nflags\t\t: fpu avx2 avx512_vnni\n\n"
    files["/proc/meminfo"] = "MemTotal:       33554432 kB\nMemAvailable:   3145728 kB\n"
    found = machine.processor()
    assert (found["model"], found["avx512_vnni"], found["memory_available_gib"]) == ("Some Processor", True, 3.0)


def test_processor_knows_what_it_does_not_know(files):
    found = machine.processor()
    assert (found["avx512_vnni"], found["memory_available_gib"]) == (None, None)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("", 6), ("max 100000\n", 6), ("150000 100000\n", 2), ("50000 100000\n", 1), ("900000 100000\n", 6)],
)
def test_usable_cores_respect_a_container_quota(files, monkeypatch, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    files["/sys/fs/cgroup/cpu.max"] = quota
    assert machine.processor()["usable_cores"] == cores
