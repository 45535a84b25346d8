import os

import keras
import numpy as np
import pytest

import kzoo

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or os.environ.get("KZOO_ACCELERATION") == "off",
    reason="TensorFlow's pipelines, with acceleration on",
)

IMAGES, LABELS = np.zeros((5, 8, 8, 3), np.uint8), np.arange(5) % 2


def adapter_of(x, y=None, sample_weight=None, *, batch_size=2, shuffle=False, class_weight=None):
    """Returns the pipeline that a model of kzoo gives Keras, or `None` where it leaves the data to it."""
    from kzoo.acceleration.tensorflow_batches import pipeline

    options = {"batch_size": batch_size, "steps": None, "shuffle": shuffle, "class_weight": class_weight}
    return pipeline(x, y, sample_weight, **options)


def dataset_of(*data, **options):
    """Returns the dataset that TensorFlow reads of it."""
    return adapter_of(*data, **options).get_tf_dataset()


@pytest.mark.parametrize(
    "make",
    [
        lambda: dataset_of(IMAGES, LABELS, batch_size=2, shuffle=True),
        lambda: dataset_of(IMAGES, LABELS, batch_size=2, shuffle=False),
        lambda: dataset_of(kzoo.Batches(kzoo.Split(IMAGES, LABELS), 2, batch_size=2)),
    ],
)
def test_pipelines_are_not_tuned(make):
    dataset = make()
    assert dataset.options().autotune.enabled is False
    assert [len(images) for images, _ in dataset] == [2, 2, 1]


def test_pipelines_of_users_stay_as_they_are():
    import tensorflow as tf

    assert adapter_of(tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(2)) is None


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

    adapter = adapter_of(*data, **options)
    own, theirs = list(adapter.get_tf_dataset()), list(ArrayDataAdapter.get_tf_dataset(adapter))
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


@pytest.mark.parametrize("shuffle", [False, True])
def test_models_of_kzoo_do_what_models_of_keras_do(shuffle):
    def trained(cls):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8, 8, 3))
        model = cls(inputs, keras.layers.Dense(2, kernel_initializer="ones")(keras.layers.Flatten()(inputs)))
        model.compile(keras.optimizers.SGD(1e-6), loss="mse", metrics=["mae"])
        options = {"batch_size": 2, "epochs": 2, "verbose": 0, "shuffle": shuffle, "validation_split": 0.4}
        history = model.fit(MANY[:5], LABELS, class_weight={0: 1.0, 1: 2.0}, **options).history
        evaluated = model.evaluate(MANY[:5], LABELS, batch_size=2, verbose=0)
        return history, evaluated, model.predict(MANY[:5], batch_size=2, verbose=0).tolist()

    assert trained(kzoo.Model) == trained(keras.Model)
