"""Which accelerations there are, which are on, and why the others are off."""

import dataclasses
import importlib
import importlib.metadata
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

_FILES = {
    "tensorflow": ("tensorflow_batches", "tensorflow_gradients"),
    "jax": ("jax_products", "jax_onednn", "jax_once", "jax_steps"),
    "torch": ("torch_walk", "torch_calls", "torch_norm", "torch_packed", "torch_steps"),
}
_NOT_ASKED = "not asked yet"

_setting = os.environ.get("KZOO_ACCELERATION") or "on"
if _setting not in ("on", "off"):
    raise ValueError(f"The environment variable KZOO_ACCELERATION must be 'on' or 'off'. Received: {_setting!r}.")

SWITCHED_ON = _setting == "on"


def find(name: str) -> Any:
    """Returns what a private name stands for, or `None` where this version of its package has no such name.

    Args:
        name: String, the module, a colon and the name in it, such as `"keras:Function._run_through_graph"`.
    """
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


class NotHereError(Exception):
    """Says why an acceleration has no place on this machine or in this process; raised by its check."""


@dataclasses.dataclass(eq=False)
class Acceleration:
    """Something that makes kzoo faster, and whether it is on in this process.

    Args:
        name: String, what to call it.
        does: String, what it does instead of what.
        brings: String, what was measured.
        versions: Distribution to the versions that it is known for, as a specifier such as `">=3.15,<3.16"`.
        needs: The private names that it uses, as for `find`.
        check: Function that tries it on something small; false, or an exception, if it does not do what its definition
            does, `NotHereError` with the reason where there is nothing to try. Called once, at first use, in a thread
            of its own, where nothing of the caller's is traced and gradients are on. It may draw no random numbers:
            they are the user's.
    """

    name: str
    does: str
    brings: str
    versions: Mapping[str, str]
    needs: tuple[str, ...]
    check: Callable[[], bool]
    _why_off: str | None = dataclasses.field(default=_NOT_ASKED, init=False)
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, init=False, repr=False)

    def is_active(self) -> bool:
        """Returns whether it is on."""
        if self._why_off is _NOT_ASKED:
            with self._lock:
                if self._why_off is _NOT_ASKED:
                    self._why_off = self._find_why_off()
        return self._why_off is None

    @property
    def why_off(self) -> str | None:
        """The reason why it is off, or `None` where it is on."""
        self.is_active()
        return self._why_off

    def _find_why_off(self) -> str | None:
        if not SWITCHED_ON:
            return "KZOO_ACCELERATION=off"
        if other := [text for text in map(_other_version, *zip(*self.versions.items(), strict=True)) if text]:
            return f"known for {' and '.join(other)}"
        if missing := [name for name in self.needs if find(name) is None]:
            return f"no {', '.join(missing).replace(':', '.')} here"
        return self._failure()

    def _failure(self) -> str | None:
        """Tries it in another thread: tracing, and whether gradients are wanted, are a thread's own."""
        outcome: list[str | None] = ["the check did not end"]

        def run() -> None:
            try:
                outcome[0] = None if self.check() else "the check gave another result than the definition"
            except NotHereError as error:
                outcome[0] = str(error)
            except Exception as error:  # what a changed private name does is nowhere specified
                outcome[0] = f"the check failed: {type(error).__name__}: {error}"

        thread = threading.Thread(target=run, name="kzoo-check")
        thread.start()
        thread.join()
        return outcome[0]


def _other_version(distribution: str, known: str) -> str | None:
    """Returns a sentence's part where the version of a distribution is none of those known."""
    from packaging.specifiers import SpecifierSet

    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # such as TensorFlow's, which has several distributions
        version = find(f"{distribution}:__version__") or "0"
    if SpecifierSet(known, prereleases=True).contains(version):
        return None
    return f"{distribution}{known}, here is {version}"


def acceleration_report() -> list[dict[str, Any]]:
    """Lists what makes kzoo faster than its definitions on the backend in use, and whether it is on.

    Whatever is off, models compute the same; they are slower. `KZOO_ACCELERATION=off` in the environment turns
    everything off, and `KZOO_TUNE_PROCESS=1` allows what concerns the whole process.

    Returns:
        One dictionary for each, with `name`, `does`, `brings`, `active` (boolean) and `reason` (why it is off, or
        `None`). What was not used before is checked now, which may take a second.

    Example:
        >>> sorted(kzoo.acceleration_report()[0])
        ['active', 'brings', 'does', 'name', 'reason']
    """
    import keras

    from kzoo.acceleration import process

    modules = [importlib.import_module(f"kzoo.acceleration.{file}") for file in _FILES[keras.config.backend()]]
    found = [one for module in modules for one in vars(module).values() if isinstance(one, Acceleration)]
    report = [
        {"name": one.name, "does": one.does, "brings": one.brings, "active": one.is_active(), "reason": one.why_off}
        for one in found
    ]
    return report + process.report(keras.config.backend())
