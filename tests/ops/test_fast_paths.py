"""The operations in use, in float32, against their definition in float64, and against it in float64 as well."""

import contextlib
import functools
import os

import keras
import numpy as np
import pytest
from gradients import gradients, weighted_gradients
from keras import ops

import kzoo.ops
from kzoo.ops import generic

# (batch, height, width, channels, filters, kernel, stride): odd sizes, a single image, batches that no chunk divides.
CONVOLUTIONS = [
    (8, 8, 8, 16, 16, 3, 1),
    (8, 9, 7, 3, 5, 3, 1),
    (1, 9, 9, 16, 32, 3, 2),
    (11, 8, 8, 16, 32, 3, 2),
    (3, 7, 10, 4, 6, 5, 1),
    (3, 7, 10, 4, 6, 5, 3),
    (16, 16, 16, 32, 32, 3, 1),
    (33, 16, 16, 16, 32, 3, 2),
    (9, 8, 8, 16, 32, 1, 1),
    (5, 9, 7, 24, 32, 3, 1),
    (3, 7, 10, 20, 18, 5, 1),
    (16, 9, 8, 16, 32, 1, 2),
    (1, 1, 1, 2, 3, 3, 1),
]
SUBSAMPLED = [((3, 8, 6, 4), 2), ((1, 7, 9, 5), 2), ((2, 1, 1, 3), 2), ((2, 8, 7, 3), 3)]
NORMS = [(8, 6, 6, 16), (1, 5, 7, 3), (1, 2, 3, 4), (13, 3, 2, 64), (17, 16, 16, 16)]


@pytest.fixture
def float64():
    """Sets float64, and JAX back to 32 bits afterwards; the rest of Keras's settings conftest restores."""
    kzoo.ops.set_precision("float64")
    yield
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", False)


def draw(*shape, seed=0):
    return np.random.RandomState(seed).standard_normal(shape)


def operands(case):
    batch, height, width, channels, filters, size, _ = case
    kernel = draw(size, size, channels, filters, seed=1) / size / np.sqrt(channels)
    return draw(batch, height, width, channels), kernel, draw(filters, seed=2)


def both(function, arguments, dtype):
    """Returns outputs and gradients of `function` with random weights on its first output, as NumPy arrays."""
    return weighted_gradients(function, [np.asarray(argument, dtype) for argument in arguments])


def assert_close(actual, expected, tolerance):
    """Asserts each array equal within a fraction of its largest value."""
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1e-3, np.abs(b).max()))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize(
    ("dtype", "output_error", "gradient_error"), [("float32", 1e-5, 1e-4), ("float64", 1e-12, 1e-12)]
)
def test_conv2d_is_its_definition(case, dtype, output_error, gradient_error):
    def convolve(x, kernel, bias, module):
        return module.conv2d(x, kernel, case[-1], bias), module.conv2d(x, kernel, case[-1])

    fast = both(functools.partial(convolve, module=kzoo.ops), operands(case), dtype)
    slow = both(functools.partial(convolve, module=generic), operands(case), "float64")
    assert_close(fast.outputs, slow.outputs, output_error)
    assert_close(fast.gradients, slow.gradients, gradient_error)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-5), ("float64", 1e-12)])
