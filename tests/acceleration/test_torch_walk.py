"""The planned walk through a functional model gives what Keras's gives, and keeps less."""

import gc
import os
import weakref

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch" or os.environ.get("KZOO_ACCELERATION") == "off":
    pytest.skip("how functional models run on PyTorch, with acceleration on", allow_module_level=True)

import torch
import torch.utils.checkpoint

import kzoo
from kzoo.acceleration import torch_observers, torch_walk

IMAGES = np.random.RandomState(0).randint(0, 256, (3, 16, 16, 3)).astype("uint8")


def by_keras(model, *inputs, **options):
    """Returns what a model gives on Keras's own walk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_walk.ACCELERATION, "_why_off", "compared")
        return model(*inputs, **options)


def is_planned(model):
    return torch_walk._plan(model).steps is not None


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
    model = kzoo.Model({"a": a, "b": b}, {"sum": total, "relu": kzoo.ReLU()(total), "a": a})
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
    model = kzoo.Model(a, keras.ops.multiply(left, right))
    assert not is_planned(model)
    x = torch.randn(2, 4)
    torch.testing.assert_close(model(x).cpu(), x[:, :2] * x[:, 2:])


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
    model = kzoo.Model(images, x)
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
    outer = kzoo.Model(images, kzoo.ReLU()(inner(images)))
    assert outer.output_shape == (None, 4, 4, 64)
    torch.testing.assert_close(outer(torch.from_numpy(IMAGES)), by_keras(outer, torch.from_numpy(IMAGES)))


@pytest.mark.usefixtures("repeatable")
def test_gradients_are_the_same():
    model = kzoo.resnet(8, input_shape=(16, 16, 3))

    def gradients(call):
        model.zero_grad()
        call(torch.from_numpy(IMAGES), training=True).square().sum().backward()
        return [weight.value.grad.clone() for weight in model.trainable_weights]

    for a, b in zip(gradients(model), gradients(lambda x, **o: by_keras(model, x, **o)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def pixels(channels=4):
    return torch.from_numpy(np.random.RandomState(1).standard_normal((2, 3, 3, channels)).astype("float32"))


def norm_and_relu(norm=None, relu=None):
    """Returns a model of a batch normalization and a ReLU, the two, and a place for what the first gives."""
    norm, relu = norm or kzoo.BatchNorm(), relu or kzoo.ReLU()
    x = keras.Input((3, 3, 4))
    return kzoo.Model(x, relu(norm(x))), norm, relu


@pytest.mark.usefixtures("repeatable")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("order", ["classic", "preact", "additive"])
def test_gradients_are_the_same_to_the_bit(order, training):
    model = kzoo.resnet(8, input_shape=(16, 16, 3), order=order)
    slopes = []
    for call in (model, lambda x, **options: by_keras(model, x, **options)):
        model.zero_grad()
        call(torch.from_numpy(IMAGES), training=training).square().sum().backward()
        slopes.append([weight.value.grad.clone() for weight in model.trainable_weights])
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.fixture
def written(monkeypatch):
    """What is written over: which operations, in the order of their calls."""
    if torch.cuda.is_available():
        pytest.skip("memory is written over on CPUs only")
    found, write = [], torch_walk._write_over

    def write_over(step, argument, spare):
        place = spare.data_ptr()
        y = write(step, argument, spare)
        if y is not None:
            assert y.data_ptr() == place
            found.append(step.operation)
        return y

    monkeypatch.setattr(torch_walk, "_write_over", write_over)
    return found


@pytest.mark.parametrize("training", [False, True])
def test_relu_takes_the_memory_of_what_it_alone_reads(training, written):
    model, _, relu = norm_and_relu()
    x = pixels()
    torch.testing.assert_close(model(x, training=training), by_keras(model, x, training=training), rtol=0, atol=0)
    assert written == [relu]
    kzoo.resnet(8, input_shape=(16, 16, 3))(torch.from_numpy(IMAGES), training=training)
    assert len(written) == 1 + 7 + 3  # ReLUs, and the sum of each block


def test_nothing_is_written_over_where_pytorch_does_not_tell_who_observes(written, monkeypatch):
    model, _, relu = norm_and_relu()
    model(pixels())
    monkeypatch.setattr(torch_observers, "_transforms", None)
    model(pixels())
    assert written == [relu]


@pytest.mark.parametrize("turn", [1, -1])
def test_sums_take_the_memory_of_what_they_alone_read(turn, written):
    x, norm, add, given = keras.Input((3, 3, 4)), kzoo.BatchNorm(), kzoo.Add(), pixels()
    model = kzoo.Model(x, add([x, norm(x)][::turn]))
    y = model(given, training=True)
    assert written == [add]
    torch.testing.assert_close(y, given + norm(given, training=True), rtol=0, atol=0)
    torch.testing.assert_close(given, pixels(), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(4,), (1, 1, 4)])
def test_sums_of_other_shapes_stay_sums(shape):
    x, y = keras.Input((3, 3, 4)), keras.Input(shape)
    model = kzoo.Model([x, y], kzoo.Add()([kzoo.BatchNorm()(x), y]))
    given = [torch.randn(3, 3, 3, 4), torch.randn(3, *shape)]  # as many images as rows and columns
    torch.testing.assert_close(model(given), by_keras(model, given), rtol=0, atol=0)


def test_relu_leaves_inputs_alone():
    x, given = pixels(), pixels()
    for make in (lambda x: kzoo.ReLU()(x), lambda x: kzoo.ReLU()(keras.layers.Identity()(x))):
        inputs = keras.Input((3, 3, 4))
        kzoo.Model(inputs, make(inputs))(x)
        torch.testing.assert_close(x, given, rtol=0, atol=0)


def test_relu_leaves_what_others_read_alone():
    norm, x, given = kzoo.BatchNorm(), keras.Input((3, 3, 4)), pixels()
    y = norm(x)
    expected = norm(given)
    outputs = kzoo.Model(x, [kzoo.ReLU()(y), y])(given)
    torch.testing.assert_close(outputs[1], expected, rtol=0, atol=0)
    total = kzoo.Model(x, keras.layers.Subtract()([y, kzoo.ReLU()(y)]))(given)
    torch.testing.assert_close(total, expected.clamp(max=0), rtol=0, atol=0)


@pytest.mark.parametrize("watched", ["maker", "reader", "all"])
def test_relu_leaves_what_a_hook_sees_alone(watched):
    seen = []
    model, norm, relu = norm_and_relu()

    def see(module, inputs, output):
        seen.append({norm: output, relu: inputs[0]}.get(module))

    if watched == "all":
        handle = torch.nn.modules.module.register_module_forward_hook(see)
    else:
        handle = (norm if watched == "maker" else relu).register_forward_hook(see)
    try:
        model(pixels())
    finally:
        handle.remove()
    assert min(float(tensor.detach().min()) for tensor in seen if tensor is not None) < 0


@pytest.mark.parametrize("replaced", ["of the maker", "of the reader", "of the reader's class"])
def test_a_replaced_call_is_called_and_sees_its_own(replaced, monkeypatch):
    model, norm, relu = norm_and_relu()
    seen, call = [], norm.call

    def remember(x, training=False, mask=None):
        seen.append(call(x, training=training))
        return seen[-1]

    if replaced == "of the maker":
        norm.call = remember
        model(pixels())
        assert float(seen[0].detach().min()) < 0
    else:
        monkeypatch.setattr(relu if replaced == "of the reader" else kzoo.ReLU, "call", lambda *inputs: inputs[-1] * 0)
        assert float(model(pixels()).detach().abs().max()) == 0


@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_transformed_and_traced_models_compute_as_ever():
    model = kzoo.resnet(8, input_shape=(16, 16, 3))
    x = torch.from_numpy(IMAGES).float()
    expected = by_keras(model, x)
    torch.testing.assert_close(torch.func.vmap(lambda image: model(image[None])[0])(x), expected, rtol=1e-4, atol=1e-4)
    y, slope = torch.func.jvp(model, (x,), (x,))
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(slope, torch.func.jvp(lambda x: by_keras(model, x), (x,), (x,))[1])
    torch.testing.assert_close(torch.jit.trace(model, x)(x), expected)


def test_checkpointed_models_have_their_gradients():
    model, norm, _ = norm_and_relu()
    torch.utils.checkpoint.checkpoint(model, pixels(), use_reentrant=False).sum().backward()
    assert norm.gamma.value.grad is not None


def test_relu_leaves_what_other_classes_make_alone():
    class Remembers(kzoo.BatchNorm):
        def call(self, inputs, training=False):
            self.__dict__["last"] = super().call(inputs, training=training)
            return self.last

    model, norm, _ = norm_and_relu(Remembers())
    model(pixels())
    assert float(norm.last.detach().min()) < 0


def test_a_penalty_on_what_is_normalized_has_its_gradient():
    model, *_ = norm_and_relu(kzoo.BatchNorm(activity_regularizer=keras.regularizers.L2(0.1)))
    y = model(pixels(), training=True)
    (y.sum() + sum(model.losses)).backward()


def test_relu_with_other_arguments_keeps_them():
    model, *_ = norm_and_relu(relu=kzoo.ReLU(max_value=0.5, negative_slope=0.1))
    y = model(pixels()).detach()
    assert float(y.max()) == 0.5
    assert float(y.min()) < 0
