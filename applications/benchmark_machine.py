"""What `benchmark.py` says of the machine: its processor, and how fast that multiplies."""

import platform
import timeit
from pathlib import Path
from typing import Any

import numpy as np

FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16")


def matrix_product(size: int = 2048) -> float:
    """Returns the multiply-adds a second of a float32 matrix product in NumPy, the machine's limit."""
    a = np.ones((size, size), np.float32)
    return size**3 / min(timeit.repeat(lambda: a @ a, number=1, repeat=5))


def processor(path: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """Returns the processor's name, and which of `FLAGS` Linux names for it."""
    lines = [line.partition(":") for line in path.read_text().splitlines()] if path.exists() else []
    facts = {name.strip(): value.strip() for name, _, value in lines}
    model = facts.get("model name") or platform.processor() or platform.machine()
    return {"model": model, "flags": [flag for flag in FLAGS if flag in facts.get("flags", "").split()]}
