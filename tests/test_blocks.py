import keras
import numpy as np
import pytest
from gradients import gradients
from keras import ops

import kzoo

ORDERS = ["classic", "preact", "additive"]


def block(shape=(6, 6, 4), filters=4, **form):
    inputs = keras.Input(shape)
    return keras.Model(inputs, kzoo.residual_block(inputs, filters, name="block", **form))


def shuffled(model, seed=0):
    """Gives every weight a random value, so that no equation holds by chance."""
    random = np.random.RandomState(seed)
    model.set_weights([random.standard_normal(weight.shape) for weight in model.get_weights()])
    for layer in model.layers:
        if isinstance(layer, kzoo.BatchNorm):
            layer.moving_variance.assign(np.abs(layer.moving_variance.numpy()) + 0.1)
    return model


def relu(x):
    return np.maximum(x, 0)


def part(model, name):
    """A layer of the block as a function of NumPy arrays; the identity where the block has no such layer."""
    names = [layer.name for layer in model.layers]
    if f"block_{name}" not in names:
        return lambda x: x
    layer = model.get_layer(f"block_{name}")
    return lambda x: ops.convert_to_numpy(layer(ops.convert_to_tensor(x.astype("float32"))))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shortcut", ["pad", "projection", "none"])
@pytest.mark.parametrize("normalization", ["batch", None])
def test_block_computes_its_equation(order, shortcut, normalization):
    model = shuffled(
        block((7, 6, 4), 6, stride=2, order=order, shortcut=shortcut, normalization=normalization, dropout=0.2)
    )
    x = np.random.RandomState(1).standard_normal((3, 7, 6, 4)).astype("float32")
    conv1, conv2, norm1, norm2 = (part(model, name) for name in ("conv1", "conv2", "norm1", "norm2"))
    if order == "preact":
        activated = relu(norm1(x))
        branch = conv2(relu(norm2(conv1(activated))))
    else:
        branch = norm2(conv2(relu(norm1(conv1(x)))))
    if order == "additive":
        branch = relu(branch)
    if shortcut == "pad":
        skip = part(model, "shortcut")(x)
    elif shortcut == "projection":
        source = activated if order == "preact" else x
        skip = part(model, "shortcut_norm")(part(model, "shortcut_conv")(source))
    else:
        skip = 0
    expected = relu(skip + branch) if order == "classic" else skip + branch
    actual = model.predict(x, verbose=0)
    assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("order", ORDERS)
def test_block_with_a_dead_branch_passes_gradients_by_its_skip_alone(order):
    x = np.random.RandomState(0).uniform(0.5, 1.5, (2, 6, 6, 4)).astype("float32")

    def gradient_at_input(shortcut):
        model = block(order=order, shortcut=shortcut)
        for name in ("block_conv1", "block_conv2"):
            model.get_layer(name).kernel.assign(np.zeros((3, 3, 4, 4)))
        return gradients(model, x)

    np.testing.assert_array_equal(gradient_at_input("none"), 0)
    np.testing.assert_array_equal(gradient_at_input("pad"), 1)


@pytest.mark.parametrize(
    ("order", "normalization", "layer", "weight"),
    [
        ("classic", "batch", "norm2", "gamma"),
        ("preact", "batch", "conv2", "kernel"),
        ("classic", None, "conv2", "kernel"),
    ],
)
def test_block_that_starts_at_zero_is_its_shortcut_and_learns(order, normalization, layer, weight):
    form = {"order": order, "normalization": normalization}
    model, other = (block(zero_init_residual=zero, **form) for zero in (True, False))
    for variable, theirs in zip(model.weights, other.get_weights(), strict=True):  # nothing else is another
        is_zero = variable.path == f"block_{layer}/{weight}"
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), 0 * theirs if is_zero else theirs)
    x = ops.convert_to_tensor(np.random.RandomState(0).uniform(0.5, 1.5, (2, 6, 6, 4)).astype("float32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(model(x, training=True)), x)
    target = getattr(model.get_layer(f"block_{layer}"), weight)
    (slope,), _ = kzoo.ops.gradients(lambda: (ops.sum(model(x, training=True) ** 3), ()), [target])
    assert np.abs(ops.convert_to_numpy(slope)).max() > 0.1


def test_block_that_starts_at_zero_is_built_again_so():
    model = block(zero_init_residual=True)
    for again in (keras.models.clone_model(model), keras.models.model_from_json(model.to_json())):
        scales = [ops.convert_to_numpy(again.get_layer(f"block_norm{i}").gamma) for i in (1, 2)]
        np.testing.assert_array_equal(scales, [[1] * 4, [0] * 4])


def test_norm_says_nothing_of_a_scale_of_one():
    """What runs recorded before there was another."""
    assert "gamma_initializer" not in block().to_json()


@pytest.mark.parametrize("form", [{"order": "additive"}, {"shortcut": "none"}])
def test_block_that_could_never_learn_does_not_start_at_zero(form):
    with pytest.raises(ValueError, match="`zero_init_residual` must be False with .* Received: order="):
        block(zero_init_residual=True, **form)


def test_dropped_units_carry_no_activation_and_no_gradient():
    layer = kzoo.Dropout(0.5, name="drop")
    layer.build((4, 8))
    x = np.random.RandomState(0).uniform(1, 2, (4, 8)).astype("float32")
    y = ops.convert_to_numpy(layer(ops.convert_to_tensor(x), training=True))
    layer.step.assign(0)
    gradient = gradients(lambda inputs: layer(inputs, training=True), x)
    dropped = y == 0
    assert 0 < dropped.sum() < dropped.size
    np.testing.assert_array_equal(gradient[dropped], 0)
    np.testing.assert_array_equal(gradient[~dropped], 2)


@pytest.mark.parametrize("order", ORDERS)
def test_block_keeps_the_identity_where_the_shape_does_not_change(order):
    names = [layer.name for layer in block(order=order, shortcut="projection").layers]
    assert not [name for name in names if "shortcut" in name]


@pytest.mark.parametrize("order", ORDERS)
def test_block_puts_dropout_before_the_second_convolution(order):
    model = block(order=order, dropout=0.3)
    dropout = model.get_layer("block_dropout")
    assert model.get_layer("block_conv2").input is dropout.output
    assert dropout.rate == 0.3


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"order": "v3"}, "`order` must be one of .* Received: order='v3'."),
        ({"shortcut": "B"}, "`shortcut` must be one of .* Received: shortcut='B'."),
        ({"normalization": "layer"}, "`normalization` must be one of .* Received: normalization='layer'."),
        ({"dropout": 1.0}, "`dropout` must be"),
    ],
)
def test_block_says_what_was_expected(form, message):
    with pytest.raises(ValueError, match=message):
        block(**form)
