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
        lambda: dataset_of(IMAGES, LABELS, batch_size=2, shuffle=True),
        lambda: dataset_of(IMAGES, LABELS, batch_size=2, shuffle=False),
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


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ((IMAGES,), {}),
        (({"a": IMAGES, "b": [IMAGES, IMAGES.astype("float64")]}, LABELS), {}),
        ((IMAGES, LABELS), {"class_weight": {0: 1.0, 1: 2.0}}),
        ((IMAGES, LABELS, LABELS.astype("float32")), {}),
    ],
)
def test_batches_of_arrays_in_order_are_those_of_keras(data, options):
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    adapter = ArrayDataAdapter(*data, batch_size=2, shuffle=False, **options)
    own, theirs = list(adapter.get_tf_dataset()), list(ArrayDataAdapter.get_tf_dataset.__wrapped__(adapter))
    assert len(own) == len(theirs) == 3
    for a, b in zip(own, theirs, strict=True):
        keras.tree.assert_same_structure(a, b)
        for x, y in zip(keras.tree.flatten(a), keras.tree.flatten(b), strict=True):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


def test_arrays_in_order_need_no_functions():
    dataset = dataset_of(IMAGES, batch_size=2, shuffle=False)
    assert dataset._functions() == []
    assert dataset.element_spec.shape == (None, 8, 8, 3)  # one graph for a last batch of any size


def test_it_is_done_once():
    from kzoo.ops.tensorflow import _prepare_pipelines

    before = keras.src.trainers.data_adapters.ArrayDataAdapter.get_tf_dataset
    _prepare_pipelines()
    assert keras.src.trainers.data_adapters.ArrayDataAdapter.get_tf_dataset is before
