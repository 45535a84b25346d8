"""The lowest constraints, which tox runs the tests on, are the lower bounds that pyproject.toml promises."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOWEST = ROOT / "tests" / "constraints-lowest.txt"
TOOLS = {"dev"}  # what only ever runs at the versions of constraints.txt


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
