"""Checks, before Keras is imported, that the backend it would take is one that kzoo runs on and is installed.

Keras's own failure here is a `ModuleNotFoundError` from deep inside its imports. This module reads the same settings
by the same rule (`keras/src/backend/config.py`), imports no backend and writes nothing.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

BACKENDS = ("tensorflow", "jax", "torch")


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
        choice = BackendChoice(name, "KERAS_BACKEND")
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


def check_backend() -> None:
    """Raises a helpful error unless Keras's backend is one of `BACKENDS` and installed.

    TensorFlow is told to use oneDNN, unless the environment says otherwise.

    Raises:
        ImportError: If it is not. In the `kzoo` program a `SystemExit` with the same message, since a traceback would
            tell its user nothing.
    """
    choice = backend_choice()
    if choice.name in BACKENDS and _is_installed(choice.name):
        if choice.name == "tensorflow":
            # Without, TensorFlow leaves oneDNN off on processors without AVX-512 VNNI, and runs at half the speed.
            os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        return
    message = _explain(choice, installed_backends())
    if _is_kzoo_program():
        raise SystemExit(f"kzoo: {message}")
    raise ImportError(message)


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


def _is_kzoo_program() -> bool:
    # `python -m kzoo.doctor` imports this package before it knows its own path: `sys.argv[0]` is then "-m".
    if sys.argv[:1] == ["-m"]:
        module = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv[:-1] else ""
        return module.split(".")[0] == "kzoo"
    return bool(sys.argv) and Path(sys.argv[0]).stem == "kzoo"
