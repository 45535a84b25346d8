"""Models of a thousand layers in a row, of kzoo's class and of Keras's, wherever kzoo builds them anew."""

import json
import sys

import keras
import numpy as np
import pytest

import kzoo
from kzoo.recursion import deep_recursion

DEPTH = LIMIT = 500  # fewer calls within each other than Python allows by itself: the time grows with their square


@pytest.fixture(scope="module")
def deep():
    images = x = keras.Input((1, 1, 3))
    for number in range(DEPTH):
        x = keras.layers.ReLU(name=f"relu{number}")(x)
    x = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))
    with deep_recursion():
        return keras.Model(images, x, name="deep")


@pytest.fixture(autouse=True)
def limit():
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(LIMIT)
    yield
    after = sys.getrecursionlimit()
    sys.setrecursionlimit(before)
    assert after == LIMIT


def test_depth_is_beyond_what_keras_alone_can_build(deep):
    with pytest.raises(RecursionError):
        keras.Model(deep.input, deep.output)


def test_run_of_a_deep_model_is_loaded(deep, tmp_path):
    architecture = json.loads(deep.to_json())
    data = {"name": "noise", "source": None, "class_names": []}
    config = {
        "model": {"name": deep.name, "architecture": architecture},
        "recipe": {"precision": "float32", "epochs": 1},
    }
    config |= {"data": data, "seed": 0}
    run = kzoo.Run.create(tmp_path / "run", config)
    kzoo.save_weights(deep, run.weights_path)
    loaded = run.load_model()
    np.testing.assert_array_equal(loaded.get_weights()[0], deep.get_weights()[0])


def test_deep_model_is_folded(deep):
    assert len(kzoo.fold_batch_norm(deep).layers) == len(deep.layers)
