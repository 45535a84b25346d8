import keras
import numpy as np
import pytest

import kzoo
from kzoo.evaluation import (
    are_logits,
    as_logits,
    even_batch_size,
    gives_logits,
    log_probabilities,
    places,
    predict_in_whole_batches,
)


def classifier(activation):
    """The sum of each colour of the image is a class."""
    inputs = keras.Input((2, 2, 3))
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(inputs)
    outputs = keras.layers.Dense(3, activation=activation, kernel_initializer="identity")(x)
    return keras.Model(inputs, outputs)


IMAGES = np.random.RandomState(0).randint(0, 256, (7, 2, 2, 3))


def test_logits_stay_as_they_are():
    outputs = np.float32([[-3, 0, 200]])
    assert as_logits(outputs, from_logits=True) is outputs


@pytest.mark.parametrize("of_tensors", [False, True], ids=["numpy", "keras.ops"])
def test_logits_of_probabilities_are_their_logarithms_and_finite(of_tensors):
    probabilities = np.float32([[0.25, 0.75, 0]])
    outputs, ops = (keras.ops.convert_to_tensor(probabilities), keras.ops) if of_tensors else (probabilities, np)
    logits = keras.ops.convert_to_numpy(as_logits(outputs, False, ops))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, [[np.log(0.25), np.log(0.75), np.log(2.0**-126)]], rtol=1e-6)


def test_log_probabilities_are_the_same_of_logits_and_of_probabilities():
    logits, probabilities = (log_probabilities(classifier(activation), IMAGES / 20) for activation in (None, "softmax"))
    np.testing.assert_allclose(probabilities, logits, atol=1e-5)
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1)


def small(images):
    """Logits that no softmax takes to 0 or 1."""
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(x)
    return keras.layers.Dense(3, kernel_initializer="identity", bias_initializer="ones")(x)


def with_softmax(kind):
    images = keras.Input((2, 2, 3))
    logits = keras.Model(images, small(images))
    softmax = keras.layers.Softmax()
    if kind == "inner model":
        return keras.Model(images, keras.Model(images, softmax(logits(images)))(images))
    if kind == "Sequential":
        return keras.Sequential([keras.Input((2, 2, 3)), keras.Sequential([logits, softmax])])
    if kind == "operation":
        return keras.Model(images, keras.ops.softmax(logits(images)))
    if kind == "Lambda":
        return keras.Model(images, keras.layers.Lambda(keras.ops.softmax, output_shape=(3,))(logits(images)))
    if kind == "half precision":
        halves = keras.layers.Softmax(dtype="bfloat16")(logits(images))
        return keras.Model(images, keras.layers.Activation("linear", dtype="float32")(halves))
    after = {
        "Reshape": keras.layers.Reshape((3,)),
        "Dropout": keras.layers.Dropout(0.5),
        "Activation": keras.layers.Activation("linear"),
    }
    return keras.Model(images, after[kind](softmax(logits(images))))


KINDS = ["inner model", "Sequential", "operation", "Lambda", "half precision", "Reshape", "Dropout", "Activation"]


@pytest.mark.parametrize("kind", KINDS)
def test_softmax_is_found_wherever_it_is(kind):
    images = keras.Input((2, 2, 3))
    logits = keras.Model(images, small(images))
    labels = np.arange(7) % 3
    expected = kzoo.evaluate(logits, IMAGES, labels)
    assert gives_logits(logits)
    model = with_softmax(kind)
    assert not gives_logits(model)
    assert kzoo.evaluate(model, IMAGES, labels).loss == pytest.approx(
        expected.loss, rel=1e-2 if "half" in kind else 1e-5
    )


@pytest.mark.parametrize("activation", ["sigmoid", "log_softmax", "softplus", None])
def test_what_does_not_add_up_to_one_is_logits(activation):
    assert gives_logits(classifier(activation))


