"""What happens when kzoo is imported, before Keras is: which program this is, and whether there is a backend for it."""

import contextlib
import importlib.abc
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from kzoo import environment

_BANNER = (b"oneDNN custom operations are on", b"before absl::InitializeLog() is called")


def is_kzoo_program() -> bool:
    """Returns whether this process is the `kzoo` program, or `python -m kzoo...`."""
    return _module_run().split(".")[0] == "kzoo"


def may_start_without_keras() -> bool:
    """Returns whether this process may do without Keras: the command line and the doctor. Other programs never do."""
    return _module_run() in ("kzoo", "kzoo.cli", "kzoo.doctor")


def _module_run() -> str:
    """Returns the module that `python -m` runs, or the name of the script."""
    # `python -m kzoo.doctor` imports this package before it knows its own path: `sys.argv[0]` is then "-m".
    if sys.argv[:1] == ["-m"]:
        given = sys.orig_argv[sys.orig_argv.index("-m") + 1 :] if "-m" in sys.orig_argv else []
        given += [argument[2:] for argument in sys.orig_argv if argument.startswith("-m")]  # `-mkzoo.doctor`
        return next(filter(None, given), "") if given else ""
    found = getattr(sys.modules["__main__"], "__spec__", None)  # what `-m` has found by the time it runs
    if found is not None and found.name.split(".")[0] == "kzoo":
        return str(found.name).removesuffix(".__main__")
    return Path(sys.argv[0]).stem if sys.argv else ""


def check_backend() -> None:
    """Raises a helpful error unless Keras's backend is one of kzoo's and installed.

    Keras's own failure is a `ModuleNotFoundError` from deep inside.

    Raises:
        ImportError: If it is not. In the `kzoo` program a `SystemExit` with the same message, since a traceback would
            tell its user nothing.
    """
    message = environment.backend_problem()
    if message is None:
        return
    if is_kzoo_program():
        raise SystemExit(f"kzoo: {message}")
    raise ImportError(message)


def take_only_backend() -> None:
    """Chooses the one backend that is installed, unless `KERAS_BACKEND` or Keras's settings choose one that is.

    For the `kzoo` program: in a script the choice is Keras's.
    """
    installed = environment.installed_backends()
    if len(installed) != 1 or os.environ.get("KERAS_BACKEND") or environment.backend_choice().name in installed:
        return
    os.environ["KERAS_BACKEND"] = environment.taken_backend = installed[0]


def backend_remark() -> str | None:
    """Returns what to say where Keras takes TensorFlow, nobody has asked for it, and others are installed, too.

    Keras writes its default into its settings file by itself, so that file is nobody's wish if it says TensorFlow.
    """
    others = [name for name in environment.installed_backends() if name != "tensorflow"]
    if os.environ.get("KERAS_BACKEND") or environment.backend_choice().name != "tensorflow" or not others:
        return None
    variables = " or ".join(f"KERAS_BACKEND={name}" for name in others)
    return f"runs on tensorflow, Keras's default. To run on another backend that is installed: {variables}"


def check_backend_before_keras() -> None:
    """Calls `check_backend` when Keras is about to be imported, whatever part of the program needs it first."""
    sys.meta_path.insert(0, _CheckFirst())


def hide_banner_of_tensorflow() -> None:
    """Lets TensorFlow be imported without its words about oneDNN, which no setting of its own turns off."""
    sys.meta_path.insert(0, _Quietly())


class _CheckFirst(importlib.abc.MetaPathFinder):
    """Finds nothing, and sees that Keras is looked for."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname == "keras":
            sys.meta_path.remove(self)
            check_backend()
            if remark := backend_remark():
                warnings.warn(remark, stacklevel=1)


class _Quietly(importlib.abc.MetaPathFinder):
    """Finds TensorFlow where it is, and filters what it writes while it is imported."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == "tensorflow" else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_quietly(module: ModuleType) -> None:
                with _without_banner():
                    execute(module)

            setattr(spec.loader, "exec_module", execute_quietly)  # noqa: B010  a method of this one loader
        return spec


@contextlib.contextmanager
def _without_banner() -> Iterator[None]:
    """Keeps what C++ writes to standard error meanwhile, and passes on what is no banner."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        screen = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)
            kept.seek(0)
            for line in kept:
                if not any(words in line for words in _BANNER):
                    os.write(2, line)
