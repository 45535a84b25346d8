"""The house rules that no linter knows: who may import whom, how long a file may be, what is public."""

import ast
from pathlib import Path

import pytest

import kzoo

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "kzoo"
SOURCES = sorted(PACKAGE.rglob("*.py"))
EVERYTHING = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}

# Module -> the other modules of kzoo that it may import.
MAY_IMPORT = {
    "__init__": EVERYTHING,
    "backend": set(),
    "blocks": {"layers", "initializers"},
    "cli": EVERYTHING,
    "cli_export": {"__init__", "serving"},
    "cli_parity": {"__init__", "parity"},
    "cli_weights": {"__init__"},
    "data": {"streams", "download"},
    "doctor": {"__init__", "backend", "machine"},
    "download": set(),
    "evaluation": set(),
    "export": {"__init__", "data", "evaluation", "layers", "models", "training", "weights"},
    "experiment": {"data", "evaluation", "models", "ops", "training"},
    "initializers": {"streams"},
    "layers": {"ops", "streams"},
    "machine": set(),
    "models": {"blocks", "layers", "initializers", "weights"},
    "ops": set(),
    "parity": {"data", "layers", "models", "ops", "training"},
    "serving": {"data", "export"},
    "streams": set(),
    "training": {"data", "evaluation", "ops", "weights"},
    "weights": {"download"},
}
HEAVY = {"array_record", "jax", "matplotlib", "sklearn", "tensorflow", "tensorflow_datasets", "torch"}


def name_of(path):
    return str(path.relative_to(ROOT))


def unit_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(tree):
    """Yields the dotted name of each import in `tree`: `a.b.c` for `from a.b import c`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_units(tree):
    """Returns the modules of kzoo that `tree` imports; `__init__` for a name that kzoo itself defines."""
    parts = [name.split(".") for name in imports_of(tree)]
    names = {part[1] if len(part) > 1 else "__init__" for part in parts if part[0] == "kzoo"}
    return {name if name in EVERYTHING else "__init__" for name in names}


def imports_at_top_level(tree):
    """Returns the packages imported when the module is: not inside a function, not for type checkers alone."""
    found = set()
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {name.split(".")[0] for name in imports_of(node)}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found


def test_every_module_has_its_place_in_the_table():
    assert EVERYTHING - MAY_IMPORT.keys() == set()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_module_imports_only_what_it_may(path):
    unit = unit_of(path)
    assert imported_units(ast.parse(path.read_text())) - {unit} - MAY_IMPORT[unit] == set()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_module_imports_no_heavy_package_at_its_top(path):
    # `torch` in ops/torch.py, `jax` in ops/jax_onednn.py
    allowed = {path.stem.split("_")[0]} if path.parent == PACKAGE / "ops" else set()
    assert (imports_at_top_level(ast.parse(path.read_text())) & HEAVY) - allowed == set()


@pytest.mark.parametrize(
    ("source", "units"),
    [
        ("import keras", set()),
        ("import kzoo", {"__init__"}),
        ("from kzoo import __version__", {"__init__"}),
        ("from kzoo import ops", {"ops"}),
        ("import kzoo.data.folder", {"data"}),
        ("def f():\n    from kzoo.models.registry import create_model", {"models"}),
    ],
)
def test_imported_units_are_found_in_every_form(source, units):
    assert imported_units(ast.parse(source)) == units


@pytest.mark.parametrize(
    ("source", "packages"),
    [
        ("import jax.numpy as jnp", {"jax"}),
        ("try:\n    from torch import nn\nexcept ImportError: ...", {"torch"}),
        ("class A:\n    import sklearn", {"sklearn"}),
        ("def f():\n    import torch", set()),
        ("if TYPE_CHECKING:\n    import torch", set()),
    ],
)
def test_imports_at_top_level_are_those_that_run_on_import(source, packages):
    assert imports_at_top_level(ast.parse(source)) == packages


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_module_is_short(path):
    assert len(path.read_text().splitlines()) <= 300


def test_applications_are_short():
    lengths = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "applications").glob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 150} == {}


def test_no_module_is_named_after_nothing():
    assert not {path.stem for path in SOURCES} & {"utils", "util", "helpers", "misc", "common"}


def test_all_names_everything_public_once():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imported = {
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert sorted(set(kzoo.__all__)) == sorted(kzoo.__all__)
    assert set(kzoo.__all__) - {"__version__"} == imported - {"check_backend"}


def test_all_names_exist():
    assert [name for name in kzoo.__all__ if not hasattr(kzoo, name)] == []
