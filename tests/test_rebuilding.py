"""A model is built from a stranger's JSON without calling, importing or reading anything that the JSON names."""

import json
import re
import sys
import tracemalloc

import keras
import numpy as np
import pytest

import kzoo
from kzoo.rebuilding import _OF_KERAS, rebuilt

MANY_BYTES = 1 << 30


def architecture(*middle, size=4):
    """The JSON of a model of images of 4x4 pixels with some layers between input and classes."""
    layers = [keras.Input((size, size, 3)), *middle, keras.layers.Flatten(), keras.layers.Dense(2, name="last")]
    return json.loads(keras.Sequential(layers).to_json())


def with_layer(layer):
    content = architecture()
    content["config"]["layers"].insert(1, layer)
    return content


def with_value(name, value):
    content = architecture()
    content["config"]["layers"][-1]["config"][name] = value
    return content


def keras_object(kind, module="keras.layers", registered_name=None, **config):
    return {"module": module, "class_name": kind, "registered_name": registered_name, "config": config}


def function(name, module="keras.utils", registered_name=None):
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered_name}


@keras.saving.register_keras_serializable(package="strangers")
class Registered(keras.layers.Layer):
    made = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        Registered.made += 1


def unregistered(x):
    return x * 2


REFUSED = {
    "lambda of a function": with_layer(keras_object("Lambda", function=function("plot_model"))),
    "lambda of bytecode": with_layer(
        keras_object("Lambda", function={"class_name": "__lambda__", "config": {"value": ["4wEA", None, None]}})
    ),
    "lambda without module": with_layer({"class_name": "Lambda", "config": {"function": function("plot_model")}}),
    "lambda within a wrapper": with_layer(
        keras_object("TimeDistributed", layer=keras_object("Lambda", function=function("plot_model")))
    ),
    "lambda within a model": with_layer(with_layer(keras_object("Lambda", function=function("plot_model")))),
    "lambda as a cell": with_layer(keras_object("RNN", cell=keras_object("Lambda", function=function("plot_model")))),
    "lambda as a backward layer": with_layer(
        keras_object("Bidirectional", layer=keras_object("LSTM", units=1), backward_layer=keras_object("Lambda"))
    ),
    "function as activation": with_value("activation", function("plot_model")),
    "function as activation, by a known name": with_value("activation", function("plot_model", "builtins", "relu")),
    "function as initializer": with_value("kernel_initializer", function("load_model", "keras.saving")),
    "function as regularizer": with_value("kernel_regularizer", function("load_model", "keras.saving")),
    "function as constraint": with_value("kernel_constraint", function("load_model", "keras.saving")),
    "class as policy": with_value("dtype", keras_object("get_file", "keras.utils", origin="http://localhost")),
    "function as class": with_layer(keras_object("load_model", "keras.saving", filepath="x.keras")),
    "function by its registered name": with_layer(keras_object("Dense", registered_name="load_model", units=1)),
    "optimizer as layer": with_layer(keras_object("SGD", "keras.optimizers")),
    "saved model": with_layer(keras_object("TFSMLayer", filepath="/tmp/model")),
    "vocabulary in a file": with_layer(keras_object("StringLookup", vocabulary="/etc/passwd")),
    "text in a file": with_layer(keras_object("TextVectorization", vocabulary="/etc/passwd")),
    "torch module": with_layer(keras_object("TorchModuleWrapper", module="os")),
    "jax function": with_layer(keras_object("JaxLayer", call_fn=function("plot_model"))),
    "feature space": with_layer(keras_object("FeatureSpace", "keras.utils", features={})),
    "base class": with_layer(keras_object("Layer")),
    "operation that calls": with_layer(keras_object("Map", "keras.src.ops.core")),
    "type specification": with_layer({"class_name": "__typespec__", "spec_name": "os", "module": "os", "config": []}),
    "registered class": with_layer(keras_object("Registered", "tests", "strangers>Registered")),
    "registered class without module": with_layer(keras_object("Registered", None, "strangers>Registered")),
    "registered class by another name": with_layer(keras_object("Dense", registered_name="strangers>Registered")),
    "registered class where a name is enough": with_value("kernel_initializer", "strangers>Registered"),
    "module of a package": with_layer(keras_object("Dense", "keras_hub.layers")),
    "module that is a list": with_layer(keras_object("Dense", ["keras.layers"])),
    "class that is a list": with_layer(keras_object(["Dense"])),
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_what_is_not_on_the_list_is_refused_before_keras_sees_it(content, monkeypatch):
    monkeypatch.setattr(keras.saving, "deserialize_keras_object", None)
    before = Registered.made
    with pytest.raises(ValueError, match="must be of layers of Keras that run no code of others"):
        rebuilt(content, weights_bytes=MANY_BYTES)
    assert Registered.made == before


@pytest.mark.parametrize("module", ["keras.src.legacy.preprocessing.text", "this", "kzoo.nowhere", "keras_hub"])
def test_module_is_not_imported(module):
    sys.modules.pop(module, None)
    with pytest.raises(ValueError, match=re.escape(repr(module))):
        rebuilt(with_layer(keras_object("Dense", module)), weights_bytes=MANY_BYTES)
    assert module not in sys.modules


def test_message_names_the_class_and_how_to_allow_it():
    expected = r"Received: 'TFSMLayer' of 'keras.layers'. .*`custom_objects={'TFSMLayer': \.\.\.}`"
    with pytest.raises(ValueError, match=expected):
        rebuilt(REFUSED["saved model"], weights_bytes=MANY_BYTES)


def test_message_is_short_whatever_the_name():
    with pytest.raises(ValueError, match="Received: 'aaa") as refusal:
        rebuilt(with_layer(keras_object("a" * 10**6)), weights_bytes=MANY_BYTES)
    assert len(str(refusal.value)) < 600


def test_layers_that_keras_gained_or_lost_are_looked_at():
    """Each class in `keras.layers` is on the list, another name for one there, or refused for a reason."""
    named = {name: cls for name, cls in vars(keras.layers).items() if isinstance(cls, type)}
    allowed = {named[name] for name in _OF_KERAS["keras.layers"]}
    assert {cls.__name__ for cls in named.values() if cls not in allowed} == {
        *("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"),  # run what they are given
        *("IntegerLookup", "StringLookup", "TextVectorization"),  # read a file
        *("CategoryEncoding", "Discretization", "HashedCrossing", "Hashing", "MaxNumBoundingBoxes"),  # not of images
        *("MelSpectrogram", "STFTSpectrogram"),
        *("InputSpec", "Layer", "Wrapper"),  # no layers by themselves
    }


@pytest.mark.parametrize("module", _OF_KERAS)
def test_list_names_classes_of_keras(module):
    known = vars(sys.modules[module])
    assert [name for name in _OF_KERAS[module] if not isinstance(known.get(name), type)] == []


def functional():
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", kernel_regularizer="l2", dtype="mixed_bfloat16")(
        keras.layers.Rescaling(1 / 255)(images)
    )
    x = keras.layers.BatchNormalization(gamma_constraint=keras.constraints.MaxNorm())(x)
    x = 1.0 + x * 2 - keras.ops.mean(x, axis=[1, 2], keepdims=True)
    x = keras.ops.concatenate([x[:, 1:, ...], keras.ops.relu(x[:, :-1])], axis=-1)
    return keras.Model(images, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))


