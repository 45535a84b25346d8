"""How the C library of this process handles the memory of large tensors."""

import ctypes
import os
import platform

# The names and numbers of `mallopt` in glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_HEAP = 2**26  # what a pool grows by, and the largest block it can have; the main thread's pool has no such limit
_LARGEST = 2**31 - 1
_SETTINGS = (
    *("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"),
    *("GLIBC_TUNABLES", "LD_PRELOAD"),
)


def keep_freed() -> bool:
    """Lets glibc keep the memory of freed tensors for the next ones, instead of giving it back to the system.

    Memory that comes from the system comes page by page, each cleared when it is first touched. A training step on
    JAX pays that for 300 MB, a fifth of its time. From now on the process holds on to the most it has needed, in each
    of the pools that glibc makes for its threads; those of other threads than the main one keep blocks of less than
    64 MB. Does nothing where there is another C library, or where the environment sets up the allocator
    (`MALLOC_ARENA_MAX`, `MALLOC_MMAP_THRESHOLD_`, `MALLOC_TRIM_THRESHOLD_`, `MALLOC_TOP_PAD_`, `GLIBC_TUNABLES`) or
    brings another (`LD_PRELOAD`).

    Returns:
        Whether anything was set.
    """
    if platform.libc_ver()[0] != "glibc" or any(os.environ.get(name) for name in _SETTINGS):
        return False
    library = ctypes.CDLL(None)
    # Without padding a thread's pool gives back a heap as soon as nothing in it is used.
    wanted = [(_MMAP_THRESHOLD, 2**30), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, 2 * _HEAP)]
    return all(library.mallopt(name, value) == 1 for name, value in wanted)
