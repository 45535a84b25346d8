import dataclasses

import keras
import numpy as np
import pytest

import kzoo
from kzoo.parity import record


def one_block(*, input_shape, classes, dropout, seed):
    inputs = keras.Input(input_shape)
    x = kzoo.PixelNormalization(name="normalization")(inputs)
    x = kzoo.Conv2D(4, kernel_initializer=kzoo.HeNormal(seed, "stem"), name="stem")(x)
    x = kzoo.residual_block(x, 8, stride=2, dropout=dropout, seed=seed, name="block")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(classes, kernel_initializer=kzoo.HeNormal(seed, "head"), name="head")(x)
    return keras.Model(inputs, x, name="one_block")


@pytest.fixture(scope="session")
def digits():
    return kzoo.load_dataset("digits", image_size=(8, 8))


@pytest.fixture(scope="session")
def recorded(digits):
    """Records a model of one block for three steps, after what it is told to change in it."""

    def recorder(change=lambda model: None, name="planted", dataset=digits, **settings):
        def build(**arguments):
            model = one_block(**arguments)
            change(model)
            return model

        return dataclasses.replace(record(build, dataset, **{"steps": 3, **settings}), name=name)

    return recorder


@pytest.fixture(scope="session")
def sound(recorded):
    return recorded(name="sound")


@pytest.fixture
def altered(sound):
    """Returns the sound recording with one array changed, for what concerns the comparison alone."""

    def alter(key, array, name="altered"):
        return dataclasses.replace(sound, name=name, arrays={**sound.arrays, key: np.asarray(array)})

    return alter
