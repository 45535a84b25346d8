import keras
import numpy as np
import pytest

import kzoo

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="operations on TensorFlow")


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
