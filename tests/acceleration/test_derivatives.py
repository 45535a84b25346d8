"""Fast forms have every derivative that their definitions have, of any order and mode."""

import keras
import numpy as np
import pytest
from definition import by_definition, small_model
from keras import ops

import kzoo

BACKEND = keras.backend.backend()
IMAGES = np.random.RandomState(0).uniform(0, 255, (5, 8, 8, 3)).astype("float32")
DIRECTION = np.random.RandomState(1).standard_normal(IMAGES.shape).astype("float32")


@pytest.fixture(autouse=True)
def no_convolution_is_too_small(monkeypatch):
    if BACKEND == "jax":
        from kzoo.acceleration import jax_onednn

        monkeypatch.setattr(jax_onednn, "FEW", 0)


# PyTorch has a form of its own for the batch normalization of inference, TensorFlow one for many pixels in training.
KINDS = {"torch": ["training", "inference", "folded"], "tensorflow": ["training", "many pixels", "folded"]}


@pytest.fixture(params=KINDS.get(BACKEND, ["training", "folded"]))
def total(request, monkeypatch):
    """A function of images, and of a variable's value: a number that a model gives, smooth but for its ReLUs."""
    keras.utils.set_random_seed(1)
    model = small_model()
    if request.param == "many pixels":
        from kzoo.ops import tensorflow_norm

        monkeypatch.setattr(tensorflow_norm, "_SMALL", 0)
    if request.param == "folded":
        model = kzoo.fold_batch_norm(model)
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    kernel = next(v for v in model.trainable_variables if v.name == "kernel" and len(v.shape) == 4 and v.shape[2] == 6)

    def number(images, values=None):
        state = [(kernel, kernel.value if values is None else values)]
        state += [(variable, variable.value) for variable in variables if variable is not kernel]
        with keras.StatelessScope(state_mapping=state):  # what is learned of the batch is dropped
            return ops.sum(ops.sin(model(images, training=request.param in ("training", "many pixels"))))

    return number, kernel


def assert_same(derive):
    """Asserts that some arrays come out alike by the fast forms and by the definitions."""
    actual = [ops.convert_to_numpy(array) for array in derive()]
    with by_definition():
        expected = [ops.convert_to_numpy(array) for array in derive()]
    for a, b in zip(actual, expected, strict=True):
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-3 * np.abs(b).max())


@pytest.mark.skipif(BACKEND != "jax", reason="JAX's transformations")
@pytest.mark.parametrize(
    "mode", ["of a gradient", "forward of a gradient", "gradient of a forward", "linear", "mapped", "kept in part"]
)
def test_jax_differentiates(total, mode):
    import jax

    number, kernel = total
    point, way = (IMAGES, kernel.value + 0), (DIRECTION, kernel.value * 0.1)

    def forward(*point):
        return jax.jvp(number, point, way)[1]

    def derive():
        gradient = jax.grad(lambda *point: number(*point), (0, 1))
        match mode:
            case "of a gradient":
                return jax.jit(jax.grad(lambda *p: sum(ops.sum(s * s) for s in gradient(*p)), (0, 1)))(*point)
            case "forward of a gradient":
                return jax.jit(lambda *p: jax.jvp(gradient, p, way)[1])(*point)
            case "gradient of a forward":
                return jax.jit(jax.grad(lambda *p: forward(*p), (0, 1)))(*point)
            case "linear":
                return [jax.jit(lambda *p: jax.linearize(number, *p)[1](*way))(*point)]
            case "mapped":
                return [jax.jit(jax.vmap(jax.grad(lambda image: number(image[None]))))(IMAGES)]
            case "kept in part":
                return jax.jit(jax.grad(jax.checkpoint(lambda *point: number(*point)), (0, 1)))(*point)

    assert_same(derive)


