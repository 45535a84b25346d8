"""Says what kzoo runs on here, which known bad combinations are present and what would make it faster.

It works without a backend, too: what is then wrong is what it is asked for.

`python -m kzoo.doctor [--json] [--require-gpu]`. Advice comes from two tables of conditions on what was found, so that
nothing is said that was not seen.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from kzoo import environment
from kzoo.environment import backend_choice, installed_backends, keras_config_path

Report = dict[str, Any]

_VARIABLES = (
    "KERAS_BACKEND",
    "KERAS_HOME",
    "KZOO_ACCELERATION",
    "KZOO_TUNE_PROCESS",
    "CUDA_VISIBLE_DEVICES",
    "JAX_ENABLE_X64",
    "JAX_PLATFORMS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTRAOP_THREADS",
    "XLA_FLAGS",
)


class Advice(NamedTuple):
    """What to say, formatted with the report, where the condition holds."""

    applies: Callable[[Report], bool]
    message: str


PROBLEMS = (
    Advice(
        lambda r: _below(r["versions"].get("keras"), (3, 15)),
        "kzoo needs Keras 3.15 or later: it relies on that version's rules. Installed: {versions[keras]}.",
    ),
    Advice(
        lambda r: "tensorflow" in r["versions"] and "tensorflow-cpu" in r["versions"],
        "tensorflow and tensorflow-cpu are both installed and overwrite each other: uninstall both, install one.",
    ),
    Advice(
        lambda r: r["backend"]["name"] == "jax" and "float64" in r["keras"]["dtypes"] and not r["backend"]["x64"],
        "float64 is asked for, but JAX computes in float32: set JAX_ENABLE_X64=1.",
    ),
    Advice(
        lambda r: bool(r["backend"]["cuda"]) and not _has_gpu(r) and not _gpu_is_hidden(r),
        "{backend[name]} is built for CUDA {backend[cuda]} and sees no GPU: check the driver and CUDA_VISIBLE_DEVICES, "
        "or install the CPU build, which is far smaller.",
    ),
    Advice(
        lambda r: "tensorflow-datasets" in r["versions"] and "importlib_resources" not in r["versions"],
        "tensorflow-datasets needs importlib_resources without naming it: pip install importlib_resources.",
    ),
    Advice(
        lambda r: "tensorflow-datasets" in r["versions"] and "array_record" not in r["versions"],
        "tensorflow-datasets reads and writes prepared datasets through array_record: pip install array_record.",
    ),
    Advice(
        lambda r: r["keras"]["image_data_format"] == "channels_first",
        "Keras's image_data_format is channels_first: kzoo's models take channels_last whatever it says, but layers of "
        "Keras that you add will not. See {keras[config_file]}.",
    ),
)
FASTER = (
    Advice(
        lambda r: r["backend"]["name"] == "tensorflow" and r["cpu"]["avx512_vnni"] is False and not _tunes(r),
        "TensorFlow leaves oneDNN off on this processor in scripts: KZOO_TUNE_PROCESS=1, set before kzoo is imported, "
        "turns it on and doubled the speed of training. The kzoo program does so by itself.",
    ),
    Advice(
        lambda r: r["backend"]["name"] == "jax" and not _has_gpu(r) and not _tunes(r),
        "In scripts each step asks the system for its memory anew: KZOO_TUNE_PROCESS=1, set before kzoo is imported, "
        "keeps it, and JAX trains in a sixth to a quarter less time. The kzoo program does so by itself.",
    ),
    Advice(
        lambda r: any(one["reason"] == "KZOO_ACCELERATION=off" for one in r["acceleration"]),
        "KZOO_ACCELERATION=off turns off all that makes kzoo faster than its definitions: unset it.",
    ),
    Advice(
        lambda r: (r["backend"]["threads"] or 0) > r["cpu"]["usable_cores"],
        "{backend[name]} uses {backend[threads]} threads on {cpu[usable_cores]} usable cores: "
        "set {backend[threads_variable]}={cpu[usable_cores]}.",
    ),
    Advice(
        lambda r: (
            "OMP_NUM_THREADS" in r["environment"]
            and r["backend"]["name"] == "torch"
            and 2 * (r["backend"]["threads"] or 0) < r["cpu"]["usable_cores"]
        ),
        "OMP_NUM_THREADS={environment[OMP_NUM_THREADS]} leaves most of the {cpu[usable_cores]} usable cores idle.",
    ),
    Advice(
        lambda r: (r["cpu"]["memory_available_gib"] or 8.0) < 2.0,
        "Only {cpu[memory_available_gib]} GiB of memory are free: a smaller --batch-size needs less.",
    ),
)


def diagnose() -> Report:
    """Looks at the backend, its devices, the installed versions, the machine and the settings.

    Imports Keras and with it the backend, if there is one. What cannot be known without stays empty, and the first of
    the problems says why.

    Returns:
        A dictionary that `json.dumps` takes, with the keys `backend`, `devices`, `versions`, `cpu`, `keras`,
        `environment`, `acceleration` (as `kzoo.acceleration_report`), and the lists of sentences `problems` and
        `faster`.
    """
    report = _without_backend()
    problem = environment.backend_problem()
    if problem is None:
        try:
            _look_at_backend(report)
        except Exception as error:  # what a broken installation raises as it is imported is nowhere specified
            name = report["backend"]["name"]
            problem = f"{name} is installed and cannot be used. Received: {type(error).__name__}: {error}"
    report["problems"] = [*filter(None, [problem]), *_installed_twice(), *_broken_requirements()]
    report["problems"] += _said(PROBLEMS, report)
    report["faster"] = _said(FASTER, report) if problem is None else []
    return report


def _without_backend() -> Report:
    """Returns a report of all that can be seen without Keras."""
    import kzoo

    choice, settings = backend_choice(), environment.read_keras_config()
    floatx = settings.get("floatx", "float32")
    facts = environment.BackendFacts([])._asdict()
    backend = {"name": choice.name, "chosen_by": choice.source, "installed": installed_backends()}
    set_by_user = [name for name in _VARIABLES if name in os.environ]
    if environment.backend_was_taken():
        set_by_user.remove("KERAS_BACKEND")
    return {
        "devices": facts.pop("devices"),
        "backend": {**backend, **facts, "onednn": None},
        "versions": {"python": platform.python_version(), **environment.versions(), "kzoo": kzoo.__version__},
        "cpu": environment.processor(),
        "keras": {
            "config_file": str(keras_config_path()),
            "floatx": floatx,
            "dtypes": [floatx],
            "image_data_format": settings.get("image_data_format", "channels_last"),
        },
        "environment": {name: os.environ[name] for name in set_by_user},
        "acceleration": [],
    }


def _look_at_backend(report: Report) -> None:
    """Adds to a report what Keras and the backend say."""
    import keras

    from kzoo.acceleration import names, registry

    name = keras.config.backend()
    seen = environment.look_at_backend(name)._asdict()
    report["devices"] = [device._asdict() for device in seen.pop("devices")]
    onednn = names.tensorflow_uses_onednn() if name == "tensorflow" else None
    report["backend"] |= {"name": name, **seen, "onednn": onednn}
    report["keras"] |= {
        "floatx": keras.config.floatx(),
        "dtypes": sorted({keras.config.floatx(), keras.config.dtype_policy().compute_dtype}),
        "image_data_format": keras.config.image_data_format(),
    }
    report["acceleration"] = registry.acceleration_report()


def render(report: Report) -> str:
    """Returns the report of `diagnose` as text for a terminal."""
    backend, cpu, keras = report["backend"], report["cpu"], report["keras"]
    threads = f", {backend['threads']} threads in use" if backend["threads"] else ""
    vnni = {True: "AVX-512 VNNI", False: "no AVX-512 VNNI", None: "instruction set unknown"}[cpu["avx512_vnni"]]
    lines = [
        f"backend   {backend['name']} ({backend['chosen_by']}); installed: {', '.join(backend['installed']) or 'none'}",
        *(f"device    {device['kind']}: {device['name']}" for device in report["devices"]),
        f"cpu       {cpu['model']}, {cpu['usable_cores']} of {cpu['cores']} cores usable{threads}, {vnni}",
        f"memory    {cpu['memory_available_gib'] or 'unknown'} GiB free",
        f"keras     floatx {keras['floatx']}, {keras['image_data_format']} ({keras['config_file']})",
        "versions  " + ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        *(f"set       {name}={value}" for name, value in report["environment"].items()),
        *(
            f"speed     {one['name']}: {'on' if one['active'] else 'off: ' + one['reason']}"
            for one in report["acceleration"]
        ),
        "",
        *(f"problem: {message}" for message in report["problems"]),
        *(f"faster: {message}" for message in report["faster"]),
    ]
    if not report["problems"]:
        lines.append("No known problem.")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Prints a report; returns the exit status, 1 where a GPU is required and none is seen."""
    parser = argparse.ArgumentParser(prog="python -m kzoo.doctor", description="Says what kzoo runs on here.")
    parser.add_argument("--json", action="store_true", help="print the report for a program to read")
    parser.add_argument("--require-gpu", action="store_true", help="exit with status 1 where the backend sees no GPU")
    options = parser.parse_args(arguments)
    report = diagnose()
    print(json.dumps(report, indent=2) if options.json else render(report))
    if options.require_gpu and not _has_gpu(report):
        seen = ", ".join(f"{device['kind']}: {device['name']}" for device in report["devices"]) or "no device"
        print(f"A GPU is required and {report['backend']['name']} sees none. Seen: {seen}", file=sys.stderr)
        return 1
    return 0


