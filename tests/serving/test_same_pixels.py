"""A file has the same pixels wherever it goes: in training, evaluation and prediction, in an export and its server."""

import base64

import keras
import numpy as np
import pytest
from needs import SERVER, skip_without
from PIL import Image

import kzoo


def awkward_photos(folder):
    """Images as cameras and people make them, of two classes, larger and smaller than the model's 24x16 pixels."""
    random = np.random.RandomState(0)
    for number in range(24):
        height, width = ((40, 30), (20, 50), (11, 13))[number % 3]
        image = Image.fromarray(random.randint(0, 256, (height, width, 4)).astype(np.uint8))
        exif = Image.Exif()
        exif[0x0112] = number % 8 + 1
        path = folder / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = number % 6
        if kind == 0:
            image.save(path, exif=exif)  # transparent
        elif kind == 1:
            image.convert("RGB").save(path.with_suffix(".jpg"), exif=exif)
        elif kind == 2:
            image.convert("L").save(path.with_suffix(".JPEG"), exif=exif)
        elif kind == 3:
            image.convert("RGB").quantize(16).save(path, transparency=3)
        elif kind == 4:
            Image.fromarray(random.randint(0, 65536, (height, width)).astype(np.uint16)).save(path)
        else:
            image.convert("1").save(path)
    return folder


@pytest.fixture(scope="module", params=["stretch", "crop", "pad"])
def trained(request, tmp_path_factory):
    """A run on such photos, and its dataset."""
    folder = tmp_path_factory.mktemp(request.param)
    photos = awkward_photos(folder / "photos")
    dataset = kzoo.load_dataset(photos, image_size=(24, 16), resize=request.param, background=77, test=0.5)
    model = kzoo.resnet(8, input_shape=dataset.image_shape, classes=2)
    recipe = kzoo.recipe("default").override(epochs=1, batch_size=4, patience=0)
    return kzoo.fit(model, dataset, recipe, run_dir=folder / "run", verbose=0), dataset, photos


def test_prediction_and_evaluation_see_the_pixels_of_the_training(trained):
    run, dataset, photos = trained
    test = run.load_dataset().test
    np.testing.assert_array_equal(test.images, dataset.test.images)
    predicted = kzoo.predict_files(run, [photos / name for name in test.names], top=2)
    logits = run.load_model().predict(dataset.test.images, verbose=0)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    for one, probabilities in zip(predicted, expected, strict=True):
        found = dict(zip(one.classes, one.probabilities, strict=True))
        assert [found[name] for name in dataset.class_names] == pytest.approx(probabilities.tolist(), abs=1e-5)
    right = (expected.argmax(axis=1) == dataset.test.labels).mean()
    assert kzoo.evaluate(run.load_model(), test).accuracy == pytest.approx(right)


def test_export_and_its_server_see_the_pixels_of_the_training(trained, tmp_path, run_server):
    skip_without(*SERVER, "tensorflow")
    import tensorflow as tf

    run, dataset, photos = trained
    expected = run.load_model().predict(dataset.test.images, verbose=0)
    tolerance = 1e-5 * np.abs(expected).max()
    directory = kzoo.export_saved(run.directory, tmp_path, name="photos").directory
    files = [(photos / name).read_bytes() for name in dataset.test.names]

    signature = tf.saved_model.load(str(directory)).signatures["encoded_images"]
    exported = signature(image_bytes=tf.constant(files))["logits"].numpy()
    instances = [{"b64": base64.b64encode(file).decode()} for file in files]
    with run_server(directory) as server:
        status, answer = server.post("/v1/models/photos:predict", {"instances": instances})
    assert status == 200, answer
    served = np.array([row["logits"] for row in answer["predictions"]])

    np.testing.assert_allclose(served, expected, rtol=0, atol=tolerance)
    if run.config["data"]["source"]["resize"] == "crop":  # few pixels differ by one level, as `encoded_images` says
        tolerance = 1e-2 * np.abs(expected).max()
    np.testing.assert_allclose(exported, expected, rtol=0, atol=tolerance)