def recurrent():
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.Reshape((8, 24)),
        keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True, dropout=0.1)),
        keras.layers.TimeDistributed(keras.layers.Dense(4, activation=keras.layers.LeakyReLU())),
        keras.layers.RNN([keras.layers.GRUCell(3), keras.layers.SimpleRNNCell(2)]),
        keras.layers.Dense(2, activation="softmax"),
    ]
    return keras.Sequential(layers)


def nested():
    inner = keras.Sequential([keras.layers.Conv2D(3, 3), keras.layers.SpectralNormalization(keras.layers.Conv2D(2, 3))])
    images = keras.Input((8, 8, 3))
    shared = keras.Model(images, inner(keras.layers.RandomFlip()(images)))
    x = keras.layers.Add()([shared(images), shared(keras.layers.GaussianNoise(0.1)(images))])
    tokens = keras.layers.Reshape((16, 2))(x)
    x = keras.layers.MultiHeadAttention(2, 3)(tokens, tokens)
    return keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.LayerNormalization()(x))))


def own():
    return kzoo.resnet(8, input_shape=(8, 8, 3), classes=2, dropout=0.1)


def folded():
    return kzoo.fold_batch_norm(own())


@pytest.mark.parametrize("make", [functional, recurrent, nested, own, folded])
def test_models_of_listed_layers_are_built_anew(make):
    model = make()
    again = rebuilt(json.loads(model.to_json()), weights_bytes=MANY_BYTES)
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in model.layers]
    assert [tuple(weight.shape) for weight in again.weights] == [tuple(weight.shape) for weight in model.weights]
    again.set_weights(model.get_weights())
    images = np.random.RandomState(0).randint(0, 256, (2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(again.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-5, atol=1e-6)


def test_optimizer_of_a_stranger_is_left_out():
    model = own()
    model.compile("sgd", "mse")
    content = json.loads(model.to_json())
    content["compile_config"]["loss"] = function("load_model", "keras.saving")
    assert not rebuilt(content, weights_bytes=MANY_BYTES).compiled


def test_classes_that_the_caller_names_are_built():
    model = keras.Sequential([keras.Input((4, 4, 3)), Registered(), keras.layers.Flatten()])
    content = json.loads(model.to_json())
    for names in ("Registered", "strangers>Registered"):
        again = rebuilt(content, weights_bytes=MANY_BYTES, custom_objects={names: Registered})
        assert isinstance(again.layers[0], Registered)


def test_functions_that_the_caller_names_are_called():
    content = json.loads(keras.Sequential([keras.Input((2,)), keras.layers.Activation(unregistered)]).to_json())
    with pytest.raises(ValueError, match="Received: 'unregistered' of 'builtins'."):
        rebuilt(content, weights_bytes=MANY_BYTES)
    again = rebuilt(content, weights_bytes=MANY_BYTES, custom_objects={"unregistered": unregistered})
    assert again.layers[0].activation is unregistered


def test_own_names_do_not_stand_for_others_on_the_list():
    content = with_layer(keras_object("Lambda", "keras.layers", "kzoo>ReLU", function=function("plot_model")))
    del content["config"]["layers"][1]["config"]["function"]
    assert isinstance(rebuilt(content, weights_bytes=MANY_BYTES).layers[0], kzoo.ReLU)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "must be a model's. Received: NoneType."),
        ([], "must be a model's. Received: list."),
        ({}, "must be a model's. Received: dict."),
        (keras_object("Dense", units=1), "must be a model's. Received: Dense."),
        (keras_object("Sequential", "keras", name="a", layers=[keras_object("Dense", units=9)]), "'a' without inputs."),
        (keras_object("Sequential", "keras"), "must be one that Keras can build. Received: "),
        (with_value("units", -1), "must be one that Keras can build. Received: Received an invalid value for `units`"),
        (with_value("activation", "os.system"), "must be one that Keras can build. Received: "),
        (with_value("nowhere", 1), "must be one that Keras can build. Received: "),
        (json.loads("[" * 200 + "]" * 200), "must be at most 100 values deep."),
        (with_layer({"class_name": "__numpy__", "config": {"value": [0], "dtype": "S99"}}), "Invalid dtype: S99"),
    ],
)
def test_what_is_no_architecture_is_refused(content, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        rebuilt(content, weights_bytes=MANY_BYTES)


def test_memory_is_not_taken_for_more_weights_than_the_file_has():
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"must be in a file of 2,000 bytes. Received: 36,000,000,000,002 numbers"):
        rebuilt(with_layer(keras_object("Dense", units=10**12, name="a")), weights_bytes=2000)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()
    with keras.StatelessScope():  # whose end gives values to variables that wait for one
        pass


