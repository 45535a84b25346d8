"""How the C library of this process handles the memory of large tensors."""

import ctypes
import os
import platform

# The names and numbers of `mallopt` in glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
_LARGEST = 2**31 - 1
_HEAP = 2**26  # bytes, what the pool of another thread than the main one grows by
_SETTINGS = (
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
)

LARGEST_KEPT = _HEAP - 2**21  # bytes of a block in such a pool, with room for what glibc notes beside it


def keep_freed(*, pools: int | None = None) -> bool:
    """Lets glibc keep the memory of freed tensors for the next ones, instead of giving it back to the system.

    Memory that comes from the system comes page by page, each cleared when it is first touched. A training step on
    JAX pays that for 300 MB, a fifth of its time. From now on the process holds on to the most it has needed. Does
    nothing where there is another C library, or where the environment sets up the allocator (`MALLOC_ARENA_MAX`,
    `MALLOC_MMAP_THRESHOLD_`, `MALLOC_TRIM_THRESHOLD_`, `MALLOC_TOP_PAD_`, `GLIBC_TUNABLES`) or brings another
    (`LD_PRELOAD`).

    Args:
        pools: Integer, for backends that allocate tensors in other threads than the main one: into how many pools
            glibc may divide memory between threads. Each then keeps the most that it has needed, of blocks of up to
            `LARGEST_KEPT` bytes. Defaults to `None`: the main thread's keeps, the others do as ever.

    Returns:
        Whether all of that was set.
    """
    if platform.libc_ver()[0] != "glibc" or any(os.environ.get(name) for name in _SETTINGS):
        return False
    library = ctypes.CDLL(None)

    def sets(name: int, *values: int) -> bool:
        return any(library.mallopt(name, value) == 1 for value in values)

    done = [sets(_MMAP_THRESHOLD, 2**30, 2**25), sets(_TRIM_THRESHOLD, _LARGEST)]  # glibc 2.34 takes 32 MB at most
    if pools is not None:
        # Without padding a thread's pool gives back a heap as soon as nothing in it is used.
        done += [sets(_ARENA_MAX, pools), sets(_TOP_PAD, 2 * _HEAP)]
    return all(done)
