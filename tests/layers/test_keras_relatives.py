"""kzoo's layers do all that Keras's own do: they pass Keras's checks of a layer, and its tests of their relatives."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src import testing

import kzoo
import kzoo.layers

IMAGE, HALF = (2, 5, 4, 3), (2, 3, 2, 3)

# Layer: whether its relative in Keras supports masks, its weights (trainable, others), and configurations: arguments,
# shapes of the inputs, the shape of the result, and further arguments of Keras's `run_layer_test`.
CASES = {
    "Add": (
        True,
        (0, 0),
        [
            ({}, (IMAGE, IMAGE), IMAGE, {}),
            ({"dtype": "float64"}, (IMAGE, IMAGE, IMAGE), IMAGE, {"expected_output_dtype": "float64"}),
            ({}, ((2, 5), (2, 5)), (2, 5), {"input_dtype": ("int32", "float32")}),
        ],
    ),
    "BatchNorm": (
        True,
        (2, 2),
        [
            ({}, IMAGE, IMAGE, {"call_kwargs": {"training": True}}),
            ({"momentum": 0.5, "epsilon": 1e-3}, IMAGE, IMAGE, {"expected_mask_shape": None}),
            ({"dtype": "mixed_bfloat16"}, IMAGE, IMAGE, {"expected_output_dtype": "bfloat16"}),
            ({}, IMAGE, IMAGE, {"input_dtype": "uint8", "expected_output_dtype": "float32"}),
        ],
    ),
    "Conv2D": (
        False,
        (1, 0),
        [
            ({"filters": 4}, IMAGE, (2, 5, 4, 4), {}),
            ({"filters": 2, "kernel_size": 5, "stride": 2, "kernel_initializer": "zeros"}, IMAGE, (2, 3, 2, 2), {}),
            ({"filters": 1, "kernel_size": 1, "stride": 3}, IMAGE, (2, 2, 2, 1), {}),
            ({"filters": 4}, IMAGE, (2, 5, 4, 4), {"input_dtype": "uint8", "expected_output_dtype": "float32"}),
        ],
    ),
    "Conv2DReLU": (
        False,
        (2, 0),
        [
            ({"filters": 4, "use_bias": True}, IMAGE, (2, 5, 4, 4), {}),
            ({"filters": 3, "stride": 2, "use_bias": True}, (IMAGE, HALF), HALF, {}),
            ({"filters": 4, "use_bias": True}, IMAGE, (2, 5, 4, 4), {"input_dtype": "int32"}),
        ],
    ),
    "Dropout": (
        True,
        (0, 1),
        [
            ({"rate": 0.2}, IMAGE, IMAGE, {"call_kwargs": {"training": True}}),
            ({"rate": 0}, (2, 3), (2, 3), {"call_kwargs": {"training": True}}),
            ({"rate": 0.5, "seed": 3}, (4,), (4,), {}),
        ],
    ),
    "PixelNormalization": (
        True,
        (0, 2),
        [
            ({}, IMAGE, IMAGE, {}),
            ({"mean": (0.5,), "std": (0.25,)}, (1, 3, 3, 1), (1, 3, 3, 1), {"input_dtype": "uint8"}),
            ({"dtype": "float64"}, IMAGE, IMAGE, {"expected_output_dtype": "float64"}),
        ],
    ),
    "ReLU": (
        True,
        (0, 0),
        [
            ({}, IMAGE, IMAGE, {}),
            ({"max_value": 6, "negative_slope": 0.1, "threshold": 0.5}, (2, 3), (2, 3), {}),
            ({"negative_slope": 0.3}, (4,), (4,), {}),
        ],
    ),
    "ScaleShift": (
        True,
        (2, 0),
        [
            ({}, IMAGE, IMAGE, {}),
            ({}, (2, 3), (2, 3), {"input_dtype": "int16", "expected_output_dtype": "float32"}),
            ({"trainable": False}, (2, 3, 4), (2, 3, 4), {"expected_num_trainable_weights": 0}),
        ],
    ),
    "ZeroPadShortcut": (
        False,
        (0, 0),
        [
            ({"filters": 8}, IMAGE, (2, 3, 2, 8), {}),
            ({"filters": 3, "stride": 1}, IMAGE, IMAGE, {}),
            ({"filters": 4, "stride": 3}, IMAGE, (2, 2, 2, 4), {}),
        ],
    ),
}
CHECKS = [(name, i) for name, (_, _, configurations) in CASES.items() for i in range(len(configurations))]


def draw(*shape, seed=0):
    return np.random.RandomState(seed).standard_normal(shape).astype("float32")


def array(tensor):
    return ops.convert_to_numpy(tensor)


def test_each_public_layer_is_checked_at_least_three_times():
    assert set(CASES) == set(kzoo.layers.__all__)
    assert min(len(configurations) for _, _, configurations in CASES.values()) >= 3


@pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning")  # Keras trains with a generator here
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights:UserWarning")
@pytest.mark.parametrize(("name", "i"), CHECKS)
def test_layer_passes_keras_own_checks(name, i):
    masks, (trainable, others), configurations = CASES[name]
    arguments, shape, expected, options = configurations[i]
    layer_class = getattr(kzoo.layers, name)
    if arguments.get("trainable") is False:
        trainable, others = 0, trainable + others
    defaults = {
        "expected_num_trainable_weights": trainable,
        "expected_num_non_trainable_weights": others,
        "expected_num_losses": 0,
        "supports_masking": masks,
    }
    if "float64" in str(arguments.get("dtype")):
        kzoo.set_precision("float64")  # JAX has no such numbers otherwise
    runner = testing.TestCase()
    runner.run_layer_test(layer_class, arguments, shape, expected_output_shape=expected, **{**defaults, **options})


# Masks


IMAGES = draw(4, 5, 6, 3) * [1, 2, 3] + [3, -1, 0]
MASK = np.random.RandomState(1).uniform(size=IMAGES.shape[:3]) < 0.6


def relatives(**options):
    """Returns kzoo's batch normalization and Keras's, with the same weights."""
    ours = kzoo.BatchNorm(0.8, 1e-4, **options)
    theirs = keras.layers.BatchNormalization(momentum=0.8, epsilon=1e-4, **options)
    for layer in (ours, theirs):
        layer.build(IMAGES.shape)
        layer.set_weights([draw(3, seed=i) ** 2 + i for i in range(4)])
    return ours, theirs


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 1, 1), (1, 5, 1)])
def test_batch_norm_with_a_mask_is_that_of_keras(training, shape):
    ours, theirs = relatives()
    mask = np.arange(np.prod(shape)).reshape(shape) % 3 != 1
    a, b = (array(layer(IMAGES, training=training, mask=ops.convert_to_tensor(mask))) for layer in (ours, theirs))
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_batch_norm_trains_with_masks_as_that_of_keras():
    trained = []
    for layer in relatives():
        images = keras.Input((5, 6, 3))
        model = keras.Model(images, layer(keras.layers.Masking(7.0)(images)))
        model.compile(keras.optimizers.SGD(0.1), "mse")
        masked = np.where(MASK[..., None], IMAGES, 7).astype("float32")
        model.fit(masked, 2 * IMAGES, epochs=2, batch_size=2, shuffle=False, verbose=0)
        trained.append(layer.get_weights())
    for mine, other in zip(*trained, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_batch_norm_leaves_out_what_is_masked_also_if_it_is_no_number():
    layer = kzoo.BatchNorm(momentum=0)
    broken = np.where(MASK[..., None], IMAGES, np.nan).astype("float32")
    y = array(layer(broken, training=True, mask=ops.convert_to_tensor(MASK)))
    np.testing.assert_allclose(y[MASK].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y[MASK].std(0), 1, atol=1e-4)
    np.testing.assert_allclose(layer.moving_variance.numpy(), IMAGES[MASK].var(0), rtol=1e-4)


def test_batch_norm_of_what_is_masked_altogether_is_finite():
    layer = kzoo.BatchNorm()
    x = np.zeros((2, 3, 3, 4), "float32")
    y = layer(x, training=True, mask=ops.zeros((2, 3, 3), "bool"))
    np.testing.assert_array_equal(array(y), x)


def test_batch_norm_says_which_mask_it_takes():
    with pytest.raises(ValueError, match=r"`mask` must have one axis less than the inputs. Received: mask of shape"):
        kzoo.BatchNorm()(IMAGES, training=True, mask=ops.ones((4, 5), "bool"))


@pytest.mark.parametrize(
    "make", [kzoo.BatchNorm, lambda: kzoo.Dropout(0.5), kzoo.ReLU, kzoo.PixelNormalization, kzoo.layers.ScaleShift]
)
def test_masks_go_through_a_layer(make):
    images = keras.Input((5, 6, 3))
    x = make()(keras.layers.Masking(7.0)(images))
    model = keras.Model(images, kzoo.BatchNorm(momentum=0, name="last")(x))
    masked = np.where(MASK[..., None], IMAGES, 7).astype("float32")
    model(masked, training=True)
    mean = model.get_layer("last").moving_mean.numpy()
    before = keras.Model(images, x)
    if make is kzoo.BatchNorm:  # in training it gives mean 0 over the pixels that count alone
        np.testing.assert_allclose(mean, 0, atol=1e-5)
    elif isinstance(before.layers[-1], kzoo.Dropout):
        before.layers[-1].step.assign(0)
        np.testing.assert_allclose(mean, array(before(masked, training=True))[MASK].mean(0), rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_allclose(mean, array(before(masked))[MASK].mean(0), rtol=1e-4, atol=1e-5)


def test_a_sum_of_masked_images_is_that_of_keras():
    sums = []
    for layer in (kzoo.Add(), keras.layers.Add()):
        inputs = [keras.Input((5, 6, 3)), keras.Input((5, 6, 3))]
        masked = [keras.layers.Masking(7.0)(one) for one in inputs]
        norm = kzoo.BatchNorm(momentum=0, name="norm")
        model = keras.Model(inputs, norm(layer(masked)))
        model([np.where(MASK[..., None], IMAGES, 7), np.where(MASK[::-1, ..., None], IMAGES, 7)], training=True)
        sums.append(norm.moving_mean.numpy())
    np.testing.assert_allclose(*sums, rtol=1e-5)


# Integers


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: kzoo.Conv2D(4, stride=2, use_bias=True),
        lambda: kzoo.layers.Conv2DReLU(4, use_bias=True),
        kzoo.BatchNorm,
        lambda: kzoo.Dropout(0.5, name="dropout"),
        kzoo.PixelNormalization,
        kzoo.layers.ScaleShift,
    ],
)
def test_integers_give_what_their_floats_give(make, dtype):
    layer, x = make(), np.random.RandomState(0).randint(0, 200, (2, 5, 4, 3)).astype(dtype)
    training = {"training": True} if isinstance(layer, kzoo.Dropout) else {}
    y = layer(ops.convert_to_tensor(x), **training)
    if training:
        layer.step.assign(0)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    np.testing.assert_array_equal(array(y), array(layer(ops.convert_to_tensor(x.astype("float32")), **training)))


def test_an_integer_residual_is_added():
    layer = kzoo.layers.Conv2DReLU(3, use_bias=True)
    x, residual = IMAGES.astype("float32"), np.full(IMAGES.shape, 3, "int32")
    y, expected = (array(layer([x, residual.astype(dtype)])) for dtype in ("int32", "float32"))
    np.testing.assert_allclose(y, expected, rtol=1e-6)


# What the relatives compute


def test_relu_with_all_its_arguments_is_that_of_keras():
    arguments, x = {"max_value": 1.5, "negative_slope": 0.25, "threshold": 0.5}, draw(3, 4)
    np.testing.assert_array_equal(array(kzoo.ReLU(**arguments)(x)), array(keras.layers.ReLU(**arguments)(x)))


def test_pixel_normalization_is_that_of_keras_for_pixels_up_to_255():
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.3, 0.1])
    theirs = keras.layers.Normalization(mean=255 * mean, variance=(255 * std) ** 2)
    x = np.random.RandomState(0).uniform(0, 255, (2, 4, 4, 3)).astype("float32")
    np.testing.assert_allclose(array(kzoo.PixelNormalization(mean, std)(x)), array(theirs(x)), rtol=1e-4, atol=1e-5)


def test_scale_shift_is_the_rescaling_of_keras_for_one_value():
    layer = kzoo.layers.ScaleShift()
    layer.build((None, 3))
    layer.set_weights([np.full(3, 0.5), np.full(3, -2.0)])
    x = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(array(layer(x)), array(keras.layers.Rescaling(0.5, -2.0)(x)))


@pytest.mark.parametrize("arguments", [{"filters": 4, "use_bias": True}, {"filters": 2, "kernel_size": 5}])
def test_conv2d_at_stride_1_is_that_of_keras(arguments):
    ours = kzoo.Conv2D(**arguments)
    theirs = keras.layers.Conv2D(**{"kernel_size": 3, "use_bias": False, **arguments}, padding="same")
    ours.build(IMAGES.shape)
    theirs.build(IMAGES.shape)
    theirs.set_weights(ours.get_weights())
    x = IMAGES.astype("float32")
    np.testing.assert_allclose(array(ours(x)), array(theirs(x)), rtol=1e-4, atol=1e-4)


# Images of any size


@pytest.mark.parametrize("order", ["classic", "preact", "additive"])
@pytest.mark.parametrize("shortcut", ["pad", "projection", "none"])
def test_networks_are_built_for_images_of_any_size(order, shortcut):
    model = kzoo.resnet(8, input_shape=(None, None, 3), order=order, shortcut=shortcut, include_top=False)
    assert model.output_shape == (None, None, None, 64)
    assert model.compute_output_shape((1, 12, 20, 3)) == (1, 3, 5, 64)


@pytest.mark.parametrize("name", ["Conv2D", "ZeroPadShortcut", "BatchNorm", "Dropout", "PixelNormalization"])
def test_layers_tell_shapes_of_images_of_any_size(name):
    layer = getattr(kzoo.layers, name)(**CASES[name][2][0][0])
    sizes = (3, 2) if name == "ZeroPadShortcut" else (5, 4)
    assert layer(keras.Input((None, None, 3))).shape[:3] == (None, None, None)
    assert tuple(layer(draw(2, 5, 4, 3)).shape)[1:3] == sizes