def _has_gpu(report: Report) -> bool:
    return any(device["kind"] == "gpu" for device in report["devices"])


def _tunes(report: Report) -> bool:
    return report["environment"].get("KZOO_TUNE_PROCESS") == "1"


def _gpu_is_hidden(report: Report) -> bool:
    return report["environment"].get("CUDA_VISIBLE_DEVICES") in {"", "-1"}


def _said(table: tuple[Advice, ...], report: Report) -> list[str]:
    return [advice.message.format(**report) for advice in table if advice.applies(report)]


def _below(version: str | None, minimum: tuple[int, ...]) -> bool:
    from packaging.version import Version  # Keras depends on it

    return version is not None and Version(version).release < minimum


def _broken_requirements() -> list[str]:
    """Returns a sentence for each requirement among these distributions that what is installed does not meet."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    versions = environment.versions()
    found = {canonicalize_name(name): version for name, version in versions.items()}
    broken = []
    for name, version in versions.items():
        for needed in map(Requirement, importlib.metadata.requires(name) or ()):
            other = found.get(canonicalize_name(needed.name))
            if other is None or (needed.marker and not needed.marker.evaluate({"extra": ""})):
                continue
            if not needed.specifier.contains(other, prereleases=True):
                broken.append(f"{name} {version} needs {needed.name}{needed.specifier}. Installed: {other}.")
    return broken


def _installed_twice() -> list[str]:
    """Returns a sentence for each of these distributions found on the path in more than one version."""
    messages = []
    for name in environment.DISTRIBUTIONS:
        versions = {distribution.version for distribution in importlib.metadata.distributions(name=name)}
        if len(versions) > 1:
            messages.append(f"{name} is on the path in versions {', '.join(sorted(versions))}: remove all but one.")
    return messages


if __name__ == "__main__":
    sys.exit(main())
