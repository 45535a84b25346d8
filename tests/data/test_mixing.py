import hashlib
import math

import keras
import numpy as np
import pytest

import kzoo
from kzoo import Mixing
from kzoo.data.mixing import _beta, _borders
from kzoo.streams import stream

BORDERS = "0cb1bfc81c79c9933acbea5a3093b9b978abee75cf7b4b2f7b9b9185f60ee9a9"


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(1)
    images = random.randint(0, 256, (16, 8, 12, 3)).astype(np.uint8)
    return images, np.eye(5, dtype=np.float32)[random.randint(0, 5, 16)]


def seeds(mixing, batch, wanted):
    """Yields seeds of which `mixing` does to a batch what is wanted: nothing, mixup or cutmix."""
    for seed in range(40):
        changed = (mixing(*batch, None, stream(seed, "test"))[0] != batch[0]).any(3).mean()
        if wanted == ("nothing" if changed == 0 else "mixup" if changed > 0.7 else "cutmix"):
            yield seed


def mixed_one_by_one(images, labels, random, *, alpha, kind):
    """Mixes as the papers say, pixel by pixel, in whole numbers."""
    count, height, width, _ = images.shape
    _, _, amount, row, column = random.random_sample(5)
    other = random.permutation(count)
    stays = _beta(alpha, amount)  # of 256
    inside = np.zeros((height, width), bool)
    if kind == "cutmix":
        ratio = math.sqrt(1 - stays / 256)
        rows, columns = int(height * ratio), int(width * ratio)
        middle = int(row * height), int(column * width)
        for y in range(middle[0] - rows // 2, middle[0] - rows // 2 + rows):
            for x in range(middle[1] - columns // 2, middle[1] - columns // 2 + columns):
                if 0 <= y < height and 0 <= x < width:
                    inside[y, x] = True
        stays = 1 - inside.mean()
    else:
        stays /= 256
    out = images.copy()
    for i in range(count):
        for y in range(height):
            for x in range(width):
                a, b = images[i, y, x].astype(float), images[other[i], y, x].astype(float)
                mean = np.floor(stays * a + (1 - stays) * b + 0.5)
                out[i, y, x] = mean if kind == "mixup" else b if inside[y, x] else a
    return out, stays * labels + (1 - stays) * labels[other], stays, other


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("seed", range(4))
def test_mixing_is_as_defined(batch, kind, alpha, seed):
    images, labels, weights = Mixing(**{kind: alpha})(*batch, None, stream(seed, "test"))
    expected, shares, _, _ = mixed_one_by_one(*batch, stream(seed, "test"), alpha=alpha, kind=kind)
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_allclose(labels, shares, atol=1e-7)
    assert (images.dtype, labels.dtype, weights) == (np.uint8, np.float32, None)


def test_images_mixed_with_their_own_class_keep_their_label(batch):
    images, labels = batch
    for seed in range(30):
        alone = np.tile(labels[:1], (len(labels), 1))
        np.testing.assert_array_equal(Mixing(1.0, 1.0)(images, alone, None, stream(seed, "test"))[1], alone)


def test_mixing_leaves_its_input_alone(batch):
    before = [part.copy() for part in batch]
    for seed in range(10):
        Mixing(1.0, 1.0)(*batch, None, stream(seed, "test"))
    for now, then in zip(batch, before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_batch_takes_mixup_or_cutmix(batch):
    both = Mixing(50.0, 50.0)  # near one half
    kinds = {kind: list(seeds(both, batch, kind)) for kind in ("nothing", "mixup", "cutmix")}
    assert not kinds["nothing"]
    assert min(len(kinds["mixup"]), len(kinds["cutmix"])) > 10
    for kind, alone in (("mixup", Mixing(mixup=50.0)), ("cutmix", Mixing(cutmix=50.0))):
        for seed in kinds[kind]:
            np.testing.assert_array_equal(
                both(*batch, None, stream(seed, "test"))[0], alone(*batch, None, stream(seed, "test"))[0]
            )


@pytest.mark.parametrize(("share", "least", "most"), [(0, 0, 0), (0.5, 10, 30), (1, 40, 40)])
def test_share_of_batches_is_mixed(batch, share, least, most):
    assert least <= 40 - len(list(seeds(Mixing(mixup=50.0, share=share), batch, "nothing"))) <= most


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_loss_of_mixed_images_is_that_of_both_in_their_shares(batch, kind):
    """Also with label smoothing, and with weights."""
    random = np.random.RandomState(2)
    images, labels = batch
    weights = random.uniform(0, 2, 16).astype(np.float32)
    weights[:4] = 0
    logits = random.normal(size=(16, 5)).astype(np.float32)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, reduction="none")
    _, mixed, counts = Mixing(**{kind: 1.0})(images, labels, weights, stream(3, "test"))
    _, _, stays, other = mixed_one_by_one(images, labels, stream(3, "test"), alpha=1.0, kind=kind)
    own, others = (
        keras.ops.convert_to_numpy(loss(answers, logits)) * factor
        for answers, factor in ((labels, weights), (labels[other], weights[other]))
    )
    seen = keras.ops.convert_to_numpy(loss(mixed, logits, sample_weight=counts))
    np.testing.assert_allclose(seen, stays * own + (1 - stays) * others, rtol=1e-5, atol=1e-6)
    assert 0.1 < stays < 0.9


def test_images_that_count_nothing_have_no_label(batch):
    images, labels = batch
    _, mixed, counts = Mixing(mixup=1.0)(images, labels, np.zeros(16, np.float32), stream(0, "test"))
    assert not mixed.any()
    assert not counts.any()


@pytest.mark.parametrize(
    ("alpha", "probability"),
    [
        (0.5, lambda x: 2 / math.pi * math.asin(math.sqrt(x))),
        (1, lambda x: x),
        (2, lambda x: x**2 * (3 - 2 * x)),
        (3, lambda x: x**3 * (10 - 15 * x + 6 * x**2)),
    ],
)
def test_shares_have_the_probabilities_of_the_beta_distribution(alpha, probability):
    expected = [probability((level + 0.5) / 256) for level in range(256)]
    np.testing.assert_allclose(_borders(float(alpha)), expected, rtol=1e-14)


@pytest.mark.parametrize("alpha", [1e-300, 0.01, 0.1, 0.2, 0.4, 7.5, 100.0])
def test_shares_have_mean_and_variance_of_the_beta_distribution(alpha):
    borders = [0.0, *_borders(alpha), 1.0]
    assert len(borders) == 258
    chances = np.diff(borders)
    assert (chances >= 0).all()
    shares = np.arange(257) / 256
    np.testing.assert_allclose(chances @ shares, 0.5, rtol=1e-12)
    np.testing.assert_allclose(chances @ (shares - 0.5) ** 2, 1 / (4 * (2 * alpha + 1)), rtol=0.02)


def test_draws_of_the_beta_distribution_are_as_probable_as_they_should_be():
    drawn = [_beta(0.2, position) for position in stream(0, "test").random_sample(20_000)]
    assert (min(drawn), max(drawn)) == (0, 256)
    assert np.mean(drawn) / 256 == pytest.approx(0.5, abs=0.012)  # four standard deviations
    assert np.var(np.array(drawn) / 256) == pytest.approx(1 / 5.6, rel=0.02)


def test_probabilities_are_the_same_everywhere():
    digest = hashlib.sha256()
    for alpha in (0.1, 0.2, 0.3, 0.4, 0.5, 0.8, 1.0, 2.0, 7.3):
        digest.update(np.array(_borders(alpha), "<f8").tobytes())
    assert digest.hexdigest() == BORDERS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mixup": -1}, "`mixup` must be between 0 and 100. Received: mixup=-1.0"),
        ({"cutmix": 101}, "`cutmix` must be between 0 and 100. Received: cutmix=101.0"),
        ({"share": 1.5}, "`share` must be between 0 and 1. Received: share=1.5"),
        ({"share": "1"}, "`share` must be a finite number. Received: share='1'"),
    ],
)
def test_mixing_rejects_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kzoo.Mixing(**arguments)
