import keras
import numpy as np
import pytest
from keras import ops

from kzoo.ops import batch_norm, conv2d


def convolved(x, kernel, stride):
    """The definition, in NumPy loops over the kernel's positions."""
    pad = kernel.shape[0] // 2
    padded = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    height, width = x.shape[1:3]
    y = 0.0
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            window = padded[:, i : i + height : stride, j : j + width : stride]
            y = y + window @ kernel[i, j]
    return y


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_conv2d_pads_symmetrically(size, stride, kernel_size):
    random = np.random.RandomState(0)
    x = random.standard_normal((2, size, size + 1, 3)).astype("float32")
    kernel = random.standard_normal((kernel_size, kernel_size, 3, 4)).astype("float32")
    y = ops.convert_to_numpy(conv2d(ops.convert_to_tensor(x), ops.convert_to_tensor(kernel), stride))
    np.testing.assert_allclose(y, convolved(x, kernel, stride), rtol=1e-4, atol=1e-4)


def test_conv2d_adds_the_bias():
    x, kernel, bias = np.ones((1, 4, 4, 2), "float32"), np.zeros((3, 3, 2, 3), "float32"), np.arange(3, dtype="float32")
    y = ops.convert_to_numpy(conv2d(*map(ops.convert_to_tensor, (x, kernel)), 1, ops.convert_to_tensor(bias)))
    np.testing.assert_array_equal(y, np.broadcast_to(bias, (1, 4, 4, 3)))


def test_conv2d_ignores_the_image_data_format():
    keras.config.set_image_data_format("channels_first")
    y = conv2d(ops.ones((1, 6, 5, 2)), ops.ones((3, 3, 2, 7)), 2)
    assert tuple(y.shape) == (1, 3, 3, 7)


def test_batch_norm_matches_its_definition():
    random = np.random.RandomState(0)
    x = random.standard_normal((4, 5, 6, 3)) * [1, 10, 0.1] + [0, 100, -3]
    gamma, beta = np.array([1, 2, 3.0]), np.array([0, -1, 5.0])
    keras.config.set_floatx("float32")
    arguments = [ops.convert_to_tensor(value, dtype="float32") for value in (x, gamma, beta)]
    y, mean, variance = (ops.convert_to_numpy(value) for value in batch_norm(*arguments, 1e-5))
    np.testing.assert_allclose(mean, x.mean(axis=(0, 1, 2)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(variance, x.var(axis=(0, 1, 2)), rtol=1e-4)
    expected = gamma * (x - x.mean(axis=(0, 1, 2))) / np.sqrt(x.var(axis=(0, 1, 2)) + 1e-5) + beta
    np.testing.assert_allclose(y, expected, rtol=2e-4, atol=2e-4)
