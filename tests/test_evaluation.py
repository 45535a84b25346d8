import keras
import numpy as np
import pytest

from kzoo.evaluation import as_logits, even_batch_size, log_probabilities, predict_in_whole_batches


def classifier(activation):
    """The sum of each colour of the image is a class."""
    inputs = keras.Input((2, 2, 3))
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(inputs)
    outputs = keras.layers.Dense(3, activation=activation, kernel_initializer="identity")(x)
    return keras.Model(inputs, outputs)


IMAGES = np.random.RandomState(0).randint(0, 256, (7, 2, 2, 3))


def test_logits_stay_as_they_are():
    outputs = np.float32([[-3, 0, 200]])
    assert as_logits(classifier(None), outputs) is outputs


@pytest.mark.parametrize("of_tensors", [False, True], ids=["numpy", "keras.ops"])
def test_logits_of_probabilities_are_their_logarithms_and_finite(of_tensors):
    probabilities = np.float32([[0.25, 0.75, 0]])
    given = (keras.ops.convert_to_tensor(probabilities), keras.ops) if of_tensors else (probabilities,)
    logits = keras.ops.convert_to_numpy(as_logits(classifier("softmax"), *given))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, [[np.log(0.25), np.log(0.75), np.log(2.0**-126)]], rtol=1e-6)


def test_log_probabilities_are_the_same_of_logits_and_of_probabilities():
    logits, probabilities = (log_probabilities(classifier(activation), IMAGES / 20) for activation in (None, "softmax"))
    np.testing.assert_allclose(probabilities, logits, atol=1e-5)
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1)


@pytest.mark.parametrize("batch_size", [1, 3, 5, 7, 100])
def test_whole_batches_answer_to_every_image_once_and_in_order(batch_size, monkeypatch):
    model = classifier(None)
    sizes = []
    predict = model.predict
    monkeypatch.setattr(model, "predict", lambda x, **settings: sizes.append(len(x)) or predict(x, **settings))
    outputs = predict_in_whole_batches(model, IMAGES, batch_size)
    np.testing.assert_allclose(outputs, IMAGES.mean(axis=(1, 2)), rtol=1e-6)
    assert sizes[0] % min(batch_size, 7) == 0


@pytest.mark.parametrize(("images", "size"), [(1, 1), (7, 7), (359, 256), (512, 256), (514, 256), (720, 240)])
def test_even_batch_size_leaves_no_smaller_batch_unless_it_would_be_tiny(images, size):
    assert even_batch_size(images) == size
