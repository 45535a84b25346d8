"""Clipping, accumulation and the rate of biases: each equal to its definition in NumPy, also on the fast paths."""

import keras
import numpy as np
import pytest
from keras import ops

import kzoo
from kzoo.training.named_optimizers import optimizer_for
from kzoo.training.schedule import schedule_for

SHAPES = {"kernel": (3, 3, 2, 4), "bias": (4,), "gamma": (4,), "beta": (4,), "head": (5, 3)}
BATCHES = 7
BASE = kzoo.recipe("default").override(epochs=1, momentum=0.9, learning_rate=0.2, weight_decay=0.01)


@pytest.fixture(autouse=True)
def float64():
    with kzoo.precision("float64"):
        yield


def drawn(batch, i, shape):
    return np.random.RandomState(100 * batch + i).standard_normal(shape)


def by_definition(recipe):
    """Returns the weights after BATCHES batches, in plain NumPy."""
    weights = {name: drawn(99, i, shape) for i, (name, shape) in enumerate(SHAPES.items())}
    velocities = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    rates = schedule_for(recipe, BATCHES).rates
    many = recipe.accumulate_steps
    for update in range(BATCHES // many):
        batches = range(update * many, (update + 1) * many)
        gradients = {
            name: np.mean([drawn(batch, i, shape) for batch in batches], axis=0)
            for i, (name, shape) in enumerate(SHAPES.items())
        }
        together = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
        for name, gradient in gradients.items():
            if recipe.clip_norm is not None:
                gradient = gradient * min(1, recipe.clip_norm / np.sqrt((gradient**2).sum()))
            if recipe.global_clip_norm is not None:
                gradient = gradient * min(1, recipe.global_clip_norm / together)
            if recipe.clip_value is not None:
                gradient = np.clip(gradient, -recipe.clip_value, recipe.clip_value)
            if recipe.decay_on == "all" or gradient.ndim > 1:
                gradient = gradient + recipe.weight_decay * weights[name]
            velocities[name] = recipe.momentum * velocities[name] + gradient
            step = gradient + recipe.momentum * velocities[name] if recipe.nesterov else velocities[name]
            factor = recipe.bias_rate if name in ("bias", "beta") else 1
            weights[name] = weights[name] - rates[update] * factor * step
    return list(weights.values())


def by_kzoo(recipe):
    variables = [
        keras.Variable(drawn(99, i, shape), dtype="float64", name=name)
        for i, (name, shape) in enumerate(SHAPES.items())
    ]
    optimizer = optimizer_for(recipe, BATCHES, variables)
    optimizer.build(variables)
    for batch in range(BATCHES):
        gradients = [drawn(batch, i, shape) for i, shape in enumerate(SHAPES.values())]
        optimizer.apply([ops.convert_to_tensor(gradient, dtype="float64") for gradient in gradients], variables)
    return [ops.convert_to_numpy(variable) for variable in variables]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip_norm": 1.5},
        {"clip_norm": 1000.0},
        {"global_clip_norm": 2.0},
        {"clip_value": 0.5},
        {"accumulate_steps": 3},
        {"accumulate_steps": 3, "global_clip_norm": 2.0},
        {"accumulate_steps": 7},
        {"bias_rate": 64.0},
        {"bias_rate": 4.0, "accumulate_steps": 2, "clip_value": 0.3, "nesterov": False, "decay_on": "all"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["fast", "defined"])
def test_sgd_does_what_a_recipe_says_in_plain_numpy(monkeypatch, changes, path):
    if path == "defined":
        monkeypatch.setattr(kzoo.ops, "sgd_step", kzoo.ops.generic.sgd_step)
    recipe = BASE.override(**changes)
    for found, expected in zip(by_kzoo(recipe), by_definition(recipe), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-11)


def test_biases_are_those_of_layers_of_keras_and_kzoo():
    model = kzoo.resnet(8, input_shape=(8, 8, 3))
    optimizer = kzoo.SGD(0.1, bias_rate=8.0)
    optimizer.build(model.trainable_variables)
    raised = {
        variable.path
        for variable, factor in zip(model.trainable_variables, optimizer.factors, strict=True)
        if factor == 8
    }
    assert raised == {variable.path for variable in model.trainable_variables if variable.name in ("bias", "beta")}
    assert len(raised) == 8  # of seven norms and the classifier


def test_steps_that_make_one_have_one_rate():
    schedule = schedule_for(BASE.override(epochs=3, accumulate_steps=4, warmup=0), 10)
    assert schedule.total_steps == 7  # of 30 batches, the last two make none
    np.testing.assert_allclose(schedule.rates, 0.2 * (1 - np.arange(7) / 7))
    called = [float(ops.convert_to_numpy(schedule(batch))) for batch in range(30)]
    np.testing.assert_allclose(called, [schedule.rates[min(batch // 4, 6)] for batch in range(30)])
    np.testing.assert_allclose(called, [schedule.rate_of(batch) for batch in range(30)])
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert again.get_config() == schedule.get_config()