@pytest.mark.skipif(BACKEND != "jax", reason="JAX's transformations")
def test_jax_differentiates_forward_by_all_inputs():
    import jax

    kernel = np.random.RandomState(0).standard_normal((3, 3, 2, 2)).astype("float32")
    images = IMAGES[:4, :2, :2, :2]
    for stride in (1, 2):
        jacobian = jax.jacfwd(lambda x, stride=stride: kzoo.ops.conv2d(x, kernel, stride))(images)
        backward = jax.jacrev(lambda x, stride=stride: kzoo.ops.conv2d(x, kernel, stride))(images)
        np.testing.assert_allclose(jacobian, backward, atol=1e-5)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's transformations")
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "mode", ["gradient", "of a gradient", "dual", "forward", "forward of a gradient", "functional", "hessian"]
)
def test_pytorch_differentiates(total, mode):
    import torch
    from torch.autograd import forward_ad

    number, kernel = total
    way = ops.convert_to_tensor(DIRECTION)

    def derive():
        images = ops.convert_to_tensor(IMAGES).requires_grad_()
        weights = [kernel.value, images]
        match mode:
            case "gradient":
                return torch.autograd.grad(number(images), weights)
            case "of a gradient":
                slopes = torch.autograd.grad(number(images), weights, create_graph=True)
                return torch.autograd.grad(sum(slope.square().sum() for slope in slopes), weights)
            case "dual":
                with forward_ad.dual_level():
                    y = number(forward_ad.make_dual(images.detach(), way))
                    return [forward_ad.unpack_dual(y).tangent.detach()]
            case "forward":
                return [torch.func.jvp(number, (images.detach(),), (way,))[1].detach()]
            case "forward of a gradient":
                return [torch.func.jvp(torch.func.grad(number), (images.detach(),), (way,))[1].detach()]
            case "functional":
                slopes = torch.func.grad(number, (0, 1))(images.detach(), kernel.value.detach())
                return [slope.detach() for slope in slopes]
            case "hessian":
                return [torch.autograd.functional.vhp(number, images.detach(), way)[1]]

    assert_same(derive)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's tape")
def test_pytorch_penalizes_gradients_in_training():
    import torch

    model = small_model()
    state = model.get_weights()

    def derive():
        model.set_weights(state)
        images = ops.convert_to_tensor(IMAGES).requires_grad_()
        (slope,) = torch.autograd.grad(model(images, training=True).sin().sum(), images, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        weights = [v.value for v in model.trainable_variables if "logits/bias" not in v.path]
        return torch.autograd.grad(penalty, weights, allow_unused=True, materialize_grads=True)[::4]

    assert_same(derive)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's transformations")
def test_pytorch_maps_gradients(total):
    import torch

    number, _ = total
    gradient = torch.func.grad(lambda image: number(image[None]))
    images = ops.convert_to_tensor(IMAGES)
    mapped = torch.func.vmap(gradient)(images)  # which Keras's convolutions do not allow
    torch.testing.assert_close(mapped, torch.stack([gradient(image) for image in images]), rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's tapes")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("mode", ["of a gradient", "forward", "around", "forward of a gradient", "mapped"])
def test_tensorflow_differentiates(total, mode, compiled):
    import tensorflow as tf

    number, kernel = total
    way = tf.constant(DIRECTION)

    def gradient(images):
        weights = [images, kernel.value]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            y = number(images)
        return tape.gradient(y, weights)

    def derive():
        def run(images):
            match mode:
                case "of a gradient":
                    with tf.GradientTape() as tape:
                        tape.watch([images, kernel.value])
                        penalty = sum(tf.reduce_sum(slope**2) for slope in gradient(images))
                    return tape.gradient(penalty, [images, kernel.value])
                case "forward":
                    with tf.autodiff.ForwardAccumulator(images, way) as accumulator:
                        y = number(images)
                    return [accumulator.jvp(y)]
                case "around":
                    with tf.autodiff.ForwardAccumulator(images, way) as accumulator:
                        y = tf.function(lambda images: number(images))(images)
                    return [accumulator.jvp(y)]
                case "forward of a gradient":
                    with tf.autodiff.ForwardAccumulator(images, way) as accumulator:
                        slopes = gradient(images)
                    return [accumulator.jvp(slope) for slope in slopes]
                case "mapped":
                    return [tf.vectorized_map(lambda image: number(image[None]), images)]

        return (tf.function(run, autograph=False) if compiled else run)(tf.constant(IMAGES))

    assert_same(derive)
