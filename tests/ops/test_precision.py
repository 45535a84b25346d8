import keras
import numpy as np
import pytest
from keras import ops

import kzoo

RANDOM = np.random.RandomState(0)
X, W = RANDOM.standard_normal((64, 10)), RANDOM.standard_normal((10, 10))
TRUE = np.eye(10)[RANDOM.randint(0, 10, 64)]


def dense(x):
    layer = keras.layers.Dense(10, use_bias=False)
    layer.build((64, 10))
    layer.kernel.assign(W)
    return layer(x)


def loss(x):
    true = ops.convert_to_tensor(TRUE, dtype="float64")
    return keras.losses.CategoricalCrossentropy(from_logits=True)(true, x)


FUNCTIONS = {
    "mean": (ops.mean, X.mean()),
    "dense": (dense, X @ W),
    "loss": (loss, (np.log(np.exp(X).sum(axis=1)) - (X * TRUE).sum(axis=1)).mean()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_is_computed_in_float64(name):
    """Keras alone computes these in float32 on PyTorch, and the mean on JAX."""
    kzoo.set_precision("float64")
    function, expected = FUNCTIONS[name]
    value = ops.convert_to_numpy(function(ops.convert_to_tensor(X, dtype="float64")))
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-13)


def test_precision_of_another_name_is_an_error():
    with pytest.raises(ValueError, match="`name` must be .* Received: name='float16'."):
        kzoo.set_precision("float16")
