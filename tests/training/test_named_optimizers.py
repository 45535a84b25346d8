"""Keras's optimizers by name: each gets what the recipe says, and what it does not take is told."""

import inspect
from typing import get_args

import keras
import numpy as np
import pytest
from keras import ops

import kzoo
from kzoo.choices import Optimizer
from kzoo.training.muon import Muon
from kzoo.training.named_optimizers import optimizer_for

OTHERS = [name for name in get_args(Optimizer) if name != "sgd"]
BASE = kzoo.recipe("default").override(learning_rate=0.01, weight_decay=0.02)


@pytest.fixture(scope="module")
def model():
    return kzoo.resnet(8, input_shape=(8, 8, 3))


def test_names_are_those_of_the_optimizers_that_keras_has():
    found = {
        name.lower()
        for name, cls in inspect.getmembers(keras.optimizers, inspect.isclass)
        if issubclass(cls, keras.optimizers.Optimizer)
    }
    assert found - {"optimizer", "lossscaleoptimizer", "multioptimizer", "optimizermap"} <= {*OTHERS, "sgd"}


@pytest.mark.parametrize("name", OTHERS)
def test_optimizer_has_what_the_recipe_says(model, name):
    recipe = BASE.override(optimizer=name, clip_norm=0.5, accumulate_steps=4)
    optimizer = optimizer_for(recipe, 40, model.trainable_variables)
    config = optimizer.get_config()
    assert isinstance(optimizer, getattr(keras.optimizers, {cls.lower(): cls for cls in dir(keras.optimizers)}[name]))
    assert config["weight_decay"] == 0.02
    assert (config["clipnorm"], config["gradient_accumulation_steps"]) == (0.5, 4)
    assert config["learning_rate"]["config"]["learning_rate"] == 0.01
    assert config["learning_rate"]["config"]["total_steps"] == 200


@pytest.mark.parametrize("decay_on", ["kernels", "all"])
def test_decay_is_keras_s_and_leaves_out_what_the_recipe_says(decay_on):
    shapes = {"kernel": (3, 2), "gamma": (4,)}
    variables = [keras.Variable(np.ones(shape, "float32"), name=name) for name, shape in shapes.items()]
    recipe = BASE.override(optimizer="adamw", decay_on=decay_on, schedule="constant", warmup=0)
    optimizer = optimizer_for(recipe, 10, variables)
    optimizer.build(variables)
    optimizer.apply([ops.zeros(shape) for shape in shapes.values()], variables)
    kernel, gamma = (ops.convert_to_numpy(variable) for variable in variables)
    np.testing.assert_allclose(kernel, 1 - 0.01 * 0.02, rtol=1e-6)
    np.testing.assert_allclose(gamma, 1 - (0.01 * 0.02 if decay_on == "all" else 0), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("adamw", {"beta1": 0.8}, "`optimizer_arguments` of 'adamw' must be of: .* Did you mean 'beta_1'?"),
        ("adamw", {"learning_rate": 0.8}, "without what the recipe has as `learning_rate`. Received: learning_rate."),
        ("adamw", {"clipnorm": 0.8}, "without what the recipe has as `clip_norm`."),
        ("adamw", {"gradient_accumulation_steps": 2}, "without what the recipe has as `accumulate_steps`."),
        ("adamw", {"use_ema": True}, "must be of: .* Received: use_ema."),
        ("adamw", {"beta_1": "0.8"}, "`beta_1` must be a finite number. Received: beta_1='0.8'."),
        ("adam", {"amsgrad": 1}, "`amsgrad` must be True or False. Received: amsgrad=1."),
        ("muon", {"ns_steps": 2.5}, "`ns_steps` must be an integer."),
        ("ftrl", {"initial_accumulator_value": -1}, "`optimizer_arguments` must be what 'ftrl' takes. Received: "),
    ],
)
def test_arguments_that_an_optimizer_does_not_take_are_told(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        optimizer_for(BASE.override(optimizer=name, optimizer_arguments=arguments), 10)


def test_arguments_reach_the_optimizer(model):
    recipe = BASE.override(optimizer="rmsprop", optimizer_arguments={"momentum": 0.5, "centered": True})
    optimizer = optimizer_for(recipe, 10, model.trainable_variables)
    assert (optimizer.momentum, optimizer.centered) == (0.5, True)


def orthogonalized(matrix, steps=5):
    """The Newton-Schulz iteration as Jordan et al. write it, in NumPy."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_steps_kernels_as_matrices_and_the_rest_by_adamw(nesterov):
    shapes = {"kernel": (3, 3, 2, 4), "bias": (4,), "hidden": (5, 6), "classes": (6, 3)}
    rate, momentum = 0.05, 0.8
    with kzoo.precision("float64"):
        draw = np.random.RandomState(0)
        weights = {name: draw.standard_normal(shape) for name, shape in shapes.items()}
        gradients = [{name: draw.standard_normal(shape) for name, shape in shapes.items()} for _ in range(2)]
        variables = [keras.Variable(value, dtype="float64", name=name) for name, value in weights.items()]
        recipe = BASE.override(optimizer="muon", schedule="constant", warmup=0, learning_rate=rate, weight_decay=0)
        recipe = recipe.override(optimizer_arguments={"momentum": momentum, "nesterov": nesterov})
        optimizer = optimizer_for(recipe, 10, variables)
        for gradient in gradients:
            optimizer.apply([ops.convert_to_tensor(one, dtype="float64") for one in gradient.values()], variables)
        found = {variable.name: ops.convert_to_numpy(variable) for variable in variables}
        others = [keras.Variable(weights[name], dtype="float64", name=name) for name in ("bias", "classes")]
        adam = keras.optimizers.Adam(rate)
        for gradient in gradients:
            adam.apply([ops.convert_to_tensor(gradient[one.name], dtype="float64") for one in others], others)
    for name in ("kernel", "hidden"):
        velocity, weight = np.zeros(shapes[name]), weights[name]
        for gradient in gradients:
            velocity = momentum * velocity + gradient[name]
            ahead = gradient[name] + momentum * velocity if nesterov else velocity
            matrix = ahead.reshape(-1, shapes[name][-1])
            step = orthogonalized(matrix) * np.sqrt(max(matrix.shape)) * 0.2
            weight = weight - rate * step.reshape(weight.shape)
        np.testing.assert_allclose(found[name], weight, rtol=1e-7, atol=1e-7)
    for variable in others:
        np.testing.assert_allclose(found[variable.name], ops.convert_to_numpy(variable), rtol=1e-9, atol=1e-9)


def test_muon_is_rebuilt_from_its_config(model):
    optimizer = optimizer_for(BASE.override(optimizer="muon"), 10, model.trainable_variables)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(again, Muon)
    assert again.get_config() == optimizer.get_config()
