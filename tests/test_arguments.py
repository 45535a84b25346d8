"""What callers pass: integers of Python and NumPy, everywhere."""

import json

import keras
import numpy as np
import pytest

import kzoo
from kzoo.arguments import integer


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_integer_becomes_pythons(value):
    assert integer(value, "size") == 3
    assert type(integer(value, "size")) is int


@pytest.mark.parametrize("value", [True, np.bool_(True), 3.0, np.float32(3), "3", None, (3,)])
def test_what_is_no_integer_is_told(value):
    with pytest.raises(ValueError, match="`size` must be an integer. Received: size="):
        integer(value, "size")


def test_smallest_is_told():
    with pytest.raises(ValueError, match="`size` must be at least 1. Received: size=0."):
        integer(np.int64(0), "size", least=1)


def test_models_take_integers_of_numpy():
    shape = np.array([8, 8, 3])
    form = {"input_shape": shape, "classes": np.int64(3), "seed": np.uint8(1), "dropout": 0.1}
    for model in (kzoo.resnet(np.int32(8), **form), kzoo.wide_resnet(np.int32(10), np.int64(1), **form)):
        again = keras.models.model_from_json(model.to_json())
        assert again.output_shape == (None, 3)
    expected = kzoo.resnet(8, input_shape=(8, 8, 3), classes=3, seed=1, dropout=0.1)
    for ours, theirs in zip(kzoo.resnet(np.int32(8), **form).get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "layer",
    [
        kzoo.Conv2D(np.int64(4), np.int32(3), np.int8(2), kernel_initializer=kzoo.HeNormal(np.int64(0), "a")),
        kzoo.ZeroPadShortcut(np.int64(4), np.int64(2)),
        kzoo.Dropout(0.5, np.int64(1)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_take_integers_of_numpy(layer):
    config = json.loads(json.dumps(layer.get_config()))
    assert type(layer).from_config(config).get_config() == layer.get_config()


IMAGES = keras.Input((8, 8, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kzoo.resnet(8.0), "`depth` must be an integer. Received: depth=8.0."),
        (lambda: kzoo.resnet(True), "`depth` must be an integer. Received: depth=True."),
        (lambda: kzoo.wide_resnet(10, 1.5), "`width` must be an integer. Received: width=1.5."),
        (lambda: kzoo.resnet20(classes=10.0), "`classes` must be an integer. Received: classes=10.0."),
        (lambda: kzoo.resnet20(seed=0.5), "`seed` must be an integer, 0 or larger and below 2.*. Received: seed=0.5."),
        (lambda: kzoo.resnet20(input_shape=(32.0, 32, 3)), "`input_shape` must be .height, width, channels."),
        (lambda: kzoo.resnet20(input_shape=32), "`input_shape` must be .height, width, channels."),
        (lambda: kzoo.residual_block(IMAGES, 4.0, name="b"), "`filters` must be an integer. Received: filters=4.0."),
        (
            lambda: kzoo.residual_block(IMAGES, 4, stride=0, name="b"),
            "`stride` must be at least 1. Received: stride=0.",
        ),
        (lambda: kzoo.residual_stage(IMAGES, 4, 1.0, name="s"), "`blocks` must be an integer. Received: blocks=1.0."),
        (lambda: kzoo.Conv2D(4.0), "`filters` must be an integer. Received: filters=4.0."),
        (lambda: kzoo.Conv2D(4, True), "`kernel_size` must be an integer. Received: kernel_size=True."),
        (lambda: kzoo.ZeroPadShortcut(0), "`filters` must be at least 1. Received: filters=0."),
        (lambda: kzoo.Dropout(0.5, 1.5), "`seed` must be an integer. Received: seed=1.5."),
        (lambda: kzoo.Augmentation(crop_padding=4.0), "`crop_padding` must be an integer. Received: crop_padding=4.0."),
        (
            lambda: kzoo.load_dataset(split_seed=-1),
            "`split_seed` must be an integer, 0 or larger .* Received: split_seed=-1.",
        ),
        (lambda: kzoo.serve("nowhere", port=True), "`port` must be an integer. Received: port=True."),
    ],
)
def test_what_is_no_integer_is_told_by_its_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