def test_conv2d_relu_is_its_definition(batch, stride, with_residual, dtype, error):
    x, kernel, bias = operands((batch, 7, 9, 5, 6, 3, stride))
    size = -(-7 // stride), -(-9 // stride)
    arguments = [x, kernel, bias, *([draw(batch, *size, 6, seed=7)] if with_residual else [])]

    def run(function, dtype):
        with no_gradients():
            x, kernel, *others = (ops.convert_to_tensor(value, dtype) for value in arguments)
            return ops.convert_to_numpy(function(x, kernel, stride, *others))

    expected = run(generic.conv2d_relu, "float64")
    assert (expected == 0).any()
    assert_close([run(kzoo.ops.conv2d_relu, dtype)], [expected], error)


CHANGES = {
    "assign": lambda kernel: kernel.assign(kernel + 1),
    "data": lambda kernel: kernel.value.data.add_(1),
    "exchange": lambda kernel: setattr(kernel.value, "data", kernel.value.data + 1),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("batch", [1, 9])
def test_conv2d_relu_sees_that_its_kernel_has_changed(change, batch):
    if change != "assign" and keras.backend.backend() != "torch":
        pytest.skip("PyTorch's ways to change a weight")
    x, kernel, _ = operands((batch, 7, 9, 5, 6, 3, 1))
    images, kernel = ops.convert_to_tensor(x, "float32"), keras.Variable(kernel, dtype="float32")
    with no_gradients():
        for _ in range(2):
            y = ops.convert_to_numpy(kzoo.ops.conv2d_relu(images, kernel))
            expected = ops.convert_to_numpy(generic.conv2d_relu(images, ops.copy(ops.convert_to_tensor(kernel))))
            np.testing.assert_allclose(y, expected, atol=1e-4)
            CHANGES[change](kernel)


def no_gradients():
    """Returns what PyTorch predicts under, and elsewhere nothing."""
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("shape", NORMS, ids=str)
@pytest.mark.parametrize(
    ("dtype", "output_error", "gradient_error"), [("float32", 1e-5, 1e-4), ("float64", 1e-12, 1e-10)]
)
def test_batch_norm_is_its_definition(shape, dtype, output_error, gradient_error):
    x = draw(*shape) * np.linspace(0.5, 2, shape[-1]) + np.linspace(-1, 1, shape[-1])
    arguments = x, draw(shape[-1], seed=1), draw(shape[-1], seed=2)
    fast = both(lambda *tensors: kzoo.ops.batch_norm(*tensors, 1e-5), arguments, dtype)
    slow = both(lambda *tensors: generic.batch_norm(*tensors, 1e-5), arguments, "float64")
    assert_close(fast.outputs, slow.outputs, output_error)
    assert_close(fast.gradients, slow.gradients, gradient_error)


@pytest.mark.parametrize("shape", NORMS, ids=str)
@pytest.mark.parametrize("name", ["batch_norm", "scale_shift"])
def test_norm_of_bfloat16_computes_in_float32(name, shape):
    """Results and gradients are those of float32, but for the rounding of what goes in and comes out."""
    wide = ops.cast(ops.convert_to_tensor(draw(*shape) + 1, "bfloat16"), "float32")
    options = {"epsilon": 1e-5} if name == "batch_norm" else {}

    def narrowed(operation):
        def run(x, scale, shift):
            y = operation(ops.cast(x, "bfloat16"), scale, shift, **options)
            y, *statistics = y if isinstance(y, tuple) else (y,)
            return ops.cast(ops.cast(y, "bfloat16"), "float32"), *statistics

        return run

    def plain(x, scale, shift):
        y = getattr(generic, name)(x, scale, shift, **options)
        return y if isinstance(y, tuple) else (y,)

    arguments = ops.convert_to_numpy(wide), draw(shape[-1], seed=1), draw(shape[-1], seed=2)
    narrow, expected = both(narrowed(getattr(kzoo.ops, name)), arguments, "float32"), both(plain, arguments, "float32")
    assert_close(narrow.outputs[:1], expected.outputs[:1], 2**-8)
    assert_close(narrow.outputs[1:], expected.outputs[1:], 1e-5)
    assert_close(narrow.gradients, expected.gradients, 2**-6)


@pytest.mark.usefixtures("repeatable")
@pytest.mark.parametrize("name", ["conv2d", "batch_norm"])
def test_operation_repeats_itself_to_the_bit(name):
    if name == "conv2d":
        arguments = operands((32, 16, 16, 16, 16, 3, 1))
        runs = [both(lambda x, k, b: (kzoo.ops.conv2d(x, k, 1, b),), arguments, "float32") for _ in range(3)]
    else:
        arguments = draw(32, 16, 16, 16), draw(16), draw(16)
        runs = [both(lambda *tensors: kzoo.ops.batch_norm(*tensors, 1e-5), arguments, "float32") for _ in range(3)]
    for run in runs[1:]:
        for a, b in zip([*run.outputs, *run.gradients], [*runs[0].outputs, *runs[0].gradients], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("images", [1, 8, 64])
def test_batch_norm_of_images_with_an_even_background_is_exact_to_the_last_bits(images):
    x = draw(images, 32, 32, 8) + 0.3
    x[:, :16] = np.linspace(0.5, 0.7, 8)  # half of each image, where a plain sum in float32 is wrong by 1e-4
    arguments = x, np.ones(8), np.zeros(8)
    fast = both(lambda *tensors: kzoo.ops.batch_norm(*tensors, 1e-5), arguments, "float32")
    slow = both(lambda *tensors: generic.batch_norm(*tensors, 1e-5), arguments, "float64")
    assert_close(fast.outputs, slow.outputs, 2e-6)


def test_batch_norm_of_a_constant_has_no_variance():
    _, mean, variance = kzoo.ops.batch_norm(ops.full((4, 3, 3, 2), 7.0), ops.ones((2,)), ops.zeros((2,)), 1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(mean), 7, rtol=1e-7)
    assert (np.abs(ops.convert_to_numpy(variance)) < 1e-10).all()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "stride"), SUBSAMPLED)
def test_subsample_takes_the_very_pixels(shape, stride, dtype):
    x = draw(*shape)
    x[0, 0, 0, :3] = np.nan, np.inf, -np.inf
    fast = both(lambda x: (kzoo.ops.subsample(x, stride),), [x], dtype)
    slow = both(lambda x: (generic.subsample(x, stride),), [x], dtype)
    np.testing.assert_array_equal(fast.outputs[0], slow.outputs[0])
    np.testing.assert_array_equal(fast.gradients[0], slow.gradients[0])


@pytest.mark.parametrize("dtype", ["int32", "float16", "bfloat16"])
@pytest.mark.parametrize("images", [0, 2])
def test_subsample_takes_other_dtypes_and_no_images(images, dtype):
    x = np.arange(images * 5 * 4 * 3).reshape(images, 5, 4, 3)
    y = kzoo.ops.subsample(ops.convert_to_tensor(x, dtype), 2)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(y, "float32")), x[:, ::2, ::2])


