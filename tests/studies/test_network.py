import keras
import numpy as np
import pytest

import kzoo
from kzoo import ops
from kzoo.data import Batches
from kzoo.studies.batch_norm import largest_rate
from kzoo.studies.bench import Bench, some
from kzoo.studies.network import array_of, build, score

FORM = {"depth": 8, "filters": 4, "dropout": 0.5}


def trained(bench, seed):
    network = bench.network(**FORM).start(seed)
    losses = network.train(bench.training(64), seed=seed, epochs=2, rate=0.05)
    return losses, network.snapshot()


def test_network_started_again_is_as_it_was(bench):
    first = trained(bench, 1)
    other = trained(bench, 2)
    again = trained(bench, 1)
    assert first[0] == again[0] != other[0]
    for one, two in zip(first[1], again[1], strict=True):
        np.testing.assert_array_equal(one, two)


def test_loss_of_an_epoch_is_the_mean_of_its_batches(bench):
    network, split = bench.network(depth=8, filters=4).start(0), bench.training(64)
    (loss,) = network.train(split, seed=0, epochs=1, rate=0.0)
    batches = Batches(split, bench.dataset.classes, batch_size=32, seed=0, shuffle=True)
    parts = [batches.batch(0, index)[:2] for index in range(2)]
    losses = [score(network.logits(images, training=True), labels.argmax(axis=1)).loss for images, labels in parts]
    assert losses[0] != losses[1]
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_each_seed_draws_masks_of_its_own(bench):
    started = (bench.network(**FORM).start(seed).layers(kzoo.Dropout) for seed in (1, 2))
    counts = [[int(array_of(layer.step)) for layer in layers] for layers in started]
    assert min(counts[1]) - max(counts[0]) > 10_000


def test_network_has_the_initial_weights_of_the_zoo():
    ours = build((8, 8, 3), 10, depth=20, filters=16, seed=3)
    theirs = kzoo.resnet20(input_shape=(8, 8, 3), seed=3)
    assert [weight.path for weight in ours.weights] == [weight.path for weight in theirs.weights]
    for one, two in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_gradients_are_those_of_the_loss_and_change_nothing(bench):
    network = bench.network(depth=8, filters=4).start(0)
    split = bench.training(32)
    before = network.snapshot()
    found = network.gradients(split)
    for one, two in zip(before, network.snapshot(), strict=True):
        np.testing.assert_array_equal(one, two)
    model, labels = network.model, keras.utils.to_categorical(split.labels, 10)
    images = keras.ops.convert_to_tensor(split.images.astype("float32"))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    expected, _ = ops.gradients(lambda: (loss(labels, model(images, training=True)), ()), model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, expected, strict=True):
        expected_values = keras.ops.convert_to_numpy(gradient)
        scale = np.abs(expected_values).max()
        np.testing.assert_allclose(found[variable.path], expected_values, rtol=1e-3, atol=1e-4 * scale + 1e-7)


def test_answers_by_batch_statistics_leave_the_network_as_it_was(bench):
    network = bench.network(depth=8, filters=4).start(0)
    images, before = bench.training(32).images, network.snapshot()
    by_batch, by_averages = network.logits(images, training=True), network.logits(images)
    assert np.abs(by_batch - by_averages).max() > 0.1
    for one, two in zip(before, network.snapshot(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_training_ends_where_the_loss_is_no_number(bench):
    network = bench.network(depth=8, filters=4).start(0)
    losses = network.train(bench.training(64), seed=0, epochs=50, rate=1e30)
    assert len(losses) < 50
    assert not np.isfinite(losses[-1])
    assert network.evaluate(bench.validation(16)).accuracy < 0.5


def test_fewer_images_are_some_of_more(bench):
    few, more = (set(map(bytes, bench.training(count).images)) for count in (50, 100))
    assert few < more
    assert some(bench.dataset.train, 10**6, "training") is bench.dataset.train


def test_random_labels_are_of_the_seed(bench):
    one, again, other = (bench.training(100, random_labels=True, seed=seed).labels for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()
    assert (one != bench.training(100).labels).any()


@pytest.mark.parametrize("depth", [7, 9, 8.0, "8"])
def test_network_of_another_depth_is_told(depth):
    with pytest.raises(ValueError, match="`depth` must be .* Received: depth="):
        build((8, 8, 3), 10, depth=depth, filters=4)


def test_bench_needs_a_dataset():
    with pytest.raises(ValueError, match="`dataset` must be a kzoo.Dataset"):
        Bench("digits")


@pytest.mark.parametrize(("trains", "expected"), [((1, 1, 0), -1), ((0, 0, 0), -2), ((1, 0, 1), 0)])
def test_largest_rate_that_trains_is_the_least_where_none_does(trains, expected):
    rates = zip((0.01, 0.1, 1.0), trains, strict=True)
    rows = [{"part": "rate", "norm": "none", "rate": rate, "trains": float(one)} for rate, one in rates]
    assert largest_rate("none")(rows) == pytest.approx(expected)
    assert largest_rate("batch")(rows) is None
