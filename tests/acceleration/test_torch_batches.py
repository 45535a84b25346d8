import os

import keras
import numpy as np
import pytest

import kzoo

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch" or os.environ.get("KZOO_ACCELERATION") == "off",
    reason="PyTorch's loaders, with acceleration on",
)

IMAGES, LABELS = np.random.RandomState(0).randint(0, 256, (5, 8, 8, 3)).astype("uint8"), np.arange(5) % 2


def adapter_of(*data, shuffle=False, class_weight=None):
    """Returns the pipeline that a model of kzoo gives Keras, or `None` where it leaves the data to it."""
    from kzoo.acceleration.torch_batches import pipeline

    x, y, sample_weight = (*data, None, None)[:3]
    return pipeline(x, y, sample_weight, batch_size=2, steps=None, shuffle=shuffle, class_weight=class_weight)


def keras_loader_of(adapter):
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    return ArrayDataAdapter.get_torch_dataloader(adapter)


def tensor(array):
    import torch

    return torch.from_numpy(array)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ((IMAGES,), {}),
        ((tensor(IMAGES), LABELS), {}) if keras.backend.backend() == "torch" else ((IMAGES, LABELS), {}),
        ((IMAGES[:, ::-1, ::-2],), {}),
        ((IMAGES.transpose(0, 3, 1, 2),), {}),
        (({"a": IMAGES, "b": [IMAGES, IMAGES.astype("float64")]}, LABELS), {}),
        ((IMAGES, LABELS), {"class_weight": {0: 1.0, 1: 2.0}}),
        (([IMAGES, None], LABELS, LABELS.astype("float32")), {}),
    ],
)
def test_batches_of_arrays_in_order_are_those_of_keras(data, options):
    from kzoo.acceleration.torch_batches import ArrayBatches

    adapter = adapter_of(*data, **options)
    own = adapter.get_torch_dataloader()
    assert isinstance(own, ArrayBatches)
    theirs = list(keras_loader_of(adapter))
    assert len(list(own)) == len(theirs) == 3
    assert len(own) == len(keras_loader_of(adapter))
    for a, b in zip(own, theirs, strict=True):
        keras.tree.assert_same_structure(a, b)
        for x, y in zip(keras.tree.flatten(a), keras.tree.flatten(b), strict=True):
            assert (x is y is None) or (x.dtype == y.dtype and x.stride() == y.stride() and (x == y).all())


def test_later_random_numbers_are_those_of_keras():
    import torch

    adapter = adapter_of(IMAGES)
    loaders = adapter.get_torch_dataloader(), keras_loader_of(adapter)
    drawn = []
    for loader in loaders:
        torch.manual_seed(0)
        batches = iter(loader)
        drawn.append(torch.rand(1))
        list(batches)
        drawn.append(torch.rand(1))
    assert drawn[:2] == drawn[2:]


@pytest.mark.parametrize("shuffle", [True, "batch"])
def test_shuffled_batches_stay_those_of_keras(shuffle):
    assert adapter_of(IMAGES, shuffle=shuffle) is None


def test_sparse_tensors_stay_with_keras():
    import torch

    sparse = torch.eye(5).to_sparse()
    assert isinstance(adapter_of(sparse).get_torch_dataloader(), torch.utils.data.DataLoader)


@pytest.mark.parametrize("own", [lambda array: array, tensor])
def test_a_layer_that_writes_into_its_input_leaves_the_array_alone(own):
    class Erase(keras.layers.Layer):
        def call(self, x):
            return x.zero_()

    images = own(np.ones((5, 4), "float32"))
    inputs = keras.Input((4,))
    erase = kzoo.Model(inputs, Erase()(inputs))
    assert (erase.predict(images, verbose=0) == 0).all()
    assert (images == 1).all()


@pytest.mark.parametrize("shuffle", [False, True])
def test_models_of_kzoo_do_what_models_of_keras_do(shuffle):
    import torch

    def trained(cls):
        inputs = keras.Input((8, 8, 3))
        outputs = keras.layers.Dense(2, kernel_initializer="ones")(keras.layers.Flatten()(inputs))
        model = cls(inputs, outputs)
        model.compile(keras.optimizers.SGD(1e-6), loss="mse", metrics=["mae"])
        torch.manual_seed(0)
        options = {"batch_size": 2, "epochs": 2, "verbose": 0, "shuffle": shuffle, "validation_split": 0.4}
        history = model.fit(IMAGES, LABELS, class_weight={0: 1.0, 1: 2.0}, **options).history
        evaluated = model.evaluate(IMAGES, LABELS, batch_size=2, verbose=0)
        return history, evaluated, model.predict(IMAGES, batch_size=2, verbose=0).tolist(), torch.rand(1)

    assert trained(kzoo.Model) == trained(keras.Model)
