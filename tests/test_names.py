"""A public name never hides a module of the same name."""

import importlib
import pkgutil
import sys

import pytest

import kzoo

MODULES = [module.name for module in pkgutil.walk_packages(kzoo.__path__, "kzoo.") if "__main__" not in module.name]


def imported(name):
    """Returns the module, or `None` where it needs a package that is not here: another backend's."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.startswith("kzoo"):
            raise
        return None


@pytest.mark.parametrize("name", MODULES)
def test_package_has_its_module_under_the_modules_name(name):
    module = imported(name)
    package, _, attribute = name.rpartition(".")
    assert getattr(sys.modules[package], attribute, None) is module


def test_module_behind_a_public_name_can_be_imported_by_its_path():
    import kzoo.folding.fold as fold

    assert fold.fold_batch_norm is kzoo.fold_batch_norm
