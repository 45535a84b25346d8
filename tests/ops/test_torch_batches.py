import keras
import numpy as np
import pytest

import kzoo

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's loaders")

IMAGES, LABELS = np.random.RandomState(0).randint(0, 256, (5, 8, 8, 3)).astype("uint8"), np.arange(5) % 2


def adapter_of(*data, **options):
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    return ArrayDataAdapter(*data, batch_size=2, **options)


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
    from kzoo.ops.torch_batches import ArrayBatches

    adapter = adapter_of(*data, shuffle=False, **options)
    own = adapter.get_torch_dataloader()
    assert isinstance(own, ArrayBatches)
    theirs = list(type(adapter).get_torch_dataloader.__wrapped__(adapter))
    assert len(list(own)) == len(theirs) == 3
    for a, b in zip(own, theirs, strict=True):
        keras.tree.assert_same_structure(a, b)
        for x, y in zip(keras.tree.flatten(a), keras.tree.flatten(b), strict=True):
            assert (x is y is None) or (x.dtype == y.dtype and x.stride() == y.stride() and (x == y).all())


def test_later_random_numbers_are_those_of_keras():
    import torch

    adapter = adapter_of(IMAGES, shuffle=False)
    loaders = adapter.get_torch_dataloader(), type(adapter).get_torch_dataloader.__wrapped__(adapter)
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
    import torch

    assert isinstance(adapter_of(IMAGES, shuffle=shuffle).get_torch_dataloader(), torch.utils.data.DataLoader)


def test_sparse_tensors_stay_with_keras():
    import torch

    sparse = torch.eye(5).to_sparse()
    assert isinstance(adapter_of(sparse, shuffle=False).get_torch_dataloader(), torch.utils.data.DataLoader)


@pytest.mark.parametrize("own", [lambda array: array, tensor])
def test_a_layer_that_writes_into_its_input_leaves_the_array_alone(own):
    class Erase(keras.layers.Layer):
        def call(self, x):
            return x.zero_()

    images = own(np.ones((5, 4), "float32"))
    erase = keras.Sequential([keras.Input((4,)), Erase()])
    assert (erase.predict(images, verbose=0) == 0).all()
    assert (images == 1).all()


def test_it_is_done_once():
    from kzoo.ops import torch_batches

    before = type(adapter_of(IMAGES)).get_torch_dataloader
    torch_batches.install()
    assert type(adapter_of(IMAGES)).get_torch_dataloader is before


def test_evaluate_of_kzoo_says_what_keras_said():
    model = kzoo.resnet(8, input_shape=(8, 8, 3), classes=2)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    own = model.evaluate(IMAGES, LABELS, batch_size=2, verbose=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ArrayDataAdapter, "get_torch_dataloader", ArrayDataAdapter.get_torch_dataloader.__wrapped__)
        assert model.evaluate(IMAGES, LABELS, batch_size=2, verbose=0) == own
