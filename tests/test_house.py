"""The house rules that no linter knows: who may import whom, how long a file may be, what is public."""

import ast
import re
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
    # Below `ops`, which takes what has no public name from it.
    "acceleration": {"environment", "shards", "startup"},
    # Arrays from files of strangers: whoever reads some may use it.
    "archives": set(),
    # Checks of what callers pass: whoever has a public function may use them.
    "arguments": set(),
    # Sizes of files from anywhere: whoever reads one may use it.
    "bounded": set(),
    "blocks": {"arguments", "choices", "layers", "initializers"},
    "choices": set(),
    "cli": EVERYTHING,
    "data": {"archives", "arguments", "bounded", "choices", "download", "durable", "lazy", "shards", "streams"},
    "doctor": {"__init__", "acceleration", "environment"},
    "download": {"durable"},
    # Files that are whole or not there: whoever writes may use it.
    "durable": set(),
    "environment": set(),
    "errors": set(),
    "evaluation": {"arguments", "choices"},
    "export": {
        "__init__",
        "acceleration",
        "archives",
        "arguments",
        "bounded",
        "choices",
        "data",
        "durable",
        "environment",
        "errors",
        "evaluation",
        "folding",
        "layers",
        "lazy",
        "models",
        "rebuilding",
        "recursion",
        # One seed chooses the images that int8 is calibrated with.
        "streams",
        "training",
        "presets",
    },
    "experiment": {"arguments", "choices", "data", "evaluation", "models", "ops", "training", "workers"},
    # Looks into functional models, of kzoo and others, and draws what it finds.
    "explaining": {"acceleration", "arguments", "durable", "layers", "ops", "recursion"},
    # For whoever only predicts: exports, and teachers of a training.
    "folding": {"acceleration", "arguments", "layers", "models", "recursion"},
    "initializers": {"arguments", "streams"},
    "layers": {"acceleration", "arguments", "ops", "streams"},
    "lazy": set(),
    # The model class is accelerated, and keeps its own precision.
    "models": {
        "acceleration",
        "arguments",
        "blocks",
        "choices",
        "durable",
        "initializers",
        "layers",
        "lazy",
        "ops",
        "recursion",
        "shards",
        "streams",
        "presets",
    },
    "ops": {"acceleration", "choices", "environment", "shards"},
    "parity": {
        "archives",
        "bounded",
        "choices",
        "data",
        "durable",
        "environment",
        "layers",
        "models",
        "ops",
        "recursion",
        "streams",
        "training",
    },
    # How images become pixels, the facts of published datasets and what a model's answers are, for cards.
    "presets": {
        "arguments",
        "bounded",
        "choices",
        "data",
        "download",
        "durable",
        "evaluation",
        "lazy",
    },
    # What a run's or an export's JSON may name: the layers and the class of models.
    "rebuilding": {"acceleration", "arguments", "initializers", "layers", "models", "recursion"},
    # A thousand layers in a row, for whoever builds, reads or writes models.
    "recursion": set(),
    # Neither Keras nor a backend: of `data` and `export` what needs none.
    "serving": {"__init__", "arguments", "bounded", "choices", "data", "export", "lazy"},
    # Which part of a batch is computed: whoever computes may ask.
    "shards": set(),
    "startup": {"environment"},
    "streams": set(),
    # Above the parts that it measures, beside `sweeps`, whose seeds, names and bar it shares.
    "studies": {
        "__init__",
        "arguments",
        "blocks",
        "choices",
        "data",
        "durable",
        "environment",
        "errors",
        "evaluation",
        "initializers",
        "layers",
        "lazy",
        "models",
        "recursion",
        "streams",
        "sweeps",
        "training",
    },
    # Reads what is left without Keras; above `experiment`, which trains.
    "sweeps": {
        "arguments",
        "data",
        "durable",
        "environment",
        "errors",
        "experiment",
        "lazy",
        "models",
        "streams",
        "training",
    },
    "training": {
        "acceleration",
        "archives",
        "arguments",
        "bounded",
        "choices",
        "data",
        "durable",
        "environment",
        "errors",
        "evaluation",
        # The teacher of a training only predicts.
        "folding",
        "lazy",
        # A teacher may be a preset.
        "models",
        "ops",
        "rebuilding",
        "recursion",
        "presets",
        "workers",
    },
    # Several processes and devices for one training, below it.
    "workers": {"acceleration", "arguments", "data", "errors", "lazy"},
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
    # `torch` in ops/torch.py, `jax` in acceleration/jax_onednn.py
    allowed = {path.stem.split("_")[0]} if path.parent.name in ("ops", "acceleration") else set()
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


