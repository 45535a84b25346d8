"""Images of one and of four channels, not square, from files to an export's answers."""

import keras
import numpy as np
import pytest
from PIL import Image

import kzoo


@pytest.fixture
def photos(tmp_path):
    random = np.random.RandomState(0)
    for number in range(24):
        path = tmp_path / "photos" / ("dark", "light")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.randint(0, 100, (9, 14, 4)) + 100 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "photos"


@pytest.mark.parametrize("channels", [1, 4])
def test_any_channels_are_trained_evaluated_and_predicted(photos, tmp_path, channels):
    dataset = kzoo.load_dataset(photos, image_size=(8, 16), resize="crop", channels=channels)
    assert dataset.image_shape == (8, 16, channels)
    assert len(dataset.pixel_mean) == channels
    model = kzoo.resnet(8, input_shape=dataset.image_shape, classes=2)
    recipe = kzoo.recipe("default").override(epochs=1, patience=0, batch_size=8)
    run = kzoo.fit(model, dataset, recipe, run_dir=tmp_path / "run", verbose=0)
    again = kzoo.evaluate_saved(run.directory)
    assert again.loss == pytest.approx(run.metrics["test_loss"], rel=1e-5)
    found = kzoo.predict_files(run, [photos / name for name in dataset.test.names], top=2)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(run.load_model().predict(dataset.test.images, verbose=0)))
    for one, probabilities in zip(found, expected, strict=True):
        assert sorted(one.probabilities) == pytest.approx(sorted(probabilities.tolist()), abs=1e-5)


def test_a_model_of_any_size_is_that_of_each_size(photos, tmp_path):
    model = kzoo.resnet(8, input_shape=(None, None, 3), classes=2)
    assert model.input_shape == (None, None, None, 3)
    for size in ((8, 16), (24, 10)):
        fixed = kzoo.resnet(8, input_shape=(*size, 3), classes=2)
        fixed.set_weights(model.get_weights())
        images = np.random.RandomState(0).randint(0, 256, (3, *size, 3)).astype(np.uint8)
        expected = fixed.predict(images, verbose=0)
        np.testing.assert_allclose(model.predict(images, verbose=0), expected, rtol=1e-4, atol=1e-4)
    dataset = kzoo.load_dataset(photos, image_size=(8, 16))
    recipe = kzoo.recipe("default").override(epochs=1, patience=0, batch_size=8)
    run = kzoo.fit(model, dataset, recipe, run_dir=tmp_path / "run", verbose=0)
    assert kzoo.evaluate_saved(run.directory).loss == pytest.approx(run.metrics["test_loss"], rel=1e-4)
    assert len(kzoo.predict_files(run, photos / dataset.test.names[0])) == 1
    with pytest.raises(ValueError, match="`model` must map images .* of a known size"):
        kzoo.export_model(run.load_model(), tmp_path / "out")
