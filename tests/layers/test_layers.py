import keras
import numpy as np
import pytest
from keras import ops

import kzoo
from kzoo.layers import BatchNorm, Conv2D, Conv2DReLU, Dropout, PixelNormalization, ZeroPadShortcut

LAYERS = {
    "conv": lambda: Conv2D(5, 3, 2, use_bias=True, name="layer"),
    "conv_relu": lambda: Conv2DReLU(5, 3, 2, use_bias=True, name="layer"),
    "norm": lambda: BatchNorm(momentum=0.8, epsilon=1e-4, name="layer"),
    "dropout": lambda: Dropout(0.25, seed=3, name="layer"),
    "shortcut": lambda: ZeroPadShortcut(8, 2, name="layer"),
    "pixels": lambda: PixelNormalization((0.1, 0.2, 0.3), (1, 2, 3), name="layer"),
}


def images(*shape, seed=0):
    return np.random.RandomState(seed).standard_normal(shape).astype("float32")


@pytest.mark.parametrize("kind", LAYERS)
def test_layer_config_is_the_constructors_arguments(kind):
    layer = LAYERS[kind]()
    before = layer.get_config()
    layer(ops.convert_to_tensor(images(2, 9, 9, 3)))
    assert layer.get_config() == before
    assert type(layer).from_config(before).get_config() == before


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_layer_output_shape_is_the_computed_one(kind, training):
    layer = LAYERS[kind]()
    y = layer(
        ops.convert_to_tensor(images(2, 9, 8, 3)), **({"training": training} if kind in ("norm", "dropout") else {})
    )
    assert tuple(y.shape) == layer.compute_output_shape((2, 9, 8, 3))


@pytest.mark.parametrize("kind", LAYERS)
def test_layer_works_with_mixed_bfloat16(kind):
    keras.config.set_dtype_policy("mixed_bfloat16")
    y = LAYERS[kind]()(ops.convert_to_tensor(images(2, 9, 8, 3)))
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv2D(0), "`filters` must be at least 1. Received: filters=0."),
        (lambda: Conv2D(4, 2), "`kernel_size` must be odd"),
        (lambda: Conv2D(4, 3, 0), "`stride` must be at least 1. Received: stride=0."),
        (lambda: BatchNorm(momentum=1.5), "`momentum` must be between 0 and 1. Received: momentum=1.5."),
        (lambda: BatchNorm(epsilon=0), "`epsilon` must be above 0. Received: epsilon=0."),
        (lambda: Dropout(1.0), "`rate` must be at least 0 and below 1. Received: rate=1.0."),
        (lambda: ZeroPadShortcut(4, 0), "`stride` must be at least 1. Received: stride=0."),
        (lambda: ZeroPadShortcut(2)(ops.ones((1, 4, 4, 3))), "`filters` must be at least the input's channels, 3."),
        (lambda: PixelNormalization((0.5,), (0,)), "every deviation above 0"),
        (lambda: PixelNormalization((0.5,), (1,))(ops.ones((1, 4, 4, 3))), "one value a channel, 3"),
        (lambda: Conv2D(4)(ops.ones((4, 3))), r"\(batch, height, width, channels\)"),
    ],
)
def test_layer_says_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_batch_norm_normalizes_over_the_batch_and_averages():
    layer, x = BatchNorm(), images(8, 4, 4, 3) * 3 + 2
    y = ops.convert_to_numpy(layer(ops.convert_to_tensor(x), training=True))
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 1, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * x.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.9 + 0.1 * x.var(axis=(0, 1, 2)), rtol=1e-5)


def test_batch_norm_uses_the_moving_averages_in_inference():
    layer = BatchNorm()
    layer.build((None, 4, 4, 2))
    layer.set_weights([np.array(values) for values in ([2, 3], [1, -1], [5, 6], [4, 9])])
    x = images(3, 4, 4, 2)
    expected = np.array([2, 3]) * (x - [5, 6]) / np.sqrt(np.array([4, 9]) + 1e-5) + [1, -1]
    np.testing.assert_allclose(ops.convert_to_numpy(layer(ops.convert_to_tensor(x))), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_couples_the_examples_of_a_batch_in_training_only(training):
    layer, x = BatchNorm(), images(4, 4, 4, 3)
    before = ops.convert_to_numpy(layer(ops.convert_to_tensor(x), training=training))[0]
    x[1] += 5
    after = ops.convert_to_numpy(layer(ops.convert_to_tensor(x), training=training))[0]
    assert (np.abs(after - before).max() > 1e-2) == training


def test_batch_norm_that_is_frozen_does_not_learn():
    layer = BatchNorm(trainable=False)
    layer(ops.convert_to_tensor(images(4, 4, 4, 3) + 9), training=True)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), 0)


