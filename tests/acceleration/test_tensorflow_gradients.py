import gc
import os

import keras
import numpy as np
import pytest

import kzoo

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or os.environ.get("KZOO_ACCELERATION") == "off",
    reason="TensorFlow's gradients, with acceleration on",
)


def registered():
    """Returns the names of the gradients that graphs have left with TensorFlow."""
    from tensorflow.python.framework.ops import gradient_registry

    return {name for name in gradient_registry.list() if name.startswith("CustomGradient-")}


def test_gradients_of_a_model_go_with_it():
    gc.collect()
    before = registered()
    model = kzoo.resnet(8, input_shape=(8, 8, 3), classes=3)
    model.compile(kzoo.SGD(0.1), "mse")
    model.train_on_batch(np.zeros((4, 8, 8, 3), np.uint8), np.zeros((4, 3), np.float32))
    assert len(registered() - before) > 5
    del model
    keras.utils.clear_session()
    gc.collect()
    assert registered() <= before


def test_gradients_of_gradients_are_found_in_graphs():
    import tensorflow as tf

    from kzoo.acceleration.tensorflow_gradients import custom_gradient

    square = custom_gradient(lambda x: x * x, lambda tensors, results, slopes: [5 * tensors[0] * slopes[0]])

    @tf.function
    def slopes(x):
        y = square(x)
        (first,) = tf.gradients(y, x)
        (second,) = tf.gradients(first, x)
        return first, second

    assert [float(slope) for slope in slopes(tf.constant(3.0))] == [15, 5]
    with tf.GradientTape() as outer, tf.GradientTape() as inner:
        x = tf.constant(3.0)
        outer.watch(x), inner.watch(x)
        y = tf.function(square)(x)
        first = inner.gradient(y, x)
    assert (float(first), float(outer.gradient(first, x))) == (15, 5)
