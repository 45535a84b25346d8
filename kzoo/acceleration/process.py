"""What makes kzoo faster and has to be the whole process's: freed memory that is kept, and oneDNN in TensorFlow.

`import kzoo` does none of it. The `kzoo` program does, and so does a script for which `KZOO_TUNE_PROCESS=1` is set in
the environment before kzoo is imported. Nothing here imports Keras or a backend: TensorFlow reads its settings once,
when it is imported.
"""

import ctypes
import os
import platform
import sys
from typing import Any

from kzoo.environment import backend_choice
from kzoo.startup import is_kzoo_program

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
_POOLS = 16  # of JAX's threads. With 8 single images take 5 % longer, more keep more memory
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
_NOT_ASKED = "not asked for: it concerns the whole process. Set KZOO_TUNE_PROCESS=1 before kzoo is imported"

LARGEST_KEPT = _HEAP - 2**21  # bytes of a block in such a pool, with room for what glibc notes beside it

_keeps: bool | None = None  # whether freed memory is kept; `None` if that was not asked for
_onednn: str | None = _NOT_ASKED  # why oneDNN was not turned on; `None` if it was


def is_asked_for() -> bool:
    """Returns whether kzoo may tune this process: it is the `kzoo` program, or the environment says so.

    Raises:
        ValueError: If `KZOO_TUNE_PROCESS` is neither `"1"` nor `"0"`, nor unset.
    """
    setting = os.environ.get("KZOO_TUNE_PROCESS") or ("1" if is_kzoo_program() else "0")
    if setting not in ("0", "1"):
        raise ValueError(f"The environment variable KZOO_TUNE_PROCESS must be '1' or '0'. Received: {setting!r}.")
    return setting == "1"


def tune() -> None:
    """Tunes this process for kzoo's models on the backend that Keras takes, which is not imported yet."""
    global _keeps, _onednn
    if backend_choice().name == "tensorflow":
        if "tensorflow" in sys.modules:
            _onednn = "TensorFlow was imported before kzoo"
        else:
            os.environ.setdefault(_ONEDNN, "1")
            _onednn = None if os.environ[_ONEDNN] == "1" else f"{_ONEDNN}={os.environ[_ONEDNN]}"
    _keeps = keep_freed()


def keeps_freed() -> bool:
    """Returns whether this process keeps freed memory for the next tensors."""
    return _keeps is True


def keep_freed() -> bool:
    """Lets glibc keep the memory of freed tensors for the next ones, instead of giving it back to the system.

    Memory that comes from the system comes page by page, each cleared when it is first touched. A training step of
    ResNet-20 on JAX pays that for 300 MB, a fifth of its time. On PyTorch and TensorFlow it costs nothing there, but a
    sixth and an eighth of a step of WRN-16-4 with one image, whose kernels are large. From now on each of up to 16
    pools holds on to the most it has needed, of blocks of up to `LARGEST_KEPT` bytes. Does nothing where there is
    another C library, or where the environment sets up the allocator (`MALLOC_ARENA_MAX`, `MALLOC_MMAP_THRESHOLD_`,
    `MALLOC_TRIM_THRESHOLD_`, `MALLOC_TOP_PAD_`, `GLIBC_TUNABLES`) or brings another (`LD_PRELOAD`).

    Returns:
        Whether all of that was set.
    """
    if platform.libc_ver()[0] != "glibc" or any(os.environ.get(name) for name in _SETTINGS):
        return False
    library = ctypes.CDLL(None)

    def sets(name: int, *values: int) -> bool:
        return any(library.mallopt(name, value) == 1 for value in values)

    done = [sets(_MMAP_THRESHOLD, 2**30, 2**25), sets(_TRIM_THRESHOLD, _LARGEST)]  # glibc 2.34 takes 32 MB at most
    # Without padding a thread's pool gives back a heap as soon as nothing in it is used.
    done += [sets(_ARENA_MAX, _POOLS), sets(_TOP_PAD, 2 * _HEAP)]
    return all(done)


def report(backend: str) -> list[dict[str, Any]]:
    """Returns the entries of `kzoo.acceleration_report` for what `tune` does on a backend."""
    does = "the C library keeps freed memory for the next tensors instead of giving it back to the system"
    brings = "up to a fifth of a step of a wide network with few images"
    if backend == "jax":
        brings = "what `steps use their memory again` needs, and what it brings"
    if _keeps is None:
        why_off: str | None = _NOT_ASKED
    else:
        why_off = None if _keeps else "the environment sets up the allocator, or it is not glibc's"
    entries = [_entry("freed memory is kept", does, brings, why_off)]
    if backend == "tensorflow":
        does = "TensorFlow computes by oneDNN on processors where it would not by itself (those without AVX-512 VNNI)"
        entries.append(_entry("oneDNN in TensorFlow", does, "twice the speed there, nothing on others", _onednn))
    return entries


def _entry(name: str, does: str, brings: str, why_off: str | None) -> dict[str, Any]:
    return {"name": name, "does": does, "brings": brings, "active": why_off is None, "reason": why_off}
