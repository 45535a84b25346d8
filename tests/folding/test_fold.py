import keras
import numpy as np
import pytest

import kzoo
from kzoo.ops import gradients


def randomize(model, seed=0):
    """Gives every weight a random value: a fresh norm would fold into almost nothing."""
    random = np.random.RandomState(seed)
    for weight in model.weights:
        if "int" in keras.backend.standardize_dtype(weight.dtype):
            continue
        values = random.uniform(0.5, 1.5, weight.shape)
        if weight.name in ("beta", "moving_mean", "bias", "mean"):
            values -= 1
        if weight.name == "kernel":
            values = random.standard_normal(weight.shape) * np.sqrt(2 / np.prod(weight.shape[:-1]))
        weight.assign(values.astype(keras.backend.standardize_dtype(weight.dtype)))
    return model


def images(*shape):
    return np.random.RandomState(1).randint(0, 256, shape).astype("uint8")


def norms(model):
    kinds = (kzoo.BatchNorm, keras.layers.BatchNormalization)
    return [layer.name for layer in model.layers if isinstance(layer, kinds)]


def scales(model):
    return [layer.name for layer in model.layers if isinstance(layer, kzoo.ScaleShift)]


def assert_same_answers(model, folded, x):
    expected, actual = model.predict(x, verbose=0), folded.predict(x, verbose=0)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shortcut", ["pad", "projection", "none"])
@pytest.mark.parametrize("order", ["classic", "additive", "preact"])
def test_folded_model_answers_the_same(order, shortcut):
    model = randomize(kzoo.resnet(8, order=order, shortcut=shortcut, dropout=0.1, input_shape=(11, 8, 3)))
    folded = kzoo.fold_batch_norm(model)
    assert norms(folded) == []
    assert_same_answers(model, folded, images(4, 11, 8, 3))


@pytest.mark.parametrize(("order", "left"), [("classic", 0), ("additive", 0), ("preact", 4)])
def test_fold_leaves_a_scale_only_where_no_convolution_precedes(order, left):
    folded = kzoo.fold_batch_norm(kzoo.resnet(8, order=order))
    assert len(scales(folded)) == left


def test_folded_model_keeps_names_and_the_input_normalization():
    model = randomize(kzoo.resnet(8))
    folded = kzoo.fold_batch_norm(model)
    assert (folded.name, folded.input.name) == ("resnet8", "image")
    joined = {layer.name for layer in model.layers if layer.name.endswith(("_add", "_relu", "_relu1", "_relu2"))}
    assert {layer.name for layer in folded.layers} == {layer.name for layer in model.layers} - set(
        norms(model)
    ) - joined
    for a, b in zip(folded.get_layer("normalization").get_weights(), model.layers[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("order", "left"), [("classic", (0, 0)), ("additive", (0, 3)), ("preact", (4, 3))], ids=lambda x: str(x)
)
def test_fold_joins_convolutions_with_the_sum_and_the_relu_after_them(order, left):
    folded = kzoo.fold_batch_norm(kzoo.resnet(8, order=order))
    kinds = [type(layer) for layer in folded.layers]
    assert (kinds.count(kzoo.ReLU), kinds.count(kzoo.Add)) == left


def test_fold_joins_nothing_that_something_else_reads():
    inputs = keras.Input((8, 8, 3))
    x = kzoo.Conv2D(4, name="read_twice")(inputs)
    y = kzoo.Conv2D(4, name="joined")(keras.layers.ReLU()(x))
    z = kzoo.Conv2D(4, name="clipped")(keras.layers.ReLU(name="joined_relu")(keras.layers.Add()([x, y])))
    out = kzoo.Conv2D(4, name="shown")(keras.layers.ReLU(6.0)(z))
    model = randomize(keras.Model(inputs, [keras.layers.ReLU()(out), out]))
    folded = kzoo.fold_batch_norm(model)
    assert [layer.name for layer in folded.layers if isinstance(layer, kzoo.Conv2DReLU)] == ["joined"]
    x = np.random.RandomState(0).standard_normal((9, 8, 8, 3)).astype("float32")
    for expected, actual in zip(model.predict(x, verbose=0), folded.predict(x, verbose=0), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("batch", [1, 16])
def test_folded_model_has_gradients(batch):
    folded = kzoo.fold_batch_norm(randomize(kzoo.resnet(8, input_shape=(8, 8, 3))))
    x = keras.ops.convert_to_tensor(images(batch, 8, 8, 3))
    found = gradients(lambda: (keras.ops.sum(folded(x) ** 2), None), folded.trainable_weights)[0]
    assert all(np.abs(keras.ops.convert_to_numpy(gradient)).max() > 0 for gradient in found)


def test_fold_leaves_the_model_as_it_is():
    model = randomize(kzoo.resnet(8))
    before = model.get_weights()
    kzoo.fold_batch_norm(model).layers[2].set_weights([np.zeros((3, 3, 3, 16)), np.zeros(16)])
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_fold_is_exact_in_float64():
    kzoo.set_precision("float64")
    model = randomize(kzoo.resnet(8, order="preact"))
    x = images(2, 32, 32, 3)
    expected, actual = model.predict(x, verbose=0), kzoo.fold_batch_norm(model).predict(x, verbose=0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_fold_takes_keras_layers():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, padding="same", use_bias=True),
            layers.BatchNormalization(scale=False),
            layers.ReLU(),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(name="after_relu"),
            layers.Flatten(),
            layers.Dense(5),
            layers.BatchNormalization(center=False),
        ]
    )
    folded = kzoo.fold_batch_norm(randomize(model))
    assert (norms(folded), scales(folded)) == ([], ["after_relu"])
    assert_same_answers(model, folded, np.random.RandomState(0).standard_normal((5, 8, 8, 3)))


