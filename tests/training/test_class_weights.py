import keras
import numpy as np
import pytest

import kzoo
from kzoo.training.class_weights import weighted_training_split
from kzoo.training.loop import training_batches

LABELS = np.array([0] * 12 + [1] * 4 + [2] * 4)
IMAGES = np.arange(len(LABELS) * 48, dtype=np.uint32).astype(np.uint8).reshape(-1, 4, 4, 3)


@pytest.fixture
def dataset():
    return kzoo.Dataset.from_arrays(IMAGES, LABELS, class_names=["cat", "dog", "eel"], test=0.25, validation=0.25)


def test_class_weights_are_those_of_the_table(dataset):
    split = weighted_training_split(dataset, {"dog": 3, "eel": 0})
    np.testing.assert_array_equal(split.weights, np.array([1, 3, 0])[split.labels])


def test_class_weights_come_times_those_of_images(dataset):
    own = np.linspace(0.5, 2, len(dataset.train)).astype("float32")
    weighted = kzoo.Dataset(**{**vars(dataset), "train": dataset.train.weighted(own)})
    split = weighted_training_split(weighted, {"dog": 3})
    np.testing.assert_allclose(split.weights, own * np.where(split.labels == 1, 3, 1))


def test_balanced_is_the_same_in_data_and_recipe(dataset):
    by_data = dataset.balanced()
    by_recipe = weighted_training_split(dataset, "balanced")
    np.testing.assert_array_equal(by_recipe.weights, by_data.train.weights)
    np.testing.assert_allclose(weighted_training_split(by_data, "balanced").weights, by_recipe.weights, rtol=1e-6)
    sums = np.bincount(by_recipe.labels, by_recipe.weights)
    np.testing.assert_allclose(sums, len(by_recipe) / 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"dgo": 1}, "`class_weights` must be of classes of .* Received: 'dgo'. Did you mean 'dog'?"),
        ({"cat": 0, "dog": 0, "eel": 0}, "`class_weights` must be above 0 for a class with images. Received: "),
    ],
)
def test_class_weights_of_other_classes_are_told(dataset, weights, message):
    with pytest.raises(ValueError, match=message):
        weighted_training_split(dataset, weights)


def test_loss_of_a_batch_is_the_weighted_mean_of_its_images(dataset):
    recipe = kzoo.recipe("default").override(batch_size=8, label_smoothing=0.2, class_weights={"cat": 0.25, "dog": 2})
    _, labels, weights = training_batches(dataset, recipe, 0).batch(0, 0)
    answers = np.random.RandomState(0).standard_normal((8, 3)).astype("float32")
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)
    found = keras.ops.convert_to_numpy(loss(labels, answers, weights))
    logs = answers - np.log(np.exp(answers).sum(axis=1, keepdims=True))
    smooth = labels * 0.8 + 0.2 / 3
    each = -(smooth * logs).sum(axis=1)
    assert set(weights) <= {0.25, 2.0, 1.0}
    np.testing.assert_allclose(found, (each * weights).mean(), rtol=1e-5)
