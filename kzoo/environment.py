"""What kzoo runs on: Keras's backend, the machine, its devices, the installed versions.

Nothing here imports Keras or a backend until a function is called that needs it, and nothing is changed.
`backend_choice` reads the same settings as Keras by the same rule (`keras/src/backend/config.py`), before Keras is
imported.
"""

import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

BACKENDS = ("tensorflow", "jax", "torch")

taken_backend: str | None = None  # by `kzoo.startup`


class BackendChoice(NamedTuple):
    """The backend that Keras takes, and the setting that says so."""

    name: str
    source: str


def keras_config_path() -> Path:
    """Returns the path of Keras's settings, `$KERAS_HOME/keras.json` or `~/.keras/keras.json`; it need not exist."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"], "keras.json").expanduser()
    home = os.path.expanduser("~")
    return Path(home if os.access(home, os.W_OK) else "/tmp", ".keras", "keras.json")


def read_keras_config() -> dict[str, object]:
    """Returns Keras's settings file as a dictionary, empty where there is none that Keras could read."""
    try:
        config = json.loads(keras_config_path().read_text())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def backend_choice() -> BackendChoice:
    """Returns the backend that Keras takes, or has taken if it is imported already.

    Returns:
        A `BackendChoice`. Its name may be no backend at all: nothing is checked here.
    """
    if name := os.environ.get("KERAS_BACKEND"):
        choice = BackendChoice(name, "the only one installed" if backend_was_taken() else "KERAS_BACKEND")
    elif configured := read_keras_config().get("backend"):
        choice = BackendChoice(str(configured), str(keras_config_path()))
    else:
        choice = BackendChoice("tensorflow", "Keras's default")
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "config") and keras.config.backend() != choice.name:
        return BackendChoice(keras.config.backend(), "chosen before kzoo was imported")
    return choice


def installed_backends() -> list[str]:
    """Returns those of `BACKENDS` whose package can be imported, without importing it."""
    return [name for name in BACKENDS if _is_installed(name)]


def backend_was_taken() -> bool:
    """Returns whether `KERAS_BACKEND` is what `kzoo.startup` wrote there, and not the user."""
    return taken_backend is not None and os.environ.get("KERAS_BACKEND") == taken_backend


def backend_problem() -> str | None:
    """Returns why Keras's backend cannot be used: it is none of `BACKENDS`, or not installed. `None` if it can."""
    choice = backend_choice()
    if choice.name in BACKENDS and _is_installed(choice.name):
        return None
    return _explain(choice, installed_backends())


def _is_installed(name: str) -> bool:
    # A folder that merely has the name, in the current directory or left behind by an uninstall, has no origin.
    if sys.modules.get(name) is not None:
        return True
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def _explain(choice: BackendChoice, installed: list[str]) -> str:
    if choice.name in BACKENDS:
        problem = f"Keras's backend is '{choice.name}' ({choice.source}), which is not installed."
    else:
        expected = "'tensorflow', 'jax' or 'torch'"
        problem = f"Keras's backend must be {expected}. Received: '{choice.name}' ({choice.source})."
    if not installed:
        return f'{problem} Installed: none. Install one: pip install "kzoo[torch]", "kzoo[jax]" or "kzoo[tensorflow]"'
    remedy = " or ".join(f"KERAS_BACKEND={name}" for name in installed)
    return f"{problem} Installed: {', '.join(installed)}. Choose one: {remedy}"


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
    it; `cuda` the CUDA version it is built for; `x64` whether it computes in
    float64 when asked.
    """

    devices: list[Device]
    cuda: str | None = None
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
    return BackendFacts(
        devices,
        cuda=tf.sysconfig.get_build_info().get("cuda_version"),
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


def device_kind() -> str:
    """Returns the kind of device that the backend computes on: `"cpu"`, `"tpu"`, or `"gpu"` for any other."""
    import keras

    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow

        kinds = {device.device_type for device in tensorflow.config.list_physical_devices()}
    elif backend == "jax":
        import jax

        kinds = {jax.default_backend()}
    else:
        kinds = {keras.ops.zeros(()).device.type}  # Keras chooses: it has an order of devices, and a setting
    return _kind_among(kinds)


def computes_on_cpu() -> bool:
    """Returns whether the backend computes on CPUs: others have kernels of their own, and compute meanwhile."""
    return device_kind() == "cpu"


def device_of(variable: Any) -> str:
    """Returns the kind of device that a Keras variable lives on, as `device_kind`."""
    import keras

    value, backend = variable.value, keras.config.backend()
    if backend == "tensorflow":
        kinds = {value.device.rpartition("device:")[-1].partition(":")[0] or "CPU"}
    elif backend == "jax":
        kinds = {device.platform for device in value.devices()}
    else:
        kinds = {value.device.type}
    return _kind_among(kinds)


def _kind_among(names: set[str]) -> str:
    """Returns the kind of the fastest of some devices, by what backends call them."""
    found = {name.lower() for name in names} - {"cpu", "xla_cpu"}
    if not found:
        return "cpu"
    return "tpu" if found & {"tpu", "xla"} else "gpu"


def command() -> str:
    """Returns the command line of this process, to be run again."""
    program, *arguments = sys.argv or [""]
    if Path(program).parts[-3:] == ("kzoo", "cli", "__main__.py"):
        return shlex.join(["python", "-m", "kzoo.cli", *arguments])
    return shlex.join(["kzoo" if os.path.basename(program) in ("kzoo", "kzoo.exe") else program, *arguments])


def record() -> dict[str, Any]:
    """Returns versions, backend, device and the time, for what a training leaves behind."""
    import keras

    return {
        "backend": keras.config.backend(),
        "device": device_kind(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def processor() -> dict[str, Any]:
    """Returns the processor's model and features, the cores that this process may use and the memory that is free."""
    flags = cpuinfo().get("flags", "").split()
    available = [line.split()[1] for line in _read("/proc/meminfo").splitlines() if line.startswith("MemAvailable")]
    return {
        "model": cpuinfo().get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": _usable_cores(),
        "avx512_vnni": "avx512_vnni" in flags if flags else None,
        "memory_available_gib": round(int(available[0]) / 2**20, 1) if available else None,
    }


def cpuinfo() -> dict[str, str]:
    """Returns what Linux says of the last core, in `flags` for example its instruction sets; elsewhere nothing."""
    lines = [line.partition(":") for line in _read("/proc/cpuinfo").splitlines()]
    return {name.strip(): value.strip() for name, _, value in lines}


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
