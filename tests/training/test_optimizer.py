"""kzoo's SGD against `torch.optim.SGD`: the real one where PyTorch runs, its documented update in NumPy elsewhere."""

import keras
import numpy as np
import pytest
from keras import ops

import kzoo
from kzoo.training.named_optimizers import optimizer_for

STEPS = 20
SHAPES = [(3, 3, 2, 4), (4,), (5, 3)]


def gradient_of(step, i, weight):
    """A gradient that depends on the weight, so that errors feed back."""
    wave = np.sin(np.arange(weight.size) * (i + 1) + step).reshape(weight.shape)
    return wave + 0.3 * np.tanh(weight)


def initial():
    return [np.random.RandomState(i).standard_normal(shape) for i, shape in enumerate(SHAPES)]


def numpy_sgd(recipe, rates):
    weights = initial()
    velocities = [np.zeros_like(weight) for weight in weights]
    for step in range(STEPS):
        for i, weight in enumerate(weights):
            decays = recipe.decay_on == "all" or weight.ndim > 1
            gradient = gradient_of(step, i, weight) + (recipe.weight_decay * weight if decays else 0)
            velocities[i] = recipe.momentum * velocities[i] + gradient
            ahead = gradient + recipe.momentum * velocities[i] if recipe.nesterov else velocities[i]
            weights[i] = weight - rates[step] * ahead
    return weights


def torch_sgd(recipe, rates):
    import torch

    weights = [torch.tensor(weight, requires_grad=True) for weight in initial()]
    kernels = [weight for weight in weights if recipe.decay_on == "all" or weight.ndim > 1]
    others = [weight for weight in weights if recipe.decay_on != "all" and weight.ndim == 1]
    groups = [{"params": kernels, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    sgd = torch.optim.SGD([g for g in groups if g["params"]], lr=1, momentum=recipe.momentum, nesterov=recipe.nesterov)
    for step in range(STEPS):
        for group in sgd.param_groups:
            group["lr"] = rates[step]
        for i, weight in enumerate(weights):
            weight.grad = torch.tensor(gradient_of(step, i, weight.detach().numpy()))
        sgd.step()
    return [weight.detach().numpy() for weight in weights]


def kzoo_sgd(recipe):
    kzoo.set_precision("float64")
    optimizer = optimizer_for(recipe, steps_per_epoch=STEPS // recipe.epochs)
    variables = [keras.Variable(weight, dtype="float64") for weight in initial()]
    optimizer.build(variables)
    for step in range(STEPS):
        gradients = [gradient_of(step, i, ops.convert_to_numpy(v)) for i, v in enumerate(variables)]
        optimizer.apply([ops.convert_to_tensor(g, dtype="float64") for g in gradients], variables)
    return [ops.convert_to_numpy(variable) for variable in variables], optimizer.learning_rate


RECIPES = {
    "default": kzoo.recipe("default").override(epochs=4),
    "akamaster": kzoo.recipe("akamaster").override(epochs=4),
    "he2015": kzoo.recipe("he2015").override(epochs=4),
}


@pytest.mark.parametrize("name", RECIPES)
def test_sgd_is_that_of_pytorch_over_20_steps_in_float64(name):
    recipe = RECIPES[name]
    rates = optimizer_for(recipe, STEPS // recipe.epochs)._learning_rate.rates
    actual, _ = kzoo_sgd(recipe)
    reference = torch_sgd if keras.backend.backend() == "torch" else numpy_sgd
    for a, b in zip(actual, reference(recipe, rates), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13)


def test_sgd_is_rebuilt_from_its_config():
    optimizer = kzoo.SGD(0.3, 0.8, nesterov=True, weight_decay=1e-3, decay_on="kernels")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"momentum": 1.0}, "`momentum` must be"), ({"decay_on": "bias"}, "`decay_on` must be 'kernels' or 'all'")],
)
def test_sgd_says_what_was_expected(arguments, message):
    with pytest.raises(ValueError, match=message):
        kzoo.SGD(**arguments)


def test_keras_never_decays_beside_the_coupled_decay():
    """Keras decays by `weight_decay`, outside of the momentum, whatever it calls to do so."""
    assert kzoo.SGD(0.1, weight_decay=0.5).weight_decay is None
    assert kzoo.SGD(0.1, weight_decay=0.5).get_config()["weight_decay"] == 0.5
