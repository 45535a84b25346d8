"""What Keras does around `call` happens where it matters, whether or not the layer was called quickly before."""

import os

import keras
import numpy as np
import pytest
from keras import ops

import kzoo


def built(layer, channels=3):
    layer(ops.ones((1, 4, 4, channels)))
    return layer


IMAGES = np.random.RandomState(0).standard_normal((2, 4, 4, 3)).astype("float32")


@pytest.mark.skipif(os.environ.get("KZOO_ACCELERATION") == "off", reason="Keras calls them then")
def test_layers_of_kzoo_skip_keras_where_the_backend_runs_layer_by_layer(monkeypatch):
    calls = []
    original = keras.layers.Layer.__call__
    layers = [built(kzoo.ReLU()), built(kzoo.Conv2D(3)), built(kzoo.BatchNorm()), built(kzoo.Dropout(0.5))]
    monkeypatch.setattr(
        keras.layers.Layer, "__call__", lambda self, *a, **k: calls.append(self) or original(self, *a, **k)
    )
    for layer in layers:
        layer(ops.convert_to_tensor(IMAGES), training=True)
    assert calls == ([] if keras.backend.backend() == "torch" else layers)


@pytest.mark.skipif(os.environ.get("KZOO_ACCELERATION") == "off", reason="Keras calls them then")
@pytest.mark.skipif(keras.backend.backend() != "torch", reason="compiled elsewhere")
@pytest.mark.parametrize("kind", ["float32", "mixed_bfloat16"])
def test_the_layers_of_a_network_skip_keras(kind, monkeypatch):
    keras.config.set_dtype_policy(kind)
    model = kzoo.resnet(8, input_shape=(8, 8, 3), dropout=0.1)
    calls, original = [], keras.layers.Layer.__call__
    monkeypatch.setattr(
        keras.layers.Layer, "__call__", lambda self, *a, **k: calls.append(type(self)) or original(self, *a, **k)
    )
    model(ops.ones((2, 8, 8, 3)), training=True)
    skipping = {kzoo.Conv2D, kzoo.BatchNorm, kzoo.ReLU, kzoo.Dropout, kzoo.Add, kzoo.ZeroPadShortcut}
    assert calls
    assert not skipping & set(calls)


@pytest.mark.parametrize("kind", ["float32", "mixed_bfloat16"])
def test_a_weight_is_cast_as_keras_would(kind):
    layer = built(kzoo.Conv2D(3, use_bias=True, dtype=kind))
    assert keras.backend.standardize_dtype(layer.cast(layer.kernel).dtype) == layer.compute_dtype
    assert layer.cast(None) is None


def test_arrays_and_other_dtypes_are_converted():
    layer = built(kzoo.ReLU())
    for images in (IMAGES, IMAGES.astype("float64"), ops.convert_to_tensor(IMAGES.astype("float64"))):
        y = layer(images)
        assert keras.backend.standardize_dtype(y.dtype) == "float32"
        np.testing.assert_array_equal(ops.convert_to_numpy(y), np.maximum(IMAGES, 0))


def test_training_is_asked_of_the_outer_call():
    class Outer(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = kzoo.BatchNorm()

        def call(self, x, training=False):
            return self.inner(x)

    outer = built(Outer())
    ones = ops.ones((2, 4, 4, 3))
    assert np.abs(ops.convert_to_numpy(outer(ones, training=True))).max() < 1e-6
    assert np.abs(ops.convert_to_numpy(outer(ones, training=False))).min() > 0.5


def test_an_outer_precision_reaches_the_layers_inside():
    keras.config.set_dtype_policy("mixed_bfloat16")
    inner = built(kzoo.Conv2D(3, dtype="float32"))
    images = keras.Input((4, 4, 3), dtype="float32")
    model = keras.Model(images, inner(images))
    y = model(ops.convert_to_tensor(IMAGES))
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    np.testing.assert_array_equal(ops.convert_to_numpy(inner(ops.convert_to_tensor(IMAGES))), ops.convert_to_numpy(y))


def test_masks_pass_through():
    layer = built(kzoo.ReLU())
    masked = keras.layers.Masking()(ops.convert_to_tensor(IMAGES[:, 0]))
    assert layer(masked)._keras_mask is masked._keras_mask


def test_activity_regularizers_count():
    layer = built(kzoo.ReLU(activity_regularizer="l2"))
    layer(ops.convert_to_tensor(IMAGES))
    (loss,) = layer.losses
    np.testing.assert_allclose(float(loss), 0.01 * np.square(np.maximum(IMAGES, 0)).sum() / 2, rtol=1e-5)


def test_subclasses_from_elsewhere_are_called_by_keras():
    class Twice(kzoo.Conv2D):
        def __init__(self):
            super().__init__(3)
            self.norm = kzoo.BatchNorm()

        def call(self, inputs, training=False):
            return self.norm(super().call(inputs))

    layer = built(Twice())
    y = ops.convert_to_numpy(layer(ops.convert_to_tensor(IMAGES), training=True))
    assert np.abs(y.mean((0, 1, 2))).max() < 1e-5


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's hooks")
def test_hooks_of_pytorch_run():
    layer, seen = built(kzoo.Conv2D(3)), []
    layer.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    layer(ops.convert_to_tensor(IMAGES))
    assert seen == [(2, 4, 4, 3)]


def test_errors_name_the_layer():
    layer = built(kzoo.Conv2D(3))
    with pytest.raises(Exception, match=r"Conv2D\.call\(\)"):
        layer(ops.ones((1, 4, 4, 5)))


def test_saved_models_name_the_layers_of_kzoo(tmp_path):
    images = keras.Input((4, 4, 3))
    model = keras.Model(images, kzoo.Add()([kzoo.ReLU(0.5)(images), images]))
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert [type(layer) for layer in loaded.layers[1:]] == [kzoo.ReLU, kzoo.Add]
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
