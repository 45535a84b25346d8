"""The planned walk through a functional model gives what Keras's gives, and keeps less."""

import gc
import weakref

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("how functional models run on PyTorch", allow_module_level=True)

import torch

import kzoo
from kzoo.ops import torch_walk

IMAGES = np.random.RandomState(0).randint(0, 256, (3, 16, 16, 3)).astype("uint8")


def by_keras(model, *inputs, **options):
    """Returns what a model gives on Keras's own walk."""
    planned = keras.Function._run_through_graph
    keras.Function._run_through_graph = planned.__wrapped__
    try:
        return model(*inputs, **options)
    finally:
        keras.Function._run_through_graph = planned


def is_planned(model):
    return torch_walk._plan(model).visits is not None


@pytest.mark.parametrize("training", [False, True])
def test_resnets_give_the_same_to_the_bit(training):
    model = kzoo.resnet(8, input_shape=(16, 16, 3), order="preact", dropout=0.2)
    assert is_planned(model)
    weights = model.get_weights()  # also the counts that dropout masks are drawn from
    y, after = model(torch.from_numpy(IMAGES), training=training), model.get_weights()
    model.set_weights(weights)
    expected = by_keras(model, torch.from_numpy(IMAGES), training=training)
    torch.testing.assert_close(y, expected, rtol=0, atol=0)
    for a, b in zip(after, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_structures_of_inputs_and_outputs_are_kept():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    total = kzoo.Add()([a, b])
    model = keras.Model({"a": a, "b": b}, {"sum": total, "relu": kzoo.ReLU()(total), "a": a})
    assert is_planned(model)
    given = {"a": torch.randn(2, 4), "b": torch.randn(2, 4)}
    y, expected = model(given), by_keras(model, given)
    assert y.keys() == expected.keys() == {"sum", "relu", "a"}
    for name in y:
        torch.testing.assert_close(y[name], expected[name], rtol=0, atol=0)


def test_operations_with_several_tensors_are_left_to_keras():
    class Halves(keras.layers.Layer):
        def call(self, x):
            return x[:, :2], x[:, 2:]

    a = keras.Input((4,))
    left, right = Halves()(a)
    model = keras.Model(a, keras.ops.multiply(left, right))
    assert not is_planned(model)
    x = torch.randn(2, 4)
    torch.testing.assert_close(model(x), x[:, :2] * x[:, 2:])


def test_tensors_are_dropped_after_their_last_reader():
    alive = []

    class Watch(keras.layers.Layer):
        def call(self, x):
            gc.collect()
            alive.append(sum(tensor() is not None for tensor in made))
            y = x + 1
            made.append(weakref.ref(y))
            return y

    made = []
    x = images = keras.Input((4,))
    for _ in range(4):
        x = Watch()(x)
    model = keras.Model(images, x)
    made.clear(), alive.clear()
    with torch.no_grad():
        model(torch.randn(2, 4))
    assert alive == [0, 1, 1, 1]
    made.clear(), alive.clear()
    by_keras(model, torch.randn(2, 4))
    assert alive == [0, 1, 2, 3]


def test_symbolic_calls_and_models_inside_models_work():
    inner = kzoo.resnet(8, input_shape=(16, 16, 3), include_top=False)
    images = keras.Input((16, 16, 3))
    outer = keras.Model(images, kzoo.ReLU()(inner(images)))
    assert outer.output_shape == (None, 4, 4, 64)
    torch.testing.assert_close(outer(torch.from_numpy(IMAGES)), by_keras(outer, torch.from_numpy(IMAGES)))


def test_gradients_are_the_same():
    model = kzoo.resnet(8, input_shape=(16, 16, 3))

    def gradients(call):
        model.zero_grad()
        call(torch.from_numpy(IMAGES), training=True).square().sum().backward()
        return [weight.value.grad.clone() for weight in model.trainable_weights]

    for a, b in zip(gradients(model), gradients(lambda x, **o: by_keras(model, x, **o)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
