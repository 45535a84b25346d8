import keras
import numpy as np
import pytest

import kzoo

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's pipelines")

IMAGES, LABELS = np.zeros((5, 8, 8, 3), np.uint8), np.arange(5) % 2


def dataset_of(*data, **options):
    """Returns the dataset that Keras makes out of what `fit` is given."""
    from keras.src.trainers.data_adapters import get_data_adapter

    return get_data_adapter(*data, **options).get_tf_dataset()


@pytest.mark.parametrize(
    "make",
    [
        lambda: dataset_of(IMAGES, LABELS, batch_size=2),
        lambda: dataset_of(kzoo.Batches(kzoo.Split(IMAGES, LABELS), 2, batch_size=2)),
    ],
)
def test_pipelines_that_keras_makes_are_not_tuned(make):
    dataset = make()
    assert dataset.options().autotune.enabled is False
    assert [len(images) for images, _ in dataset] == [2, 2, 1]


def test_pipelines_of_users_stay_as_they_are():
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(2)
    assert dataset_of(dataset).options().autotune.enabled is None


def test_it_is_done_once():
    from kzoo.ops.tensorflow import _leave_pipelines_untuned

    before = keras.src.trainers.data_adapters.ArrayDataAdapter.get_tf_dataset
    _leave_pipelines_untuned()
    assert keras.src.trainers.data_adapters.ArrayDataAdapter.get_tf_dataset is before
