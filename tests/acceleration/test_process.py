"""What is set up at the C library's allocator, in processes of their own: it cannot be undone."""

import os
import platform
import subprocess
import sys

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
print(keep_freed(pools=8) if sys.argv[1] == "keep" else False, page_faults())
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")


def run(what, **environment):
    clean = {name: value for name, value in os.environ.items() if name not in process._SETTINGS}
    clean["NUMPY_MADVISE_HUGEPAGE"] = "0"  # or NumPy asks for pages of 2 MB
    command = [sys.executable, "-c", PROGRAM, what]
    output = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True).stdout
    was_set, page_faults = output.split()
    return was_set == "True", int(page_faults)


def test_freed_memory_is_used_again_by_other_threads_too():
    _, without = run("leave")  # each of ten rounds touches 32,768 pages anew
    was_set, kept = run("keep")
    assert was_set
    assert kept < without / 3


@pytest.mark.parametrize("name", sorted(set(process._SETTINGS) - {"LD_PRELOAD"}))
def test_the_users_own_settings_are_left_alone(name):
    values = {"GLIBC_TUNABLES": "glibc.malloc.check=0"}
    was_set, _ = run("keep", **{name: values.get(name, "65536")})
    assert not was_set