def imports_for_types(tree):
    """Returns the names that type checkers see imported and the module that each is from, without the package's."""
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module.removeprefix("kzoo.") for node in imports for alias in node.names}


def lazy_names(tree, package):
    """Returns the names of the table for `lazily` in `tree`, and the module that each comes from."""
    tables = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    (table,) = [ast.literal_eval(node) for node in tables]
    return {name: f"{package}{module}" for module, names in table.items() for name in names}


@pytest.mark.parametrize(
    "package", ["", "data.", "export.", "models.", "presets.", "serving.", "studies.", "sweeps.", "training."]
)
def test_lazy_names_are_those_that_type_checkers_see(package):
    tree = ast.parse((PACKAGE / package.removesuffix(".") / "__init__.py").read_text())
    assert lazy_names(tree, package) == imports_for_types(tree)


def test_all_names_everything_public_once():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    assert sorted(set(kzoo.__all__)) == sorted(kzoo.__all__)
    expected = {*imports_for_types(tree), "create_model", "list_models", *kzoo.list_models()}
    assert set(kzoo.__all__) == expected


def test_all_names_exist():
    assert [name for name in kzoo.__all__ if not hasattr(kzoo, name)] == []


def private_names_of(tree, own):
    """Yields the private names that `tree` takes from elsewhere: not those in `own`, which kzoo itself gives."""
    for name in imports_of(tree):
        parts = name.split(".")
        private = any(part.startswith("_") and not part.startswith("__") for part in parts[1:])
        if (private and parts[0] != "kzoo") or parts[:2] == ["keras", "src"] or parts[:2] == ["tensorflow", "python"]:
            yield name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr", "delattr"):
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else ""
            if is_private(name) and name not in own:
                yield name
        elif isinstance(node, ast.Constant) and re.fullmatch(
            r"(keras\.src|jax\._src|tensorflow\.python)[\w.]*", str(node.value)
        ):
            yield node.value


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def given_by(tree):
    """Returns the private names that `tree` itself gives: functions, methods, classes, variables and attributes."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


OF_PYTHON = {"_asdict", "_exit", "_replace", "_fields"}  # documented by Python


@pytest.mark.parametrize("path", [path for path in SOURCES if unit_of(path) != "acceleration"], ids=name_of)
def test_private_names_of_others_stand_in_acceleration_alone(path):
    tree = ast.parse(path.read_text())
    assert set(private_names_of(tree, given_by(tree) | OF_PYTHON)) == set()


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from keras.src.backend import get_autocast_scope", {"keras.src.backend.get_autocast_scope"}),
        ("from jax._src import core", {"jax._src.core"}),
        ("from tensorflow.python.util import nest", {"tensorflow.python.util.nest"}),
        ("importlib.import_module('keras.src.backend')", {"keras.src.backend"}),
        ("layer._inbound_nodes", {"_inbound_nodes"}),
        ("getattr(layer, '_inbound_nodes')", {"_inbound_nodes"}),
        ("self._own = 1\nself._own + other._own", set()),
        ("from kzoo.data import _x\nx.__dict__", set()),
    ],
)
def test_private_names_are_found_in_every_form(source, names):
    tree = ast.parse(source)
    assert set(private_names_of(tree, given_by(tree))) == names


def test_private_methods_of_keras_are_overridden_in_acceleration_alone():
    import keras

    bases = (keras.Layer, keras.Model, keras.optimizers.Optimizer, keras.callbacks.Callback, keras.losses.Loss)
    overridden = {
        f"{cls.__module__}.{cls.__name__}.{name}"
        for base in bases
        for cls in subclasses(base)
        if cls.__module__.startswith("kzoo.") and not cls.__module__.startswith("kzoo.acceleration.")
        for name in vars(cls)
        if is_private(name) and any(hasattr(of, name) for of in cls.__mro__ if not of.__module__.startswith("kzoo."))
    }
    assert {name for name in overridden if not name.endswith("_abc_impl")} == set()


def subclasses(cls):
    return {found for child in cls.__subclasses__() for found in {child, *subclasses(child)}}
