import keras
import numpy as np
import pytest
from PIL import Image

import kzoo


class FakeRun:
    """A run whose model answers to a grey image with its level times these factors."""

    def __init__(self, factors, class_names):
        images = keras.Input((2, 2, 3))
        x = keras.layers.GlobalAveragePooling2D()(images)
        dense = keras.layers.Dense(len(factors), use_bias=False)
        self.model = keras.Model(images, dense(x))
        dense.set_weights([np.stack([np.float32(factors) / 3] * 3)])
        self.class_names = class_names

    def load_model(self, custom_objects=None):
        return self.model

    def decoding(self, model):
        return kzoo.Decoding(model.input_shape[1:3])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "photo [1].png"
    Image.new("RGB", (2, 2), (100, 100, 100)).save(path)
    return path


def test_likeliest_classes_come_first_and_ties_by_their_number(file):
    (prediction,) = kzoo.predict_files(FakeRun([0, 0.01, 0.01], "abc"), [file], top=2)
    assert prediction.classes == ("b", "c")
    assert prediction.probabilities[0] == prediction.probabilities[1] == pytest.approx(0.4223, abs=1e-4)


def test_prediction_of_nan_is_an_error_that_names_the_file(file):
    with pytest.raises(ValueError, match=r"The model must predict numbers\. Received: NaN for .*photo \[1\]\.png"):
        kzoo.predict_files(FakeRun([0, np.nan, 1], "abc"), [file])


def test_names_must_be_as_many_as_the_outputs(file):
    with pytest.raises(ValueError, match="must name 3 classes. Received: 2 names"):
        kzoo.predict_files(FakeRun([0, 1, 2], "ab"), [file])
