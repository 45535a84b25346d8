import numpy as np
import pytest

import kzoo
from kzoo.sweeps.grid import directory_name, parse_grid, seeds_of, settings_of


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("learning_rate=0.1,0.2", [0.1, 0.2]),
        ("epochs=3", [3]),
        ("schedule=cosine, linear", ["cosine", "linear"]),
        ("milestones=[0.5, 0.75],[0.6]", [[0.5, 0.75], [0.6]]),
        ("optimizer_arguments={beta_1 = 0.8, beta_2 = 0.9},{}", [{"beta_1": 0.8, "beta_2": 0.9}, {}]),
        ("teacher='a,b',c", ["a,b", "c"]),
        ("flip=true,false", [True, False]),
    ],
)
def test_values_stand_between_commas(given, values):
    assert list(parse_grid([given]).values()) == [values]


@pytest.mark.parametrize("given", [["epochs"], ["=3"], ["epochs=3", "epochs=4"]])
def test_values_without_a_field_or_of_one_twice_are_told(given):
    with pytest.raises(ValueError, match="`--set` must .* Received: "):
        parse_grid(given)


def test_grid_has_each_combination():
    found = settings_of({"epochs": (1, np.int64(2)), "flip": [True, False]}, kzoo.Recipe())
    assert found == [{"epochs": a, "flip": b} for a in (1, 2) for b in (True, False)]
    assert type(found[-1]["epochs"]) is int
    assert settings_of({}, kzoo.Recipe()) == [{}]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"epochs": []}, "`grid` must have a list of values for each field. Received: epochs="),
        ({"epochs": "12"}, "`grid` must have a list of values"),
        ({"epochs": 3}, "`grid` must have a list of values"),
        ({"epoch": [3]}, "epoch=3: A recipe has the fields .* Did you mean 'epochs'?"),
        ({"epochs": [1, 0]}, "epochs=0: `epochs` must be at least 1."),
        ({"epochs": [object()]}, "`grid` must have values that a recipe's file has."),
    ],
)
def test_grid_that_makes_no_recipes_is_told_before_anything_is_trained(grid, message):
    with pytest.raises(ValueError, match=message):
        settings_of(grid, kzoo.Recipe())


def test_seeds_are_a_number_or_a_list():
    assert (seeds_of(3), seeds_of([5, 2])) == ([0, 1, 2], [5, 2])


@pytest.mark.parametrize("seeds", [0, -1, True, 1.5, "3", None, [], [1, 1], [-1], [True], [2**64]])
def test_seeds_that_are_none_are_told(seeds):
    with pytest.raises(ValueError, match="must .*Received"):
        seeds_of(seeds)


def test_folder_is_named_after_the_settings_and_no_two_alike():
    assert directory_name({}, 3) == "recipe-seed3"
    assert directory_name({"learning_rate": 0.1, "schedule": "cosine"}, 0) == "learning_rate=0.1-schedule=cosine-seed0"
    odd = [{"teacher": text} for text in ("../x", "..-x", "a/b", "a_b", "x" * 500, "x" * 501, "", "a\0b", "A", "Ä")]
    names = [directory_name(settings, 0) for settings in odd]
    assert len(set(names)) == len(odd)
    assert all(len(name) < 200 and set(name).isdisjoint('/\\\0:*?"<>| ') and name[0] not in "._" for name in names)
