"""Every public name of kzoo has a docstring that says all there is to say, with an example that runs."""

import doctest
import inspect
import re

import keras
import numpy as np
import PIL.Image
import pytest

import kzoo

SECTIONS = "Args|Attributes|Call arguments|Returns|Yields|Raises|Example|References?"
NAMES = sorted(name for name in kzoo.__all__ if callable(getattr(kzoo, name)))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# What only kzoo itself calls: layers and models for accelerations, trainings for their runs.
INTERNAL = {"fits", "in_place", "create", "fill"}


def methods():
    """Yields the public methods of public classes by name, but for those whose contract is Keras's."""
    for name in NAMES:
        found = getattr(kzoo, name)
        if not inspect.isclass(found):
            continue
        bases = [base for base in found.__mro__[1:] if not base.__module__.startswith("kzoo")]
        for key, value in vars(found).items():
            inherited = any(hasattr(base, key) for base in bases)
            if not key.startswith("_") and not inherited and key not in INTERNAL:
                if isinstance(value, classmethod | staticmethod):
                    value = value.__func__
                if inspect.isfunction(value) or isinstance(value, property):
                    yield f"{name}.{key}", value


METHODS = dict(methods())
EVERYTHING = {name: getattr(kzoo, name) for name in NAMES} | METHODS


def sections(documented):
    """Returns the sections of a docstring by their titles; what stands before them has none."""
    parts = re.split(rf"^({SECTIONS}):$", inspect.getdoc(documented) or "", flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def arguments_of(documented):
    """Returns the names of a function's arguments, or of a class's constructor."""
    if isinstance(documented, property):
        return []
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(documented).parameters.values()
    return [each.name for each in parameters if each.name not in ("self", "cls") and each.kind not in kinds]


def source(documented):
    return inspect.getsource(inspect.unwrap(documented.fget if isinstance(documented, property) else documented))


@pytest.mark.parametrize("name", EVERYTHING)
def test_docstring_begins_with_a_summary_line(name):
    summary, _, rest = sections(EVERYTHING[name])[""].strip().partition("\n")
    assert summary.endswith(".")
    assert not rest.strip() or rest.startswith("\n")


@pytest.mark.parametrize("name", EVERYTHING)
def test_docstring_names_each_argument(name):
    said = sections(EVERYTHING[name])
    listed = said.get("Args", "") + said.get("Attributes", "")
    wanted = arguments_of(EVERYTHING[name])
    if name in METHODS:  # a short one may do it in its summary
        wanted = [each for each in wanted if f"`{each}`" not in said[""]]
    assert [each for each in wanted if not re.search(rf"^ +{each}:", listed, re.MULTILINE)] == []


@pytest.mark.parametrize("name", [name for name, one in EVERYTHING.items() if inspect.isfunction(one)])
def test_docstring_says_what_is_returned_and_raised(name):
    function, said = EVERYTHING[name], sections(EVERYTHING[name])
    if inspect.signature(function).return_annotation not in (None, "None", inspect.Signature.empty):
        assert {"Returns", "Yields"} & said.keys() or said[""].startswith(("Returns", "Yields", "Tells"))
    if re.search(r"^ +raise \w", source(function), re.MULTILINE):
        assert "Raises" in said or "Error`" in said[""]


@pytest.mark.parametrize("name", NAMES)
def test_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = sections(getattr(kzoo, name)).get("Example", "")
    known = {"kzoo": kzoo, "keras": keras, "np": np, "PIL": PIL}
    test = doctest.DocTestParser().get_doctest(text, known, name, None, 0)
    assert test.examples, "no example"
    said = []
    found = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    assert found.failed == 0, "".join(said)


def test_public_names_are_many():
    assert len(NAMES) > 80
    assert len(METHODS) > 30