def test_looking_at_a_model_changes_nothing():
    keras.utils.set_random_seed(0)
    state = np.random.get_state()[1].tolist()
    images = keras.Input((2, 2, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Dropout(0.5, seed=1)(images))
    model = keras.Model(images, small(x))
    before = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    assert gives_logits(model)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    assert np.random.get_state()[1].tolist() == state


def test_caller_may_say_it_and_is_told_what_cannot_be():
    model, labels = with_softmax("operation"), np.arange(7) % 3
    assert kzoo.evaluate(model, IMAGES, labels, from_logits=False) is not None
    with pytest.raises(
        ValueError, match=r"`from_logits` must be what the model gives\. Received: .*=True, rows add up"
    ):
        kzoo.evaluate(model, IMAGES, labels, from_logits=True)
    with pytest.raises(ValueError, match=r"Received: from_logits=False, rows are negative or do not add up to 1"):
        kzoo.evaluate(classifier(None), IMAGES, labels, from_logits=False)


@pytest.mark.parametrize(
    ("rows", "logits"),
    [
        ([[0.2, 0.8], [1, 0]], False),
        ([[0.2, 0.801]], True),
        (np.float16([[0.3, 0.3, 0.4]]), False),
        ([[-0.1, 1.1]], True),
        ([[np.nan, 0.5], [0.25, 0.75]], False),
        ([[np.nan, np.nan]], True),
        ([[3.0]], True),
    ],
)
def test_rows_are_probabilities_if_they_add_up_to_one(rows, logits):
    assert are_logits(rows) is logits


@pytest.mark.filterwarnings("ignore:(?s).*softmax over axis -1")  # of Keras
@pytest.mark.parametrize("from_logits", [None, True, False])
def test_one_class_is_certain_either_way(from_logits):
    images = keras.Input((2, 2, 3))
    x = keras.layers.GlobalAveragePooling2D()(images)
    model = keras.Model(images, keras.layers.Dense(1, activation="softmax")(x))
    result = kzoo.evaluate(model, IMAGES, np.zeros(7, int), from_logits=from_logits)
    assert (result.loss, result.accuracy) == (0, 1)


def answering(rows):
    """A model that answers to an image of one pixel of that number with that row."""
    images = keras.Input((1, 1, 3))
    table = np.float32(rows)

    class Table(keras.layers.Layer):
        def call(self, x):
            return keras.ops.take(keras.ops.convert_to_tensor(table), keras.ops.cast(x[:, 0, 0, 0], "int32"), axis=0)

    return keras.Model(images, Table()(keras.layers.Lambda(lambda x: x % len(rows))(images)))


def numbered(count):
    return np.broadcast_to(np.arange(count)[:, None, None, None], (count, 1, 1, 3))


def test_prediction_of_nan_is_no_hit():
    rows = np.zeros((3, 10))
    rows[:, 2] = 5
    rows[1, 7] = np.nan
    result = kzoo.evaluate(answering(rows), numbered(3), [2, 2, 0])
    assert np.isnan(result.loss)
    assert (result.accuracy, result.top5_accuracy) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (result.confusion[2, 2], result.confusion[0, 2], result.confusion.sum()) == (1, 1, 2)
    assert result.per_class["2"] == 0.5


def test_ties_are_ranked_by_the_number_of_the_class():
    result = kzoo.evaluate(answering(np.zeros((1, 10))), np.zeros((10, 1, 1, 3)), np.arange(10))
    assert (result.accuracy, result.top5_accuracy) == (0.1, 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_places_are_those_of_a_stable_sort(seed):
    random = np.random.RandomState(seed)
    scores = random.randint(0, 4, (50, 6)).astype(float)
    labels = random.randint(0, 6, 50)
    order = np.argsort(-scores, axis=1, kind="stable")
    np.testing.assert_array_equal(places(scores, labels), np.argmax(order == labels[:, None], axis=1))


@pytest.mark.parametrize("form", [list, lambda labels: labels[:, None], np.uint8, np.int32, np.uint64])
def test_labels_of_any_integers_are_taken(form):
    labels = np.arange(7) % 3
    expected = kzoo.evaluate(classifier(None), IMAGES, labels)
    assert kzoo.evaluate(classifier(None), IMAGES.tolist(), form(labels)).loss == expected.loss


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.eye(3)[[0, 1, 2, 0, 1, 2, 0]], r"`labels` must be integers of shape .* dtype=float64, shape=\(7, 3\)"),
        (np.eye(3, dtype=int)[[0, 1, 2, 0, 1, 2, 0]], r"dtype=int64, shape=\(7, 3\)"),
        (np.zeros(7), r"dtype=float64, shape=\(7,\)"),
        (np.zeros(7, bool), r"dtype=bool, shape=\(7,\)"),
        (["0"] * 7, r"dtype=<U1, shape=\(7,\)"),
        ([[0], [0, 1]], "`labels` must be an array. Received: "),
        (np.zeros((7, 1, 1), int), r"shape=\(7, 1, 1\)"),
        ([0] * 6, "equally many, at least one. Received: 7 images and 6 labels"),
        ([3] * 7, "`labels` must be 0 to 2, the classes of the model. Received: labels from 3 to 3"),
    ],
)
def test_labels_that_are_none_are_told(labels, message):
    with pytest.raises(ValueError, match=message):
        kzoo.evaluate(classifier(None), IMAGES, labels)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            IMAGES[..., :1],
            r"`images` must be numbers of shape \(n, 2, 2, 3\). Received: dtype=int64, shape=\(7, 2, 2, 1\)",
        ),
        (IMAGES[0], r"shape=\(2, 2, 3\)"),
        (IMAGES.astype(str), "dtype=<U"),
        ([], r"shape=\(0,\)"),
    ],
)
def test_images_that_are_none_are_told(images, message):
    with pytest.raises(ValueError, match=message):
        kzoo.evaluate(classifier(None), images, np.zeros(7, int))


