"""What this machine is and what the backend sees of it: processor, memory, devices, installed versions.

Nothing is imported until a function is called; then only the backend that Keras uses.
"""

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

DISTRIBUTIONS = (
    "kzoo",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "jax",
    "jaxlib",
    "torch",
    "numpy",
    "h5py",
    "ml_dtypes",
    "pillow",
    "protobuf",
    "tensorflow-datasets",
    "array_record",
    "importlib_resources",
)


class Device(NamedTuple):
    """A device as the backend names it; `kind` is `"cpu"`, `"gpu"` or `"tpu"`."""

    kind: str
    name: str


class BackendFacts(NamedTuple):
    """What the backend says of itself. `None` where it has no such thing.

    `threads` is the number it computes one operation with and `threads_variable` the environment variable that sets
    it; `cuda` the CUDA version it is built for; `onednn` whether TensorFlow uses oneDNN; `x64` whether it computes in
    float64 when asked.
    """

    devices: list[Device]
    cuda: str | None = None
    onednn: bool | None = None
    threads: int | None = None
    threads_variable: str | None = None
    x64: bool = True


def look_at_backend(name: str) -> BackendFacts:
    """Imports the backend `name` and returns what it says of itself and its devices."""
    return {"tensorflow": _look_at_tensorflow, "jax": _look_at_jax, "torch": _look_at_torch}[name]()


def versions() -> dict[str, str]:
    """Returns the versions of those of `DISTRIBUTIONS` that are installed."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _look_at_tensorflow() -> BackendFacts:
    import tensorflow as tf

    devices = []
    for device in tf.config.list_physical_devices():
        details = tf.config.experimental.get_device_details(device)
        devices.append(Device(device.device_type.lower(), details.get("device_name", device.name)))
    # TensorFlow's own answer: which processors it trusts with oneDNN changes between versions.
    from tensorflow.python.util import _pywrap_util_port

    return BackendFacts(
        devices,
        cuda=tf.sysconfig.get_build_info().get("cuda_version"),
        onednn=_pywrap_util_port.IsMklEnabled(),
        # 0 means as many as the process may be scheduled on, whatever a container's quota is.
        threads=tf.config.threading.get_intra_op_parallelism_threads()
        or int(os.environ.get("TF_NUM_INTRAOP_THREADS", "0"))
        or _affinity(),
        threads_variable="TF_NUM_INTRAOP_THREADS",
    )


def _look_at_jax() -> BackendFacts:
    import jax

    devices = [Device(device.platform, device.device_kind) for device in jax.devices()]
    plugins = [version for version in ("12", "13") if importlib.util.find_spec(f"jax_cuda{version}_plugin")]
    return BackendFacts(devices, cuda=next(iter(plugins), None), x64=bool(jax.config.jax_enable_x64))


def _look_at_torch() -> BackendFacts:
    import torch

    devices = [Device("cpu", platform.processor() or platform.machine())]
    devices += [Device("gpu", torch.cuda.get_device_name(index)) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append(Device("gpu", "Apple Metal"))
    return BackendFacts(
        devices, cuda=torch.version.cuda, threads=torch.get_num_threads(), threads_variable="OMP_NUM_THREADS"
    )


def processor() -> dict[str, Any]:
    """Returns the processor's model and features, the cores that this process may use and the memory that is free."""
    lines = [line.partition(":") for line in _read("/proc/cpuinfo").splitlines()]
    facts = {name.strip(): value.strip() for name, _, value in lines}
    flags = facts.get("flags", "").split()
    available = [line.split()[1] for line in _read("/proc/meminfo").splitlines() if line.startswith("MemAvailable")]
    return {
        "model": facts.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": _usable_cores(),
        "avx512_vnni": "avx512_vnni" in flags if flags else None,
        "memory_available_gib": round(int(available[0]) / 2**20, 1) if available else None,
    }


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _usable_cores() -> int:
    """Returns the cores that this process may use: its affinity, and the container's quota where there is one."""
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    return min(_affinity(), -(-int(quota) // int(period))) if quota.isdigit() else _affinity()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