@pytest.mark.parametrize("images", [0, 2])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 2)])
def test_pad_channels_adds_zeros(images, before, after):
    x = draw(images, 3, 4, 2)
    y = ops.convert_to_numpy(kzoo.ops.pad_channels(ops.convert_to_tensor(x, "float32"), before, after))
    np.testing.assert_array_equal(y, np.pad(np.float32(x), [(0, 0)] * 3 + [(before, after)]))


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (1, 1, 1, 1), (3, 2), (0, 4, 4, 3)])
def test_normalize_rounds_as_its_definition(shape):
    x = np.float32(np.random.RandomState(0).randint(0, 256, shape))
    largest, mean, std = np.float32([np.full(shape[-1], 255), *np.random.RandomState(1).rand(2, shape[-1]) + 0.1])
    expected = (x / largest - mean) / std
    y = ops.convert_to_numpy(kzoo.ops.normalize(*map(ops.convert_to_tensor, (x, largest, mean, std))))
    np.testing.assert_array_equal(y, expected)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="XLA divides in float32 to two units only on GPUs")
@pytest.mark.parametrize("wide", [False, True], ids=["float32", "64-bit numbers"])
def test_division_on_gpus_is_exact(monkeypatch, wide):
    import jax

    x, divisor = np.float32(np.arange(256))[:, None], np.float32([255, 0.247, 3])
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    divide = kzoo.ops.normalize.keywords["divide"]
    with jax.enable_x64(wide):
        compiled = jax.jit(divide).lower(x, divisor)
        y = jax.jit(divide)(x, divisor)
    assert "reduce_precision" in compiled.as_text()  # in float64, rounded once
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, x / divisor)


