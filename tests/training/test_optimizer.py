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
    "fast": kzoo.recipe("fast").override(epochs=4),
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


# What Keras's optimizers do


LAYERS = [(3, 3, 2, 4), (4,), (5, 3), (3,)]
NAMES = ["kernel", "gain", "table", "bias"]


def slope_of(step, i, weight):
    """A gradient that does not let errors grow."""
    return np.sin(np.arange(weight.size) * (i + 1) + step).reshape(weight.shape) + 0.3 * weight


def excluding_definition(excluded, momentum, nesterov, decay):
    weights = [np.random.RandomState(i).standard_normal(shape) for i, shape in enumerate(LAYERS)]
    velocities = [np.zeros_like(weight) for weight in weights]
    for step in range(100):
        for i, weight in enumerate(weights):
            gradient = slope_of(step, i, weight) + (0 if i in excluded else decay) * weight
            velocities[i] = momentum * velocities[i] + gradient
            weights[i] = weight - 0.05 * (gradient + momentum * velocities[i] if nesterov else velocities[i])
    return weights


def excluding_torch(excluded, momentum, nesterov, decay):
    import torch

    weights = [torch.tensor(np.random.RandomState(i).standard_normal(shape)) for i, shape in enumerate(LAYERS)]
    groups = [
        {"params": [weights[i] for i in range(len(weights)) if i not in excluded], "weight_decay": decay},
        {"params": [weights[i] for i in sorted(excluded)], "weight_decay": 0.0},
    ]
    sgd = torch.optim.SGD([group for group in groups if group["params"]], 0.05, momentum, nesterov=nesterov)
    for step in range(100):
        for i, weight in enumerate(weights):
            weight.grad = torch.tensor(slope_of(step, i, weight.numpy()))
        sgd.step()
    return [weight.numpy() for weight in weights]


@pytest.mark.parametrize(
    ("momentum", "nesterov", "one_by_one"),
    [(0.9, True, False), (0.9, False, False), (0.0, False, False), (0.9, True, True), (0.0, False, True)],
)
def test_sgd_with_exclusion_is_that_of_pytorch_over_100_steps(monkeypatch, momentum, nesterov, one_by_one):
    if one_by_one:
        monkeypatch.setattr(kzoo.ops, "sgd_step", kzoo.ops.generic.sgd_step)
    check_exclusion(momentum, nesterov, "kernels", [0], ["bias"], {0, 1, 3})


@pytest.mark.parametrize(
    ("decay_on", "var_list", "var_names", "excluded"),
    [("all", [2], None, {2}), ("all", None, ["bias", "ga.n"], {1, 3}), ("kernels", None, None, {1, 3})],
)
def test_sgd_excludes_by_variables_and_by_names(decay_on, var_list, var_names, excluded):
    check_exclusion(0.9, True, decay_on, var_list, var_names, excluded)


def check_exclusion(momentum, nesterov, decay_on, var_list, var_names, excluded):
    kzoo.set_precision("float64")
    weights = [
        keras.Variable(np.random.RandomState(i).standard_normal(shape), dtype="float64", name=name)
        for i, (shape, name) in enumerate(zip(LAYERS, NAMES, strict=True))
    ]
    optimizer = kzoo.SGD(0.05, momentum, nesterov, weight_decay=0.01, decay_on=decay_on)
    optimizer.exclude_from_weight_decay([weights[i] for i in var_list or []], var_names)
    optimizer.build(weights)
    for step in range(100):
        gradients = [slope_of(step, i, ops.convert_to_numpy(weight)) for i, weight in enumerate(weights)]
        optimizer.apply([ops.convert_to_tensor(gradient, dtype="float64") for gradient in gradients], weights)
    reference = excluding_torch if keras.backend.backend() == "torch" else excluding_definition
    for weight, expected in zip(weights, reference(excluded, momentum, nesterov, 0.01), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(weight), expected, rtol=0, atol=1e-10)


def test_fit_leaves_alone_what_is_excluded():
    layer = keras.layers.Dense(2, kernel_initializer="ones", bias_initializer="ones")
    model = keras.Sequential([keras.Input((3,)), layer])
    optimizer = kzoo.SGD(0.5, 0.9, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, lambda y, z: 0 * ops.mean(z, axis=-1))
    model.fit(np.zeros((2, 3)), np.zeros((2, 2)), verbose=0)
    np.testing.assert_allclose(layer.kernel.numpy(), 0.95, rtol=1e-6)
    np.testing.assert_array_equal(layer.bias.numpy(), 1)


def test_exclusion_comes_before_the_first_step():
    optimizer = kzoo.SGD(0.1, weight_decay=0.1)
    optimizer.build([keras.Variable([1.0])])
    with pytest.raises(ValueError, match="`exclude_from_weight_decay` must come before the optimizer is built"):
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    with pytest.raises(ValueError, match="`var_names` must be a list of strings. Received: var_names='bias'."):
        kzoo.SGD().exclude_from_weight_decay(var_names="bias")


def test_exclusion_is_never_ignored(monkeypatch):
    monkeypatch.setattr(kzoo.SGD, "can_exclude", lambda self: False)
    with pytest.raises(NotImplementedError, match="needs a Keras that tells what was excluded"):
        kzoo.SGD(0.1, weight_decay=0.1).exclude_from_weight_decay(var_names=["bias"])


def test_sgd_without_momentum_keeps_nothing_but_rate_and_iterations():
    weight = keras.Variable([1.0, 2.0])
    with_momentum, without = kzoo.SGD(0.5, 0.9), kzoo.SGD(0.5)
    for optimizer in (with_momentum, without):
        optimizer.build([weight])
    assert len(with_momentum.variables) == 3
    assert [variable.name for variable in without.variables] == ["iteration", "learning_rate"]
    without.apply([ops.convert_to_tensor([1.0, 6.0])], [weight])
    np.testing.assert_array_equal(weight.numpy(), [0.5, -1.0])


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.0, 0.1), (0.9, 0.1)])
def test_sgd_trains_embeddings(run_eagerly, momentum, decay):
    """TensorFlow's gradient of an embedding is of the rows that were looked up."""
    embedding = keras.layers.Embedding(4, 2, embeddings_initializer="ones")
    model = keras.Sequential([keras.Input((1,), dtype="int32"), embedding])
    model.compile(kzoo.SGD(0.5, momentum, weight_decay=decay), lambda y, z: ops.sum(z, (1, 2)), run_eagerly=run_eagerly)
    model.fit(np.array([[1], [1], [3], [1]]), np.zeros(4), verbose=0)
    slope = np.array([0, 0.75, 0, 0.25])[:, None] + decay  # a mean over the batch
    np.testing.assert_allclose(embedding.embeddings.numpy(), np.broadcast_to(1 - 0.5 * slope, (4, 2)), rtol=1e-6)


def test_sgd_is_named_as_keras_names_optimizers():
    keras.utils.clear_session(free_memory=False)
    theirs = [keras.optimizers.SGD().name for _ in range(2)]
    keras.utils.clear_session(free_memory=False)
    assert [kzoo.SGD().name for _ in range(2)] == theirs
    assert kzoo.SGD(name="own").name == "own"


def test_sgd_passes_keras_own_check_of_configurations():
    from keras.src import testing

    testing.TestCase().run_class_serialization_test(kzoo.SGD(0.5, 0.06, nesterov=True, weight_decay=0.004))
