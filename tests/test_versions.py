"""The lowest constraints, which tox runs the tests on, are the lower bounds that pyproject.toml promises."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOWEST = ROOT / "tests" / "constraints-lowest.txt"
# Module -> the distribution that brings it, where the names differ.
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn"}
TOOLS = {"dev", "docs"}  # what only ever runs at the versions of constraints.txt


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements():
    """Yields every requirement of `kzoo` and of its extras but those of developers' tools."""
    yield from map(Requirement, project()["dependencies"])
    for extra, texts in project()["optional-dependencies"].items():
        if extra not in TOOLS:
            yield from map(Requirement, texts)


def lower_bounds(found):
    """Returns, by package, the versions that its requirements start at: one, unless extras disagree."""
    bounds = {}
    for requirement in found:
        starts = {Version(each.version) for each in requirement.specifier if each.operator == ">="}
        bounds.setdefault(canonicalize_name(requirement.name), set()).update(starts)
    return bounds


def pins():
    """Returns, by package, the version of its line in the lowest constraints."""
    lines = [line.partition("#")[0].strip() for line in LOWEST.read_text().splitlines()]
    found = [Requirement(line) for line in lines if line]
    assert [str(each) for each in found if [part.operator for part in each.specifier] != ["=="]] == []
    names = [canonicalize_name(each.name) for each in found]
    assert sorted(set(names)) == sorted(names)
    return {name: Version(next(iter(each.specifier)).version) for name, each in zip(names, found, strict=True)}


def test_every_requirement_has_one_lower_bound():
    assert {name: starts for name, starts in lower_bounds(requirements()).items() if len(starts) != 1} == {}


def test_lowest_constraints_are_exactly_the_lower_bounds():
    assert {name: {version} for name, version in pins().items()} == lower_bounds(requirements())


def test_build_and_test_requirements_agree_on_hatchling():
    system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    bounds = lower_bounds(map(Requirement, system["requires"]))
    assert bounds["hatchling"] == lower_bounds(requirements())["hatchling"]


def test_each_pythons_classifier_has_its_environments():
    versions = [text.split(" :: ")[-1] for text in project()["classifiers"] if "Python :: 3." in text]
    tox = (ROOT / "tox.ini").read_text()
    names = {version: f"py{version.replace('.', '')}-{{tensorflow,jax,torch}}-cpu" for version in versions}
    missing = [version for version, name in names.items() if name not in tox]
    assert missing == []


def test_bounds_of_two_extras_that_disagree_are_found():
    found = [Requirement("openvino>=2026.0"), Requirement("openvino>=2025.4,<2027"), Requirement("numpy")]
    assert lower_bounds(found) == {"openvino": {Version("2026.0"), Version("2025.4")}, "numpy": set()}


def modules_imported(source):
    """Returns the packages that a source imports, wherever in it, but those of Python and kzoo."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"kzoo"}


def declared(*extras):
    texts = [
        *project()["dependencies"],
        *(text for name in extras for text in project()["optional-dependencies"][name]),
    ]
    return {canonicalize_name(Requirement(text).name) for text in texts}


def undeclared(paths, known):
    """Returns the packages that files import and none of the known distributions brings, and in which files."""
    found = {}
    for path in paths:
        for module in modules_imported(path.read_text()):
            if canonicalize_name(DISTRIBUTIONS.get(module, module)) not in known:
                found.setdefault(module, []).append(path.name)
    return found


EXTRAS = ("tensorflow", "jax", "torch", "onnx", "litert", "openvino", "quantize", "serve", "hub", "heif")


def test_every_package_that_kzoo_imports_is_declared():
    assert undeclared((ROOT / "kzoo").rglob("*.py"), declared(*EXTRAS)) == {}


def test_every_package_that_applications_import_is_declared():
    own = {canonicalize_name(path.stem) for path in (ROOT / "applications").glob("*.py")}  # each other
    assert undeclared((ROOT / "applications").glob("*.py"), own | declared(*EXTRAS)) == {}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_error_names_the_extra_of_what_may_be_missing(extra):
    sources = [path.read_text() for path in (ROOT / "kzoo").rglob("*.py")]
    handover = (ROOT / "kzoo" / "export" / "handover.py").read_text()  # builds 'kzoo[...]' from its table
    assert any(f"kzoo[{extra}]" in source for source in sources) or f'"{extra}"' in handover


def test_imports_are_found_wherever_they_stand():
    assert modules_imported("import a.b, os\ndef f():\n    from c.d import e\nfrom kzoo import g") == {"a", "c"}