def test_dropout_changes_nothing_in_inference():
    x = images(2, 3, 3, 2)
    np.testing.assert_array_equal(ops.convert_to_numpy(Dropout(0.5)(ops.convert_to_tensor(x))), x)


def test_dropout_scales_what_it_keeps():
    x = images(16, 8, 8, 4) + 10
    y = ops.convert_to_numpy(Dropout(0.2)(ops.convert_to_tensor(x), training=True))
    kept = y != 0
    np.testing.assert_allclose(y[kept], x[kept] / 0.8, rtol=1e-6)
    assert 0.77 < kept.mean() < 0.83


def test_dropout_draws_another_mask_each_step_and_goes_on_after_a_reload():
    x = ops.ones((64,))
    layer, again = Dropout(0.5, seed=1, name="drop"), Dropout(0.5, seed=1, name="drop")
    first, second = (ops.convert_to_numpy(layer(x, training=True)) for _ in range(2))
    assert (first != second).any()
    again.build((64,))
    again.set_weights([np.array(1)])
    np.testing.assert_array_equal(ops.convert_to_numpy(again(x, training=True)), second)


@pytest.mark.parametrize(("seed", "name"), [(1, "drop"), (0, "other")])
def test_dropout_masks_depend_on_seed_and_name(seed, name):
    x = ops.ones((64,))
    first = ops.convert_to_numpy(Dropout(0.5, seed=0, name="drop")(x, training=True))
    other = ops.convert_to_numpy(Dropout(0.5, seed=seed, name=name)(x, training=True))
    assert (first != other).any()


def test_zero_pad_shortcut_subsamples_and_pads_both_ends():
    x = images(2, 5, 4, 3)
    y = ops.convert_to_numpy(ZeroPadShortcut(8, 2)(ops.convert_to_tensor(x)))
    assert y.shape == (2, 3, 2, 8)
    np.testing.assert_array_equal(y[..., 2:5], x[:, ::2, ::2])
    np.testing.assert_array_equal(y[..., [0, 1, 5, 6, 7]], 0)


def test_pixel_normalization_follows_new_statistics_after_predict():
    model = keras.Sequential([keras.Input((2, 2, 3)), PixelNormalization((0, 0, 0), (1, 1, 1))])
    x = np.full((1, 2, 2, 3), 255, "uint8")
    np.testing.assert_allclose(model.predict(x, verbose=0), 1, rtol=1e-6)
    model.layers[0].set_statistics((0.5, 0.5, 0.5), (0.25, 0.5, 1))
    np.testing.assert_allclose(model.predict(x, verbose=0)[0, 0, 0], [2, 1, 0.5], rtol=1e-6)


def test_initial_weights_are_he_normal():
    kernel = ops.convert_to_numpy(kzoo.HeNormal(0, "kernel")((3, 3, 64, 128)))
    assert abs(kernel.std() / np.sqrt(2 / (9 * 64)) - 1) < 0.01
    assert abs(kernel.mean()) < 1e-3


@pytest.mark.parametrize(("seed", "path"), [(1, "kernel"), (0, "other")])
def test_initial_weights_depend_on_seed_and_path(seed, path):
    first = ops.convert_to_numpy(kzoo.HeNormal(0, "kernel")((3, 3, 2, 4)))
    assert (first != ops.convert_to_numpy(kzoo.HeNormal(seed, path)((3, 3, 2, 4)))).all()


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_pixel_normalization_is_numpys_to_the_bit(precision):
    kzoo.set_precision(precision)
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    model = keras.Sequential([keras.Input((1, 1, 3)), PixelNormalization(mean, std)])
    pixels = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None, None], 3, axis=3)
    expected = (pixels / np.float32(255) - mean) / std
    np.testing.assert_array_equal(model.predict(pixels, batch_size=256, verbose=0), expected)


def test_conv2d_relu_adds_a_residual_before_it_rectifies(tmp_path):
    inputs = [keras.Input((9, 9, 3)), keras.Input((5, 5, 4))]
    model = keras.Model(inputs, Conv2DReLU(4, 3, 2, use_bias=True, kernel_initializer="he_normal")(inputs))
    x, residual = images(9, 9, 9, 3), images(9, 5, 5, 4, seed=1)
    conv = Conv2D(4, 3, 2, use_bias=True)
    conv.build((None, 9, 9, 3))
    conv.set_weights(model.layers[-1].get_weights())
    expected = np.maximum(ops.convert_to_numpy(conv(ops.convert_to_tensor(x))) + residual, 0)
    assert model.output.shape == (None, 5, 5, 4)
    np.testing.assert_allclose(model.predict([x, residual], verbose=0), expected, rtol=0, atol=1e-5)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.predict([x, residual], verbose=0), expected, rtol=0, atol=1e-5)
