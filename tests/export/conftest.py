import importlib.util

import pytest

import kzoo


@pytest.fixture(scope="module")
def digits():
    return kzoo.load_dataset("digits", image_size=(16, 16))


@pytest.fixture(scope="module")
def model(digits):
    return kzoo.resnet(8, input_shape=digits.image_shape, seed=1)


@pytest.fixture(scope="module")
def exported(model, digits, tmp_path_factory):
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("needs TensorFlow")
    out = tmp_path_factory.mktemp("exports")
    return kzoo.export_model(model, out, name="digits", class_names=digits.class_names, images=digits.test.images)