def test_fold_spares_a_convolution_that_others_read():
    inputs = keras.Input((8, 8, 3))
    y = kzoo.Conv2D(3)(inputs)
    model = randomize(keras.Model(inputs, keras.layers.Add()([kzoo.BatchNorm(name="norm")(y), y])))
    folded = kzoo.fold_batch_norm(model)
    assert scales(folded) == ["norm"]
    assert_same_answers(model, folded, np.random.RandomState(0).standard_normal((5, 8, 8, 3)))


class FiveTimes(keras.layers.ReLU):
    def call(self, inputs):
        return super().call(inputs) * 5


class Difference(keras.layers.Add):
    def call(self, inputs):
        return inputs[0] - inputs[1]


class Doubled(kzoo.BatchNorm):
    def call(self, inputs, training=False):
        return super().call(inputs, training=training) * 2


@pytest.mark.parametrize(
    "after",
    [
        lambda y: kzoo.BatchNorm()(y) + y,
        lambda y: kzoo.ReLU()(y) * 2.0 + y,
        lambda y: keras.ops.abs(y) + kzoo.Add()([kzoo.ReLU()(y), y]),
        lambda y: kzoo.BatchNorm()(kzoo.Conv2DReLU(4)(y)),
        lambda y: FiveTimes()(y),
        lambda y: kzoo.ReLU()(Difference()([y, kzoo.Conv2D(4)(y)])),
        lambda y: kzoo.ReLU()(Doubled()(y)),
    ],
)
def test_fold_sees_operations_and_classes_that_compute_something_else(after):
    inputs = keras.Input((8, 8, 3))
    model = randomize(keras.Model(inputs, after(kzoo.Conv2D(4)(inputs))))
    assert_same_answers(model, kzoo.fold_batch_norm(model), np.random.RandomState(0).standard_normal((9, 8, 8, 3)))


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's export")
def test_folded_model_goes_through_pytorchs_own_export():
    import torch

    folded = kzoo.fold_batch_norm(randomize(kzoo.resnet(8, input_shape=(8, 8, 3))))
    example = keras.ops.convert_to_tensor(images(9, 8, 8, 3))
    program = torch.export.export(folded, (example,), dynamic_shapes=(({0: torch.export.Dim("batch")},),))
    for batch in (2, 9, 17):
        x = images(batch, 8, 8, 3)
        expected = folded.predict(x, verbose=0)
        actual = keras.ops.convert_to_numpy(program.module()(keras.ops.convert_to_tensor(x)))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_folded_model_is_saved_and_loaded(tmp_path):
    folded = kzoo.fold_batch_norm(randomize(kzoo.resnet(8, order="preact")))
    folded.save(tmp_path / "folded.keras")
    loaded = keras.saving.load_model(tmp_path / "folded.keras")
    assert_same_answers(folded, loaded, images(2, 32, 32, 3))


def test_fold_says_what_it_takes():
    class Subclassed(keras.Model):
        pass

    with pytest.raises(ValueError, match="must be functional or sequential. Received: 'mine', a Subclassed."):
        kzoo.fold_batch_norm(Subclassed(name="mine"))
    inputs = keras.Input((3, 8, 8))
    model = keras.Model(inputs, keras.layers.BatchNormalization(axis=1, name="norm")(inputs))
    with pytest.raises(ValueError, match="must act on the last axis. Received: 'norm', axis=1."):
        kzoo.fold_batch_norm(model)


def test_models_inside_are_folded():
    inner = kzoo.resnet(8, input_shape=(8, 8, 3), name="inside", order="preact", seed=3)
    inputs = keras.Input((8, 8, 3))
    x = keras.Sequential([inner, keras.layers.Dense(8), keras.layers.BatchNormalization()], name="chain")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(x) + 1.0)
    for weight in model.weights:
        if weight.path.endswith("/moving_variance"):
            weight.assign(weight + 0.5)
    folded = kzoo.fold_batch_norm(model)
    images = np.random.RandomState(0).randint(0, 256, (3, 8, 8, 3))
    np.testing.assert_allclose(
        folded.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-4, atol=1e-4
    )
    kinds = {type(layer) for layer in folded.get_layer("chain").get_layer("inside").layers}
    assert kzoo.Conv2DReLU in kinds
    assert kzoo.BatchNorm not in kinds


def test_scale_shift_is_rebuilt_from_its_config():
    layer = kzoo.ScaleShift(name="scale")
    layer.build((None, 2, 2, 3))
    assert kzoo.ScaleShift.from_config(layer.get_config()).get_config() == layer.get_config()
    with pytest.raises(ValueError, match="Inputs must have known channels"):
        kzoo.ScaleShift().build((None, None))
