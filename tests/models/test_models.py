import hashlib
import math

import keras
import numpy as np
import pytest

import kzoo

# Every depth and the published count: facts of He et al. 2015 (v1, option A), 2016 (v2, option B) for 10 classes.
PUBLISHED = {
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet20_v2": 272_282,
    "resnet56_v2": 855_578,
    "resnet110_v2": 1_730_522,
    "wide_resnet28_10": 36_479_194,
}
QUICK = [name for name in kzoo.list_models() if "1202" not in name and name != "wide_resnet28_10"]
SLOW = [name for name in kzoo.list_models() if name not in QUICK]
EVERY = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def trainable(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def expected_parameters(name):
    """Counts kernels and normalized channels from the depth alone, without building anything."""
    preact = name.endswith("_v2") or "wide" in name
    if "wide" in name:
        depth, width = map(int, name.removeprefix("wide_resnet").split("_"))
    else:
        depth, width = int(name.removesuffix("_v2").removeprefix("resnet").removeprefix("plain")), 1
    blocks = (depth - (4 if "wide" in name else 2)) // 6
    filters = [16 * width, 32 * width, 64 * width]
    total, channels, normalized = 27 * 16, 16, 0
    if not preact:
        normalized += 16
    for stage in filters:
        for _ in range(blocks):
            total += 9 * channels * stage + 9 * stage * stage
            normalized += channels + stage if preact else 2 * stage
            if preact and channels != stage:
                total += channels * stage
            channels = stage
    if preact:
        normalized += channels
    return total + 2 * normalized + 10 * channels + 10


@pytest.mark.parametrize("name", EVERY)
def test_model_has_as_many_parameters_as_its_formula(name):
    assert trainable(kzoo.create_model(name)) == expected_parameters(name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_formula_gives_the_published_count(name):
    assert expected_parameters(name) == PUBLISHED[name]


def test_resnet1202_has_the_papers_19_4_million_parameters():
    assert round(expected_parameters("resnet1202") / 1e6, 1) == 19.4


@pytest.mark.parametrize(("depth", "expected"), [(20, 272_474), (32, 466_906), (44, 661_338), (56, 855_770)])
def test_resnet_with_projections_has_published_parameter_count(depth, expected):
    assert trainable(kzoo.resnet(depth, shortcut="projection")) == expected


@pytest.mark.slow
def test_resnet1202_with_a_tiny_input_predicts():
    model = kzoo.resnet1202(input_shape=(8, 8, 3))
    assert model.predict(np.zeros((1, 8, 8, 3)), verbose=0).shape == (1, 10)


@pytest.mark.parametrize("name", ["resnet20", "resnet20_v2", "plain20", "wide_resnet16_4"])
@pytest.mark.parametrize("size", [(8, 8), (9, 15), (33, 32)])
def test_model_takes_any_input_size_from_8_up(name, size):
    model = kzoo.create_model(name, input_shape=(*size, 3))
    assert model.output_shape == (None, 10)
    shapes = {layer.output.shape[1:3] for layer in model.layers if layer.name.endswith("conv2")}
    halved = [tuple(-(-side // 2**stage) for side in size) for stage in range(3)]
    assert shapes == set(halved)


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"classes": 100}, (None, 100)),
        ({"include_top": False}, (None, 8, 8, 64)),
        ({"include_top": False, "pooling": "avg"}, (None, 64)),
        ({"include_top": False, "pooling": "max"}, (None, 64)),
    ],
)
def test_model_ends_as_asked(arguments, shape):
    assert kzoo.resnet(8, **arguments).output_shape == shape


def test_model_gives_logits_or_probabilities():
    x = np.random.RandomState(0).randint(0, 256, (3, 8, 8, 3))
    logits = kzoo.resnet(8, input_shape=(8, 8, 3)).predict(x, verbose=0)
    probabilities = kzoo.resnet(8, input_shape=(8, 8, 3), classifier_activation="softmax").predict(x, verbose=0)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, shifted / shifted.sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-6)


def test_model_without_preprocessing_takes_normalized_images():
    x = np.random.RandomState(0).randint(0, 256, (3, 8, 8, 3)).astype("float32")
    whole, bare = (
        kzoo.resnet(8, input_shape=(8, 8, 3)),
        kzoo.resnet(8, input_shape=(8, 8, 3), include_preprocessing=False),
    )
    normalized = (x / 255 - [0.4914, 0.4822, 0.4465]) / [0.2470, 0.2435, 0.2616]
    np.testing.assert_allclose(bare.predict(normalized, verbose=0), whole.predict(x, verbose=0), rtol=1e-3, atol=1e-3)