def test_model_of_more_than_one_answer_is_told():
    images = keras.Input((2, 2, 3))
    with pytest.raises(ValueError, match=r"`model` must answer with one tensor of shape \(batch, classes\)"):
        kzoo.evaluate(keras.Model(images, [small(images), small(images)]), IMAGES, np.zeros(7, int))


@pytest.mark.parametrize("batch_size", [1, 3, 5, 7, 100])
def test_whole_batches_answer_to_every_image_once_and_in_order(batch_size, monkeypatch):
    model = classifier(None)
    sizes = []
    predict = model.predict
    monkeypatch.setattr(model, "predict", lambda x, **settings: sizes.append(len(x)) or predict(x, **settings))
    outputs = predict_in_whole_batches(model, IMAGES, batch_size)
    np.testing.assert_allclose(outputs, IMAGES.mean(axis=(1, 2)), rtol=1e-6)
    assert sizes[0] % min(batch_size, 7) == 0


@pytest.mark.parametrize(("images", "size"), [(1, 1), (7, 7), (359, 256), (512, 256), (514, 256), (720, 240)])
def test_even_batch_size_leaves_no_smaller_batch_unless_it_would_be_tiny(images, size):
    assert even_batch_size(images) == size


def lopsided(activation):
    """Logits that a mirror image changes: the colours of the left column."""
    images = keras.Input((2, 2, 3))
    left = keras.layers.Cropping2D(((0, 0), (0, 1)), data_format="channels_last")(
        keras.layers.Rescaling(1 / 64)(images)
    )
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(left)
    return keras.Model(images, keras.layers.Dense(3, activation=activation, kernel_initializer="identity")(x))


@pytest.mark.parametrize("activation", [None, "softmax"])
@pytest.mark.parametrize("of_split", [False, True], ids=["array", "split"])
def test_mirrored_evaluation_is_that_of_the_mean_of_the_logits(activation, of_split):
    random = np.random.RandomState(3)
    images, labels = random.randint(0, 256, (50, 2, 2, 3)).astype(np.uint8), random.randint(0, 3, 50)
    logits = images[:, :, :1].mean(axis=(1, 2)) / 64, images[:, :, 1:].mean(axis=(1, 2)) / 64
    if activation:  # logarithms of probabilities, which are logits too
        logits = [one - np.log(np.exp(one).sum(axis=1, keepdims=True)) for one in logits]
    mean = (logits[0] + logits[1]) / 2
    log_p = mean - np.log(np.exp(mean).sum(axis=1, keepdims=True))
    given = (kzoo.Split(images, labels),) if of_split else (images, labels)
    found = kzoo.evaluate(lopsided(activation), *given, batch_size=16, tta="mirror")
    assert found.tta == "mirror"
    assert found.loss == pytest.approx(-log_p[np.arange(50), labels].mean(), rel=1e-5)
    assert found.accuracy == (log_p.argmax(axis=1) == labels).mean()
    plain = kzoo.evaluate(lopsided(activation), *given, batch_size=16)
    assert plain.tta is None
    assert abs(plain.loss - found.loss) > 0.01