def test_memory_is_not_taken_for_tensors_without_end():
    content = architecture(keras.layers.ZeroPadding2D(1), keras.layers.GlobalAveragePooling2D())
    content["config"]["layers"][1]["config"]["padding"] = [[10**6, 10**6], [10**6, 10**6]]
    with pytest.raises(ValueError, match=r"at most 268,435,456 numbers. Received: shape \(None, 2000004, 2000004, 3\)"):
        rebuilt(content, weights_bytes=MANY_BYTES)


def test_memory_is_not_taken_for_images_without_end():
    content = architecture(keras.layers.GlobalAveragePooling2D())
    content["config"]["layers"][0]["config"]["batch_shape"] = [None, 10**6, 10**6, 3]
    with pytest.raises(ValueError, match=r"Received: shape \(None, 1000000, 1000000, 3\) from 'input_layer"):
        rebuilt(content, weights_bytes=MANY_BYTES)


def test_models_within_models_do_not_multiply():
    model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])
    for _ in range(4):
        numbers = keras.Input((4,))
        model = keras.Model(numbers, model(model(numbers)))
    content = inner = json.loads(model.to_json())
    assert len(rebuilt(content, weights_bytes=MANY_BYTES).layers) == 2
    for _ in range(4):
        inner = inner["config"]["layers"][1]
        inner["inbound_nodes"] *= 10
    with pytest.raises(ValueError, match=r"must take at most 100,000 calls to build. Received: \d+,\d+."):
        rebuilt(content, weights_bytes=MANY_BYTES)
