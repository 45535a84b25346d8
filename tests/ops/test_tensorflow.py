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


MANY = np.random.RandomState(0).randint(0, 256, (105, 8, 8, 3)).astype("uint8")


@pytest.mark.parametrize(
    ("batch_size", "drop_remainder", "size"),
    [(1, False, 1), (7, False, 7), (35, False, 35), (8, True, 8), (8, False, None)],
)
@pytest.mark.parametrize("first", [0, 1])
def test_batches_of_one_size_come_with_it(batch_size, drop_remainder, size, first):
    options = {"batch_size": batch_size, "drop_remainder": drop_remainder, "shuffle": True}
    batches = kzoo.Batches(kzoo.Split(MANY, np.arange(105)), 105, **options)
    batches.start_at(2, first)
    dataset = dataset_of(batches)
    images, labels = dataset.element_spec
    assert (images.shape, labels.shape) == ((size, 8, 8, 3), (size, 105))
    for _ in range(2):  # an epoch each
        served = list(dataset.as_numpy_iterator())
        assert len(served) == len(batches)
        for i, pair in enumerate(served):
            for array, expected in zip(pair, batches.batch(2, first + i), strict=True):
                np.testing.assert_array_equal(array, expected, strict=True)


def test_class_weights_are_those_of_keras():
    batches = kzoo.Batches(kzoo.Split(IMAGES[:4], LABELS[:4]), 2, batch_size=2)
    images, *_ = dataset_of(batches, class_weight={0: 1.0, 1: 2.0}).element_spec
    assert images.shape[0] is None


def test_subclasses_may_serve_other_things():
    class Named(kzoo.Batches):
        def __getitem__(self, index):
            images, labels = super().__getitem__(index)
            return {"image": images}, labels

    images, _ = dataset_of(Named(kzoo.Split(IMAGES[:4], LABELS[:4]), 2, batch_size=2)).element_spec
    assert images["image"].shape == (None, 8, 8, 3)


def test_batches_may_move_between_epochs():
    batches = kzoo.Batches(kzoo.Split(MANY, np.arange(105)), 105, batch_size=1)
    dataset = dataset_of(batches)
    for epoch, first in ((0, 3), (1, 0), (2, 40)):
        batches.start_at(epoch, first)
        served = list(dataset.as_numpy_iterator())
        assert len(served) == 105 - first
        np.testing.assert_array_equal(served[0][0], batches.batch(epoch, first)[0])


@pytest.mark.parametrize("images", [2, 80])
def test_batch_norm_has_second_derivatives(images):
    import tensorflow as tf

    def slopes(batch_norm, dtype):
        random = np.random.RandomState(0)
        x = tf.constant(random.normal(1, 2, (images, 16, 16, 4)), dtype)
        gamma, beta = (tf.constant(random.normal(1, 1, 4), dtype) for _ in range(2))
        with tf.GradientTape() as outer:
            outer.watch((x, gamma))
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_mean(batch_norm(x, gamma, beta, 1e-5)[0] ** 3)
            penalty = tf.reduce_sum(inner.gradient(loss, x) ** 2)
        return [np.asarray(slope, np.float64) for slope in outer.gradient(penalty, (x, gamma))]

    fast, slow = slopes(kzoo.ops.batch_norm, "float32"), slopes(kzoo.ops.generic.batch_norm, "float64")
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_of_one_size_train_under_a_strategy(batch_size):
    import tensorflow as tf

    def trained():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        model.compile(kzoo.SGD(0.001), "mse")
        batches = kzoo.Batches(kzoo.Split(IMAGES[:4], LABELS[:4]), 2, batch_size=batch_size)
        model.fit(batches, shuffle=False, epochs=2, verbose=0)
        return model.get_weights()

    expected = trained()
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        for weight, other in zip(trained(), expected, strict=True):
            np.testing.assert_allclose(weight, other, rtol=1e-6)


def test_it_is_done_once():
    from kzoo.ops import tensorflow_batches

    before = keras.src.trainers.data_adapters.ArrayDataAdapter.get_tf_dataset
    tensorflow_batches.install()
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
