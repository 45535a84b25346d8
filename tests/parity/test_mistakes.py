"""Each mistake is planted in one of two trainings, and the comparison names it."""

import keras
import numpy as np

import kzoo
import kzoo.ops
from kzoo.parity import compare
from kzoo.streams import key_words
from kzoo.training import schedule


def failure(sound, planted):
    comparison = compare([sound, planted])
    assert not comparison.passed
    return comparison.first_failure.quantity, comparison.first_failure.where


def test_the_same_training_twice_passes(sound, recorded):
    comparison = compare([sound, recorded(name="again")])
    assert comparison.passed
    assert comparison.first_failure is None


def test_epsilon_of_keras_is_located(sound, recorded):
    planted = recorded(lambda model: setattr(model.get_layer("block_norm1"), "epsilon", 1e-3))
    assert failure(sound, planted) == ("layers", "block_norm1")


def test_momentum_of_keras_is_located(sound, recorded):
    planted = recorded(lambda model: setattr(model.get_layer("block_norm1"), "momentum", 0.99))
    assert failure(sound, planted) == ("batch statistics", "block_norm1/moving_mean")


def test_padding_of_keras_is_located(sound, recorded):
    def pad_as_keras(model):
        layer = model.get_layer("block_conv1")
        layer.call = lambda x: keras.ops.conv(x, layer.kernel, strides=2, padding="same", data_format="channels_last")

    assert failure(sound, recorded(pad_as_keras)) == ("layers", "block_conv1")


def test_unbiased_variance_is_located(sound, recorded, monkeypatch):
    biased, count = kzoo.ops.update_average, 32 * 4 * 4

    def average_as_pytorch(model):
        unbiased = model.get_layer("block_norm1").moving_variance

        def average(moving, value, momentum):
            biased(moving, value * count / (count - 1) if moving is unbiased else value, momentum)

        monkeypatch.setattr(kzoo.ops, "update_average", average)

    planted = recorded(average_as_pytorch)
    assert failure(sound, planted) == ("batch statistics", "block_norm1/moving_variance")


def test_decoupled_weight_decay_is_located(sound, recorded, monkeypatch):
    monkeypatch.setattr(kzoo.SGD, "decays", lambda self, variable: False)
    monkeypatch.setattr(kzoo.SGD, "_apply_weight_decay", keras.optimizers.Optimizer._apply_weight_decay)
    assert failure(sound, recorded()) == ("first update", "stem/kernel")


def test_schedule_off_by_one_step_is_located(sound, recorded, monkeypatch):
    made = schedule.StepSchedule.__init__

    def early(self, *arguments, **options):
        made(self, *arguments, **options)
        self.rates = np.append(self.rates[1:], self.rates[-1])

    monkeypatch.setattr(schedule.StepSchedule, "__init__", early)
    assert failure(sound, recorded()) == ("learning rates", "step 2")


def test_shuffled_batch_is_located(sound, recorded, monkeypatch):
    batch = kzoo.Batches.batch

    def shuffled(self, epoch, index):
        images, labels = batch(self, epoch, index)
        order = np.arange(len(images))[::-1] if index == 1 else slice(None)
        return images[order], labels[order]

    monkeypatch.setattr(kzoo.Batches, "batch", shuffled)
    assert failure(sound, recorded()) == ("batches", "step 2")


def test_another_mask_is_located(sound, recorded):
    def mask_of_another_seed(model):
        layer = model.get_layer("block_dropout")
        layer._key_words = key_words(1, "dropout", layer.name)

    assert failure(sound, recorded(mask_of_another_seed)) == ("masks", "block_dropout step 1")


def test_mask_drawn_twice_is_located(sound, recorded):
    def count_twice(model):
        layer = model.get_layer("block_dropout")
        call = layer.call

        def twice(inputs, training=False):
            outputs = call(inputs, training=training)
            if training:
                layer.step.assign(layer.step + 1)
            return outputs

        layer.call = twice

    assert failure(sound, recorded(count_twice)) == ("masks", "block_dropout step 2")


def test_another_patience_is_located(sound, recorded, monkeypatch):
    from kzoo.parity import stopping

    sound_stopping = stopping.early_stopping
    monkeypatch.setattr(stopping, "early_stopping", lambda recipe: sound_stopping(recipe.override(patience=2)))
    assert failure(sound, recorded()) == ("early stopping", "overfits")
