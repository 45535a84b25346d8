import re
from typing import get_args

import pytest

from kzoo import choices
from kzoo.data.originals import ORIGINALS
from kzoo.models import list_models
from kzoo.presets import LAYOUTS, list_presets
from kzoo.training import RECIPES


@pytest.mark.parametrize(
    ("given", "known", "expected"),
    [
        ("resnet21", list_models(), "resnet20"),
        ("resnet1201", list_models(), "resnet1202"),
        ("resnet_56", list_models(), "resnet56"),
        ("ResNet20_V2", list_models(), "resnet20_v2"),
        ("wide_resnet28", list_models(), "wide_resnet28_10"),
        ("plain", list_models(), "plain20"),
        ("vgg", list_models(), None),
        ("digit", ["digits", *ORIGINALS], "digits"),
        ("cifar-100", ["digits", *ORIGINALS], "cifar100"),
        ("akamster", list(RECIPES), "akamaster"),
        ("akamaster-resnet56", list_presets(), "akamaster_resnet56"),
        ("tset", get_args(choices.SplitName), "test"),
        ("valid", get_args(choices.SplitName), "validation"),
        ("savedmodel", get_args(choices.Format), "saved_model"),
        ("clases", ["input_shape", "classes", "class_names"], "classes"),
        ("", ["a"], None),
        ("a", [], None),
    ],
)
def test_nearest_is_the_fewest_changes_away_and_of_several_the_first(given, known, expected):
    assert choices.nearest(given, known) == expected


@pytest.mark.parametrize(
    ("a", "b", "expected"), [("", "", 0), ("abc", "abc", 0), ("abc", "adc", 1), ("kitten", "sitting", 3)]
)
def test_changes_are_counted_by_letters(a, b, expected):
    from kzoo.choices import _changes

    assert _changes(a, b) == _changes(b, a) == expected


def test_check_choice_names_all_of_them_and_the_nearest():
    message = re.escape("`device` must be one of cpu, gpu. Received: device='gpus'. Did you mean 'gpu'?")
    with pytest.raises(ValueError, match=message):
        choices.check_choice("device", "gpus", ("cpu", "gpu"))


def test_names_of_layouts_are_those_of_the_table():
    assert set(get_args(choices.LayoutName)) == set(LAYOUTS)