def test_normalize_has_the_gradient_of_its_definition():
    std = np.float32([0.5, 0.25, 2])
    statistics = [ops.convert_to_tensor(values) for values in (np.full(3, 255, np.float32), std / 2, std)]
    slopes = gradients(lambda x: kzoo.ops.normalize(x, *statistics), np.float32(draw(2, 3, 4, 3)))
    np.testing.assert_allclose(slopes, np.broadcast_to(1 / (255 * std), slopes.shape), rtol=1e-6)


def test_normalize_has_gradients_for_its_statistics():
    arguments = [draw(2, 3, 4, 3), np.full(3, 255.0), draw(3, seed=1), np.abs(draw(3, seed=2)) + 0.1]
    fast = both(lambda *tensors: (kzoo.ops.normalize(*tensors),), arguments, "float32")
    slow = both(lambda *tensors: (generic.normalize(*tensors),), arguments, "float32")
    assert_close(fast.gradients, slow.gradients, 1e-6)


def test_scale_shift_acts_on_channels():
    x = draw(2, 3, 4, 5).astype("float32")
    scale, shift = draw(5, seed=1).astype("float32"), draw(5, seed=2).astype("float32")
    y = ops.convert_to_numpy(kzoo.ops.scale_shift(*map(ops.convert_to_tensor, (x, scale, shift))))
    np.testing.assert_allclose(y, x * scale + shift, rtol=1e-5, atol=1e-6)


def test_conv2d_takes_bfloat16():
    x, kernel, _ = operands((4, 8, 8, 8, 16, 3, 2))
    y = kzoo.ops.conv2d(*(ops.convert_to_tensor(tensor, dtype="bfloat16") for tensor in (x, kernel)), 2)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    expected = ops.convert_to_numpy(
        generic.conv2d(*(ops.convert_to_tensor(t, dtype="float32") for t in (x, kernel)), 2)
    )
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(y, "float32")), expected, atol=0.05)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("decay_on", ["all", "kernels"])
def test_sgd_steps_all_weights_as_it_steps_one(monkeypatch, nesterov, decay_on):
    def trained():
        optimizer = kzoo.SGD(0.1, 0.9, nesterov=nesterov, weight_decay=1e-2, decay_on=decay_on)
        variables = [keras.Variable(draw(*shape, seed=i)) for i, shape in enumerate([(3, 3, 2, 4), (4,), (5, 3)])]
        optimizer.build(variables)
        for step in range(3):
            optimizer.apply([ops.convert_to_tensor(draw(*v.shape, seed=step), dtype="float32") for v in variables])
        return [ops.convert_to_numpy(variable) for variable in variables]

    together = trained()
    monkeypatch.setattr(kzoo.ops, "sgd_step", kzoo.ops.generic.sgd_step)
    for a, b in zip(together, trained(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="copies are counted by PyTorch's profiler")
@pytest.mark.skipif(os.environ.get("KZOO_ACCELERATION") == "off", reason="the definitions copy")
def test_conv2d_and_batch_norm_do_not_copy_activations_on_torch():
    import torch

    x, kernel = torch.randn(8, 16, 16, 16, requires_grad=True), torch.randn(3, 3, 16, 16, requires_grad=True)
    with torch.profiler.profile(record_shapes=True, acc_events=True) as profile:
        y, _, _ = kzoo.ops.batch_norm(kzoo.ops.conv2d(x, kernel), torch.ones(16), torch.zeros(16), 1e-5)
        y.backward(torch.ones_like(y))
    copies = [event.input_shapes[0] for event in profile.events() if event.name == "aten::copy_"]
    assert [shape for shape in copies if shape and shape[0] == len(x)] == []
