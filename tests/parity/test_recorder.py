import dataclasses

import keras
import numpy as np
import pytest

import kzoo
from kzoo import environment
from kzoo.parity import TOLERANCES, parity_recipe, record
from kzoo.parity.stopping import scripted_stopping
from kzoo.training.loop import compile_model, training_batches


def test_recording_has_every_quantity_in_the_order_of_computation(sound):
    quantities = list(dict.fromkeys(key.split("/")[0] for key in sound.arrays))
    assert quantities == [quantity for quantity in TOLERANCES if quantity != "drift"]


def test_recording_says_what_was_computed_on_what(sound):
    settings = sound.settings
    assert (settings["model"], settings["steps"], settings["seed"]) == ("one_block", 3, 0)
    assert settings["recipe"] == parity_recipe().record() | {"milestones": []}
    assert sound.environment["backend"] == keras.backend.backend()
    assert sound.environment["device"] == environment.device_kind()
    assert sound.environment["versions"]["keras"] == keras.__version__


def test_recipe_has_all_that_a_training_does():
    recipe = parity_recipe()
    assert (recipe.batch_size, recipe.learning_rate, recipe.schedule) == (32, 0.01, "linear")
    assert min(recipe.momentum, recipe.weight_decay, recipe.warmup, recipe.crop_padding) > 0


def test_recorded_steps_are_those_of_fit(digits):
    few = dataclasses.replace(digits, train=digits.train.take(np.arange(80)))
    model = kzoo.resnet(8, input_shape=few.image_shape, dropout=0.1)
    kzoo.set_pixel_statistics(model, few, parity_recipe("float32"))
    batches = training_batches(few, parity_recipe("float32"), 0)
    compile_model(model, parity_recipe("float32"), batches.batches_per_epoch)
    model.fit(batches, epochs=1, shuffle=False, verbose=0)
    recorded = record(lambda **arguments: kzoo.resnet(8, **arguments), few, steps=3, dtype="float32")
    found = recorded.quantity("final weights")
    assert int(found["stage1_block1_dropout/step"]) == batches.batches_per_epoch == 3
    for weight in model.weights:
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(weight), found[weight.path], rtol=1e-5, atol=1e-6, err_msg=weight.path
        )


def test_masks_drop_at_the_rate_and_differ_by_step(sound):
    masks = list(map(str, sound.quantity("masks").values()))
    assert len(set(masks)) == len(masks) == 3


def test_recording_without_dropout_has_no_masks(recorded):
    assert recorded(dropout=0.0, steps=1).quantity("masks") == {}


def test_steps_go_on_into_the_next_epoch(digits, recorded):
    small = dataclasses.replace(digits, train=digits.train.take(np.arange(40)))
    batches = [str(digest) for digest in recorded(steps=3, dataset=small).quantity("batches").values()]
    assert len(set(batches)) == 3


def test_drift_is_recorded_for_both_precisions_and_rates(recorded):
    drift = recorded(drift=True, steps=2).quantity("drift")
    assert list(drift) == ["float32 at 0.01", "float64 at 0.01", "float32 at 0.1", "float64 at 0.1"]
    np.testing.assert_allclose(drift["float32 at 0.1"], drift["float64 at 0.1"], rtol=1e-4)
    assert not np.array_equal(drift["float32 at 0.1"], drift["float64 at 0.1"])


def test_scripted_stopping_is_where_the_scripts_say():
    found = {name: epochs.tolist() for name, epochs in scripted_stopping().items()}
    assert found == {
        "overfits": [6, 3, 3],
        "improves too little": [3, 0, 0],
        "recovers in time": [7, 4, 4],
        "improves to the end": [0, 5, 5],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "`steps` must be 1 or larger. Received: steps=0."),
        ({"dtype": "float16"}, "`dtype` must be one of float64, float32. Received: dtype='float16'."),
        ({"device": "tpu"}, "`device` must be one of cpu, gpu. Received: device='tpu'."),
        ({"dropout": 1.0}, "`dropout` must be at least 0 and below 1. Received: dropout=1.0."),
        ({"model": "resnet21"}, "`name` must be one of .* Received: name='resnet21'."),
    ],
)
def test_bad_arguments_are_named(digits, arguments, message):
    with pytest.raises(ValueError, match=message):
        record(arguments.pop("model", "resnet20"), digits, **arguments)


def test_gpu_that_is_not_there_is_an_error(digits, monkeypatch):
    monkeypatch.setattr("kzoo.environment.device_kind", lambda: "cpu")
    with pytest.raises(ValueError, match=r"`device` is 'gpu', and \w+ sees none. `kzoo doctor` may say why."):
        record("resnet20", digits, device="gpu")


def test_recording_on_another_device_than_it_says_is_an_error(recorded, monkeypatch):
    monkeypatch.setattr("kzoo.environment.device_of", lambda variable: "gpu")
    with pytest.raises(ValueError, match=r"must be where the backend computes. Received: 'cpu', and it is 'gpu'."):
        recorded(device="cpu")
