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


def steps_of_sgd():
    keras.utils.set_random_seed(0)
    embedding = keras.layers.Embedding(8, 3)
    model = keras.Sequential([keras.Input((2,), dtype="int32"), embedding, keras.layers.Flatten()])
    model.compile(kzoo.SGD(0.1, 0.9, nesterov=True, weight_decay=0.1), "mse")
    model.fit(np.array([[0, 1], [1, 5]] * 3), np.ones((6, 6)), batch_size=2, shuffle=False, verbose=0)
    return model.get_weights()


def steps_of_sgd_one_by_one(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(kzoo.ops, "sgd_step", kzoo.ops.generic.sgd_step)
        return steps_of_sgd()


def test_sgd_takes_gradients_of_a_few_rows(monkeypatch):
    np.testing.assert_allclose(steps_of_sgd(), steps_of_sgd_one_by_one(monkeypatch), rtol=1e-6)


def test_sgd_trains_weights_that_a_strategy_places(monkeypatch):
    import tensorflow as tf

    expected = steps_of_sgd_one_by_one(monkeypatch)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        np.testing.assert_allclose(steps_of_sgd(), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(None, None, 3), (None, 6, 3), (5, 6, 3)])
def test_batch_norm_takes_images_of_any_size(shape):
    import tensorflow as tf

    x = np.random.RandomState(0).normal(3, 2, (4, 5, 6, 3)).astype("float32")
    signature = [tf.TensorSpec((None, *shape)), tf.TensorSpec(3), tf.TensorSpec(3)]
    traced = tf.function(lambda *tensors: kzoo.ops.batch_norm(*tensors, 1e-5), input_signature=signature)
    y, mean, variance = traced(x, np.ones(3, "float32"), np.zeros(3, "float32"))
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(variance, x.var((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-5), atol=1e-5)