def test_models_take_grey_and_four_channel_images():
    assert kzoo.resnet(8, input_shape=(8, 8, 1)).output_shape == kzoo.resnet(8, input_shape=(8, 8, 4)).output_shape


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kzoo.resnet(21), r"`depth` must be 6n \+ 2. Received: depth=21."),
        (lambda: kzoo.resnet(2), r"`depth` must be 6n \+ 2. Received: depth=2."),
        (lambda: kzoo.wide_resnet(20, 4), r"`depth` must be 6n \+ 4. Received: depth=20."),
        (lambda: kzoo.wide_resnet(16, 0), "`width` must be at least 1. Received: width=0."),
        (lambda: kzoo.resnet20(input_shape=(7, 32, 3)), r"at least 8x8 pixels .* Received: input_shape=\(7, 32, 3\)."),
        (lambda: kzoo.resnet20(input_shape=(32, 32)), r"`input_shape` must be \(height, width, channels\)"),
        (lambda: kzoo.resnet20(classes=0), "`classes` must be at least 1. Received: classes=0."),
        (lambda: kzoo.resnet20(pooling="sum"), "`pooling` must be None, 'avg' or 'max'. Received: pooling='sum'."),
        (lambda: kzoo.resnet20(seed=-1), "`seed` must be an integer, 0 or larger and below .* Received: seed=-1."),
        (lambda: kzoo.resnet20(seed=2**64), "`seed` must be an integer, 0 or larger and below .* Received: seed=18446"),
        (lambda: kzoo.resnet20(clases=10), "must be among weights, .*Received: clases=10. Did you mean 'classes'?"),
        (lambda: kzoo.resnet(20, foo=1), "must be among weights, .*Received: foo=1."),
        (lambda: kzoo.wide_resnet(16, 4, drop_out=0.1), "Received: drop_out=0.1. Did you mean 'dropout'?"),
        (lambda: kzoo.create_model("plain20", shape=1), "Received: shape=1."),
        (lambda: kzoo.create_model("resnet21"), "Received: name='resnet21'. Did you mean 'resnet20'?"),
        (lambda: kzoo.create_model("resnet_20"), "Received: name='resnet_20'. Did you mean 'resnet20'?"),
    ],
)
def test_model_says_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_weights_file_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected a weights file. Received: .*none.weights.h5"):
        kzoo.resnet(8, weights=tmp_path / "none.weights.h5")


def test_weights_of_another_architecture_are_an_error(tmp_path):
    kzoo.save_weights(kzoo.resnet(8), tmp_path / "a.weights.h5")
    with pytest.raises(ValueError, match="does not hold weights of 'resnet14'"):
        kzoo.resnet(14, weights=tmp_path / "a.weights.h5")


def sha256(arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


# The same on every backend: each one's tests compare with this value.
def test_initial_weights_are_the_same_bytes_everywhere():
    assert sha256(kzoo.resnet20(seed=0).get_weights()) == (
        "db77a2ac749c4a4d3f41939f9ffbb8554572e0f502d53936b8979abb758d58c7"
    )


def test_initial_weights_depend_on_the_seed():
    assert sha256(kzoo.resnet(8, seed=0).get_weights()) != sha256(kzoo.resnet(8, seed=1).get_weights())


def test_saved_model_predicts_the_same_after_loading(tmp_path):
    x = np.random.RandomState(0).randint(0, 256, (3, 16, 16, 3))
    model = kzoo.resnet(8, input_shape=(16, 16, 3), dropout=0.1)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_describe_counts_resnet20():
    description = kzoo.describe("resnet20")
    convolutions = 32 * 32 * (27 * 16 + 6 * 9 * 16 * 16) + 16 * 16 * 9 * (16 * 32 + 5 * 32 * 32)
    convolutions += 8 * 8 * 9 * (32 * 64 + 5 * 64 * 64)
    assert description.multiply_adds == convolutions + 64 * 10
    assert description.parameters == 269_722
    # Each 3x3 convolution adds twice the step between its inputs: 1 (stem, stage 1 and the first of stage 2), 2, 4.
    assert description.receptive_field == 1 + 2 * (1 + 6 + 1) + 4 * (5 + 1) + 8 * 5


def test_describe_takes_keras_layers():
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 5, padding="same", data_format="channels_last")(inputs)
    x = keras.layers.MaxPooling2D(2, data_format="channels_last")(x)
    x = keras.layers.Conv2D(6, 3, dilation_rate=2, padding="same", data_format="channels_last")(x)
    description = kzoo.describe(keras.Model(inputs, x))
    assert description.receptive_field == 5 + 1 + 2 * 4
    assert description.multiply_adds == 32 * 32 * 25 * 3 * 4 + 16 * 16 * 9 * 4 * 6
