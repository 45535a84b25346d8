"""The class of kzoo's models: otherwise a `keras.Model`, and true to its own precision."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from keras import ops

import kzoo

IMAGES = np.random.RandomState(0).randint(0, 256, (6, 8, 8, 3)).astype("uint8")


def tiny(**arguments):
    return kzoo.resnet(8, input_shape=(8, 8, 3), **arguments)


def test_constructors_return_it_and_copies_stay_it(tmp_path):
    model = tiny()
    model.save(tmp_path / "m.keras")
    copies = (
        keras.saving.load_model(tmp_path / "m.keras"),
        keras.models.clone_model(model),
        keras.models.model_from_json(model.to_json()),
        kzoo.fold_batch_norm(model),
    )
    assert all(type(copy) is kzoo.Model for copy in (model, *copies))
    np.testing.assert_array_equal(copies[0].predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


def test_compiled_models_are_saved_with_their_optimizer(tmp_path):
    model = tiny()
    model.compile(kzoo.SGD(0.01, 0.9), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(IMAGES, np.arange(6) % 10, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert int(loaded.optimizer.iterations) == 1
    assert loaded.evaluate(IMAGES, np.arange(6) % 10, verbose=0) == model.evaluate(IMAGES, np.arange(6) % 10, verbose=0)


def test_parts_and_models_around_it_work():
    model = tiny(include_top=False, pooling="avg")
    part = keras.Model(model.input, model.get_layer("stage1_block1_add").output)
    assert part.predict(IMAGES, verbose=0).shape == (6, 8, 8, 16)
    around = keras.Sequential([keras.Input((8, 8, 3)), model, keras.layers.Dense(2)])
    assert around.predict(IMAGES, verbose=0).shape == (6, 2)


def test_a_wrapper_around_fit_of_keras_is_called(monkeypatch):
    calls, fit = [], keras.Model.fit
    monkeypatch.setattr(
        keras.Model, "fit", lambda self, *args, **kwargs: calls.append(self) or fit(self, *args, **kwargs)
    )
    model = tiny()
    model.compile("sgd", "mse")
    model.fit(IMAGES, np.zeros((6, 10)), verbose=0)
    assert calls == [model]


def test_a_wrapper_that_was_there_before_is_called():
    code = """
import keras, numpy as np
calls, predict = [], keras.Model.predict
keras.Model.predict = lambda self, *args, **kwargs: calls.append(args) or predict(self, *args, **kwargs)
import kzoo
x = np.zeros((2, 8, 8, 3), "uint8")
assert kzoo.resnet(8, input_shape=(8, 8, 3)).predict(x, verbose=0).shape == (2, 10)
assert calls[0][0] is x
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_models_are_built_in_threads_and_leave_the_recursion_limit():
    limit = sys.getrecursionlimit()
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda _: tiny(), range(8)))) == 8
    assert sys.getrecursionlimit() == limit


def test_a_subclass_may_have_an_adapt_of_its_own():
    class Mine(kzoo.Model):
        def adapt(self, data):
            raise AssertionError

    model = tiny()
    assert Mine(model.input, model.output).predict(IMAGES, verbose=0).shape == (6, 10)


@pytest.mark.parametrize(
    "options",
    [
        {"validation_data": (np.zeros((3, 8, 8, 3)), np.zeros((2, 10))), "validation_freq": 5},
        {"validation_data": (IMAGES, np.zeros((6, 10))), "shuffle": False, "batch_size": 4},
        {"validation_split": 0.5, "steps_per_epoch": 1},
    ],
    ids=["unused", "arrays", "split"],
)
def test_fit_takes_what_fit_of_keras_takes(options):
    def history(cls):
        model = tiny()
        model = cls(model.input, model.output)
        model.compile("sgd", "mse")
        keras.utils.set_random_seed(0)
        return model.fit(IMAGES, np.zeros((6, 10)), verbose=0, **options).history

    ours, theirs = history(kzoo.Model), history(keras.Model)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5)


def test_steps_that_keras_caps_are_capped():
    keras.config.set_max_steps_per_epoch(2)
    try:
        model = tiny()
        model.compile("sgd", "mse")
        with pytest.warns(UserWarning, match="Limiting steps_per_epoch to 2"):
            model.fit(IMAGES, np.zeros((6, 10)), verbose=0, shuffle=False)
        assert int(model.optimizer.iterations) == 2
    finally:
        keras.config.set_max_steps_per_epoch(None)


def test_arguments_that_fit_does_not_know_are_an_error_as_in_keras():
    model = tiny()
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="no_such"):
        model.fit(IMAGES, np.zeros((6, 10)), no_such=1)


def test_a_thousand_layers_are_built_and_built_again():
    limit = sys.getrecursionlimit()
    model = kzoo.resnet1202(input_shape=(8, 8, 3))
    assert len(keras.models.model_from_json(model.to_json()).layers) == len(model.layers) > 3000
    assert sys.getrecursionlimit() == limit


def settings():
    found = [keras.config.floatx(), keras.config.dtype_policy().name, kzoo.acceleration.names.promotes_widely()]
    if keras.config.backend() == "jax":
        import jax

        found.append(jax.config.jax_enable_x64)
    return found


@pytest.mark.parametrize("name", ["float64", "mixed_bfloat16", "float32"])
def test_precision_is_given_back(name):
    before = settings()
    with kzoo.precision(name), kzoo.precision("float64"):
        assert keras.config.floatx() == "float64"
    assert settings() == before
    with pytest.raises(RuntimeError, match="in the middle"), kzoo.precision(name):
        raise RuntimeError("in the middle")
    assert settings() == before


def test_a_model_of_float64_computes_in_it_whatever_the_process_does():
    with kzoo.precision("float64"):
        model = tiny()
        expected = ops.convert_to_numpy(model(IMAGES, training=False))
        weights = model.get_weights()
    before = settings()
    assert expected.dtype == np.float64
    for actual in (ops.convert_to_numpy(model(IMAGES, training=False)), model.predict(IMAGES, verbose=0)):
        assert actual.dtype == np.float64
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-13 * np.abs(expected).max())
    model.set_weights([weight * (1 + 1e-12) for weight in weights])
    for weight, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, other * (1 + 1e-12))
    assert settings() == before
