import inspect
import pickle

import pytest

import kzoo
from kzoo.models import named


def test_names_without_underscore_are_the_models_and_nothing_else():
    assert [name for name in vars(named) if not name.startswith("_")] == kzoo.list_models()


@pytest.mark.parametrize("package", [kzoo, kzoo.models], ids=["kzoo", "kzoo.models"])
def test_package_names_every_model(package):
    assert set(kzoo.list_models()) <= set(package.__all__)
    assert {name: getattr(package, name) for name in kzoo.list_models()} == {
        name: getattr(named, name) for name in kzoo.list_models()
    }


def test_no_other_public_function_builds_a_model_by_a_name_of_its_own():
    # `resnet` and `wide_resnet` take their sizes; `create_model` takes the name.
    takers = {name for name in kzoo.__all__ if inspect.isfunction(made := getattr(kzoo, name)) and builds(made)}
    assert takers == {*kzoo.list_models(), "create_model", "resnet", "wide_resnet"}


def builds(function):
    return "Arguments" in str(inspect.signature(function))


@pytest.mark.parametrize("name", kzoo.list_models())
def test_constructor_goes_by_its_name(name):
    constructor = getattr(kzoo, name)
    assert (constructor.__name__, constructor.__qualname__, constructor.__module__) == (name, name, named.__name__)
    assert pickle.loads(pickle.dumps(constructor)) is constructor
    assert f"kzoo.{name}(classes=100)" in constructor.__doc__
    assert list(inspect.signature(constructor).parameters) == ["arguments"]


# 1202 layers take long to build; their names come from the same line as their settings.
@pytest.mark.parametrize("name", [name for name in kzoo.list_models() if "1202" not in name])
def test_model_has_the_name_that_it_is_created_by(name):
    assert kzoo.create_model(name, include_top=False, input_shape=(8, 8, 3)).name == name


@pytest.mark.parametrize("name", ["resnet20", "resnet20_v2", "plain20", "wide_resnet16_4"])
def test_model_takes_another_name(name):
    assert kzoo.create_model(name, name="mine").name == "mine"


def test_argument_goes_before_the_default_of_a_name():
    assert kzoo.plain20(shortcut="projection").count_params() == kzoo.resnet20(shortcut="projection").count_params()
    assert kzoo.resnet20(order="preact").name == "resnet20_v2"
