import dataclasses
import json

import numpy as np
import pytest

import kzoo
from kzoo.training.schedule import schedule_for


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1. Received: epochs=0."),
        ({"batch_size": 0}, "`batch_size` must be at least 1."),
        ({"learning_rate": 0}, "`learning_rate` must be above 0."),
        ({"momentum": 1}, "`momentum` must be at least 0 and below 1."),
        ({"momentum": 0}, "`nesterov` must be false without momentum."),
        ({"weight_decay": -1}, "`weight_decay` must be at least 0."),
        ({"schedule": "poly"}, "`schedule` must be one of .* Received: schedule='poly'."),
        ({"decay_on": "bias"}, "`decay_on` must be one of"),
        ({"precision": "float16"}, "`precision` must be one of"),
        ({"warmup": 1}, "`warmup` must be at least 0 and below 1."),
        ({"milestones": (0.7, 0.5)}, "`milestones` must be in ascending order."),
        ({"milestones": (100,)}, "`milestones` must be fractions between 0 and 1."),
        ({"label_smoothing": 1}, "`label_smoothing` must be at least 0 and below 1."),
        ({"patience": 0}, "`patience` must be at least 1, or None."),
        ({"min_delta": -0.1}, "`min_delta` must be at least 0."),
        ({"epochs": 2.0}, "`epochs` must be an integer. Received: epochs=2.0."),
        ({"epochs": True}, "`epochs` must be an integer. Received: epochs=True."),
        ({"batch_size": "32"}, "`batch_size` must be an integer. Received: batch_size='32'."),
        ({"patience": float("nan")}, "`patience` must be an integer. Received: patience=nan."),
        ({"patience": False}, "`patience` must be an integer. Received: patience=False."),
        ({"learning_rate": float("nan")}, "`learning_rate` must be a finite number. Received: learning_rate=nan."),
        ({"learning_rate": "0.1"}, "`learning_rate` must be a finite number. Received: learning_rate='0.1'."),
        ({"learning_rate": None}, "`learning_rate` must be a finite number. Received: learning_rate=None."),
        ({"weight_decay": np.inf}, "`weight_decay` must be a finite number. Received: weight_decay=inf."),
        ({"gamma": True}, "`gamma` must be a finite number. Received: gamma=True."),
        ({"milestones": 0.5}, "`milestones` must be a tuple of numbers. Received: milestones=0.5."),
        ({"milestones": ("0.5",)}, "`milestones` must be a finite number. Received: milestones='0.5'."),
        ({"nesterov": 1}, "`nesterov` must be True or False. Received: nesterov=1."),
        ({"flip": "no"}, "`flip` must be True or False. Received: flip='no'."),
        ({"flip_mode": "never"}, "`flip_mode` must be one of random, alternate. Received: flip_mode='never'."),
        ({"erase": 2}, "`erase` must be between 0 and 1. Received: erase=2.0."),
        ({"erase_area": (0.1,)}, "`erase_area` must be two shares above 0, up to 1, in ascending order."),
        ({"erase_area": (0.4, 0.1)}, "`erase_area` must be two shares"),
        ({"erase_aspect": 0}, "`erase_aspect` must be above 0, up to 1. Received: erase_aspect=0.0."),
        ({"erase_fill": "mean"}, "`erase_fill` must be one of noise, grey. Received: erase_fill='mean'."),
        ({"mixup": -0.1}, "`mixup` must be between 0 and 100."),
        ({"cutmix": 101}, "`cutmix` must be between 0 and 100."),
        ({"mix_share": 1.1}, "`mix_share` must be between 0 and 1."),
        ({"image_scales": (0.5, 1.5)}, "`image_scales` must be numbers above 0, up to 1."),
    ],
)
def test_recipe_says_what_was_expected(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(kzoo.Recipe(), **change)


def test_scalars_of_numpy_are_taken_as_those_of_python():
    changes = {
        "epochs": np.int64(3),
        "patience": np.uint8(2),
        "learning_rate": np.float32(0.5),
        "nesterov": np.bool_(True),
    }
    recipe = dataclasses.replace(kzoo.Recipe(), milestones=np.array([0.25, 0.5]), warmup=0, **changes)
    assert recipe == kzoo.Recipe(epochs=3, patience=2, learning_rate=0.5, milestones=(0.25, 0.5), warmup=0.0)
    values = dataclasses.asdict(recipe)
    assert json.loads(json.dumps(values)) == {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }


@pytest.mark.parametrize("patience", [False, "0"])
def test_recipe_override_takes_no_other_zero_as_none(patience):
    with pytest.raises(ValueError, match="`patience` must be an integer."):
        kzoo.recipe("default").override(patience=patience)


def test_recipe_of_unknown_name_is_an_error():
    with pytest.raises(ValueError, match="one of default, fast, .* Received: name='best'."):
        kzoo.recipe("best")


@pytest.mark.parametrize("patience", [0, None])
def test_recipe_override_takes_a_patience_of_0_or_none_as_none(patience):
    recipe = kzoo.recipe("default").override(batch_size=7, patience=patience)
    assert (recipe.epochs, recipe.batch_size, recipe.patience) == (kzoo.recipe("default").epochs, 7, None)


def test_recipe_override_refuses_none_where_there_must_be_a_value():
    with pytest.raises(ValueError, match="`epochs` must be .*Received: epochs=None"):
        kzoo.recipe("default").override(epochs=None)


def test_recipe_override_of_an_unknown_field_is_an_error():
    with pytest.raises(ValueError, match="A recipe has the fields .* Received: rate."):
        kzoo.recipe("default").override(rate=3)


def test_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        kzoo.recipe("default").epochs = 3


def test_akamaster_divides_the_rate_after_100_and_150_epochs():
    rates = schedule_for(kzoo.recipe("akamaster"), steps_per_epoch=352).rates
    changes = np.flatnonzero(np.diff(rates)) + 1
    assert [*changes] == [100 * 352, 150 * 352]
    np.testing.assert_allclose(rates[[0, 100 * 352, 150 * 352]], [0.1, 0.01, 0.001])


def test_he2015_divides_the_rate_after_32000_and_48000_steps():
    rates = schedule_for(kzoo.recipe("he2015"), steps_per_epoch=-(-45_000 // 128)).rates
    assert [*(np.flatnonzero(np.diff(rates)) + 1)] == [32_000, 48_000]
    assert 64_000 <= len(rates) < 64_000 + 352


@pytest.mark.parametrize("name", ["akamaster", "he2015"])
def test_recipes_of_the_papers_have_their_constants(name):
    recipe = kzoo.recipe(name)
    assert (recipe.batch_size, recipe.momentum, recipe.nesterov) == (128, 0.9, False)
    assert (recipe.weight_decay, recipe.decay_on, recipe.label_smoothing) == (1e-4, "all", 0.0)
    assert (recipe.crop_padding, recipe.pad_mode, recipe.flip) == (4, "constant", True)


def test_chenyaofo_has_the_constants_of_its_configuration():
    recipe = kzoo.recipe("chenyaofo")
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.momentum) == (200, 256, 0.1, 0.9)
    assert (recipe.nesterov, recipe.weight_decay, recipe.decay_on, recipe.pad_mode) == (True, 5e-4, "all", "constant")
    rates = schedule_for(recipe, steps_per_epoch=2).rates
    np.testing.assert_allclose(rates, 0.05 * (1 + np.cos(np.pi * np.arange(400) / 400)))


def test_fast_is_one_cycle_of_30_epochs():
    recipe = kzoo.recipe("fast")
    rates = schedule_for(recipe, steps_per_epoch=100).rates
    assert (len(rates), np.argmax(rates), recipe.patience) == (3000, 449, None)
    assert (max(rates), rates[0], rates[-1]) == pytest.approx((0.4, 0.0, 0.0), abs=2e-3)


@pytest.mark.parametrize("name", ["akamaster", "he2015", "chenyaofo"])
def test_recipes_of_the_papers_do_not_stop_early(name):
    assert kzoo.recipe(name).patience is None
