import keras
import numpy as np
from keras import ops

from kzoo.ops import gradients


def test_gradients_are_those_of_the_function():
    weight, other = keras.Variable([1.0, -2.0]), keras.Variable(3.0)
    found, extra = gradients(lambda: (ops.sum(weight * weight) * other, weight * 10), [weight, other])
    np.testing.assert_allclose(ops.convert_to_numpy(found[0]), [6, -12])
    np.testing.assert_allclose(ops.convert_to_numpy(found[1]), 5)
    np.testing.assert_allclose(ops.convert_to_numpy(extra), [10, -20])


def test_gradients_leave_variables_as_they_were():
    weight, count = keras.Variable(2.0), keras.Variable(0, trainable=False, dtype="int32")

    def counted():
        count.assign(count + 1)
        return weight * weight, ()

    gradients(counted, [weight])
    assert (int(count), float(ops.convert_to_numpy(weight))) == (0, 2.0)
