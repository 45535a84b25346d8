"""What is set up at the C library's allocator, in processes of their own: it cannot be undone."""

import json
import os
import platform
import subprocess
import sys

import keras
import pytest

from kzoo.acceleration import process

PROGRAM = """
import resource, sys, threading
import numpy as np

def touch():
    for _ in range(10):
        arrays = [np.ones(4 * 2**20, np.float32) for _ in range(8)]
        del arrays

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=touch)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

from kzoo.acceleration.process import keep_freed
print(keep_freed() if sys.argv[1] == "keep" else False, page_faults())
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")


def run(what):
    clean = {name: value for name, value in os.environ.items() if name not in process._SETTINGS}
    clean["NUMPY_MADVISE_HUGEPAGE"] = "0"  # or NumPy asks for pages of 2 MB
    command = [sys.executable, "-c", PROGRAM, what]
    output = subprocess.run(command, env=clean, capture_output=True, text=True, check=True).stdout
    was_set, page_faults = output.split()
    return was_set == "True", int(page_faults)


def test_freed_memory_is_used_again_by_other_threads_too():
    _, without = run("leave")  # each of ten rounds touches 32,768 pages anew
    was_set, kept = run("keep")
    assert was_set
    assert kept < without / 3


@pytest.mark.parametrize("name", process._SETTINGS)
def test_the_users_own_settings_are_left_alone(name, monkeypatch):
    monkeypatch.setenv(name, "65536")
    assert process.keep_freed() is False


LOOK = """
import json, os, sys
import kzoo
kept = {one["name"]: one["active"] for one in kzoo.acceleration_report()}
print(json.dumps([kept.get("freed memory is kept"), os.environ.get("TF_ENABLE_ONEDNN_OPTS")]))
"""


def seen(code, *options, **environment):
    """Returns whether freed memory is kept, and the setting of oneDNN, in a process of its own."""
    names = {*process._SETTINGS, "KZOO_TUNE_PROCESS", "TF_ENABLE_ONEDNN_OPTS"}
    clean = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, *options, code]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


TUNED = [True, "1" if keras.config.backend() == "tensorflow" else None]
UNTUNED = [False, None]


def test_a_script_is_tuned_only_where_it_asks_for_that():
    assert seen(LOOK, "-c") == UNTUNED
    assert seen(LOOK, "-c", KZOO_TUNE_PROCESS="0") == UNTUNED
    assert seen(LOOK, "-c", KZOO_TUNE_PROCESS="1") == TUNED


def test_the_program_tunes_its_own_process(tmp_path):
    (tmp_path / "kzoo").write_text(LOOK)  # what the program is known by
    assert seen(str(tmp_path / "kzoo")) == TUNED
    assert seen(str(tmp_path / "kzoo"), KZOO_TUNE_PROCESS="0") == UNTUNED


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow reads its settings once")
def test_onednn_stays_as_it_is_where_it_is_too_late_or_the_user_says_so():
    assert seen(f"import tensorflow\n{LOOK}", "-c", KZOO_TUNE_PROCESS="1") == [True, None]
    assert seen(LOOK, "-c", KZOO_TUNE_PROCESS="1", TF_ENABLE_ONEDNN_OPTS="0") == [True, "0"]
