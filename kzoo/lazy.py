"""Names of a package whose modules are imported when a name is first used."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazily(package: str, names: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Makes what Python calls for a name that a package does not have yet, and for all of its names.

    Args:
        package: String, the package's `__name__`.
        names: The path of each module in the package to the names that come from it.

    Returns:
        The package's `__getattr__` and `__dir__`, see PEP 562.

    Example:
        >>> __getattr__, __dir__ = lazily(__name__, {"loop": ["fit"]})
    """
    module_of = {name: f"{package}.{module}" for module, given in names.items() for name in given}

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        value = getattr(importlib.import_module(module_of[name]), name)
        setattr(sys.modules[package], name, value)  # so that nobody asks again
        return value

    def names_of() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of})

    return get, names_of
