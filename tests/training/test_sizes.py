"""Trainings whose images grow."""

import signal

import keras
import numpy as np
import pytest

import kzoo
from kzoo.data import Batches
from kzoo.errors import DivergenceError, TrainingInterrupted
from kzoo.training.session import Session
from kzoo.training.sizes import any_size, ends_of_sizes, scales_of

RECIPE = kzoo.recipe("default").override(epochs=4, batch_size=16, patience=0, image_scales=(0.5, 1.0))


@pytest.fixture(scope="module")
def data():
    random = np.random.RandomState(0)
    train, other = (
        kzoo.Split(random.randint(0, 256, (count, 8, 8, 3)).astype(np.uint8), np.arange(count) % 3)
        for count in (48, 24)
    )
    return kzoo.Dataset("noise", ("a", "b", "c"), train, other, other, flip=True)


def small(cls=kzoo.Model):
    inputs = keras.Input((8, 8, 3), name="images")
    kernel = kzoo.initializers.HeNormal(seed=1, path="conv")
    x = keras.layers.Rescaling(1 / 255, name="scale")(inputs)
    x = kzoo.BatchNorm(name="norm")(kzoo.Conv2D(8, kernel_initializer=kernel, name="conv")(x))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    dense = kzoo.initializers.HeNormal(seed=1, path="dense")
    return cls(inputs, keras.layers.Dense(3, kernel_initializer=dense, name="dense")(x), name="small")


def go(data, path, recipe=RECIPE, model=None, **options):
    return kzoo.fit(model or small(), data, recipe, run_dir=path, verbose=0, **options)


@pytest.mark.parametrize(
    ("scales", "epochs", "expected"),
    [
        ((), 3, ()),
        ((0.5,), 2, (0.5, 0.5)),
        ((0.5, 1.0), 5, (0.5, 0.5, 0.5, 1.0, 1.0)),
        ((0.5, 0.75, 1.0), 2, (0.5, 0.75)),
        ((0.75, 0.75, 0.875, 1.0), 8, (0.75,) * 4 + (0.875,) * 2 + (1.0,) * 2),
    ],
)
def test_each_scale_has_an_equal_part_of_the_epochs(scales, epochs, expected):
    assert scales_of(kzoo.Recipe(epochs=epochs, image_scales=scales)) == expected


@pytest.mark.parametrize(
    ("scales", "epochs", "expected"),
    [((), 3, [3]), ((1.0,), 3, [3]), ((0.5, 0.5, 1.0), 4, [2, 4]), ((0.5, 1.0), 1, [1]), ((0.99, 1.0), 2, [2])],
)
def test_ends_are_where_the_size_changes(data, scales, epochs, expected):
    assert ends_of_sizes(Batches(data.train, 3, scales=scales), epochs) == expected


@pytest.mark.parametrize("cls", [kzoo.Model, keras.Model])
def test_fit_trains_on_images_of_each_size(data, tmp_path, monkeypatch, cls):
    served = []
    batch = Batches.batch

    def seen(self, epoch, index):
        if self.scales:  # not of validation
            served.append((epoch, batch(self, epoch, index)[0].shape[1:3]))
        return batch(self, epoch, index)

    monkeypatch.setattr(Batches, "batch", seen)
    model = small(cls)
    run = go(data, tmp_path / "run", model=model)
    sizes = {epoch: {size for number, size in served if number == epoch} for epoch in range(4)}
    assert sizes == {0: {(4, 4)}, 1: {(4, 4)}, 2: {(8, 8)}, 3: {(8, 8)}}
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4]
    assert run.load_model().input_shape == (None, 8, 8, 3)
    with pytest.raises(ValueError, match="expected shape=.None, 8, 8, 3., found shape"):
        model(np.zeros((1, 4, 4, 3), np.float32))


def test_training_on_whole_images_is_the_same_in_parts(data, tmp_path):
    """Where an epoch would have another size, a `fit` ends: that changes nothing else."""
    whole, parts = small(), small()
    go(data, tmp_path / "whole", RECIPE.override(image_scales=()), whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kzoo.training.session.ends_of_sizes", lambda batches, epochs: [1, 3, epochs])
        go(data, tmp_path / "parts", RECIPE.override(image_scales=()), parts)
    for one, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("stop", [(0, 1), (1, 2), (2, 1)])
def test_training_with_growing_images_goes_on(data, tmp_path, monkeypatch, stop):
    whole, left = small(), small()
    go(data, tmp_path / "whole", model=whole)
    end = Session.on_train_batch_end

    def ends(self, batch, logs=None):
        if (self.epoch, self._first + batch) == stop:
            self.keeper.asked = signal.SIGINT
        end(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "on_train_batch_end", ends)
        with pytest.raises(TrainingInterrupted):
            go(data, tmp_path / "left", model=left)
    left = small()
    go(data, tmp_path / "left", model=left, resume=True)
    for one, other in zip(whole.get_weights(), left.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_early_stopping_ends_all_sizes(data, tmp_path):
    run = go(data, tmp_path / "run", RECIPE.override(epochs=6, patience=1, min_delta=100.0))
    assert len(run.history) == 2


def test_layer_that_went_wrong_is_named_on_smaller_images(data, tmp_path):
    with pytest.raises(DivergenceError, match="first in layer '"):
        go(data, tmp_path / "run", RECIPE.override(learning_rate=1e38, warmup=0.0))


def test_model_that_takes_one_size_alone_is_told(data, tmp_path):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    with pytest.raises(ValueError, match="`image_scales` the model must take images of other sizes. Received: 4x4"):
        go(data, tmp_path / "run", model=model)
    assert not (tmp_path / "run").exists()


def test_model_takes_any_size_for_a_while():
    model = small()
    images = np.zeros((1, 5, 7, 3), np.float32)
    with any_size(model):
        model(images)
    with pytest.raises(ValueError, match="expected shape"):
        model(images)
