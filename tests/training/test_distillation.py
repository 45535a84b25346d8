"""Learning from a teacher, by its definition."""

import dataclasses
import signal

import keras
import numpy as np
import pytest

import kzoo
from kzoo import ops
from kzoo.errors import TrainingInterrupted
from kzoo.training.distillation import Distillation, SoftTargets, about_teacher
from kzoo.training.loop import compile_model, training_batches
from kzoo.training.session import Session

WEIGHT, TEMPERATURE = 0.7, 3.0
RECIPE = kzoo.Recipe(
    epochs=2, batch_size=16, patience=None, distillation_weight=WEIGHT, temperature=TEMPERATURE, weight_decay=0.0
)


def student(activation=None, regularizer=None):
    """Returns a small model with batch statistics."""
    images = keras.Input((8, 8, 3), name="images")
    conv, dense = (kzoo.HeNormal(seed=1, path=path) for path in ("conv", "dense"))
    x = keras.layers.Rescaling(1 / 255, name="scale")(images)
    x = kzoo.BatchNorm(name="norm")(kzoo.Conv2D(4, kernel_initializer=conv, name="conv")(x))
    x = keras.layers.GlobalMaxPooling2D(data_format="channels_last", name="max")(x)
    x = keras.layers.Dense(
        3, kernel_initializer=dense, activation=activation, kernel_regularizer=regularizer, name="dense"
    )(x)
    return kzoo.Model(images, x, name="student")


def teacher(activation=None, slope=1 / 20):
    """Returns a model that knows the class by the colour; its norm can be folded."""
    images = keras.Input((8, 8, 3), name="images")
    pixels = keras.layers.Rescaling(slope, name="scale")(images)
    x = kzoo.Conv2D(3, kernel_size=1, name="conv")(pixels)
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="mean")(kzoo.BatchNorm(name="norm")(x))
    if activation:
        x = keras.layers.Softmax(name="softmax")(x)
    model = kzoo.Model(images, x, name="teacher")
    model.get_layer("conv").kernel.assign(np.eye(3).reshape(1, 1, 3, 3))
    return model


def value(tensor):
    return float(keras.ops.convert_to_numpy(tensor))


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def divergence(teacher_logits, logits, weights=1.0):
    """The definition: mean over images of T^2 * KL(teacher || student)."""
    p = log_softmax(np.asarray(teacher_logits, np.float64) / TEMPERATURE)
    q = log_softmax(np.asarray(logits, np.float64) / TEMPERATURE)
    return (TEMPERATURE**2 * (np.exp(p) * (p - q)).sum(axis=1) * weights).mean()


def test_soft_targets_are_those_of_the_definition():
    random = np.random.RandomState(0)
    expected, logits = random.standard_normal((2, 5, 4)).astype("float32") * 5
    weights = random.uniform(0, 2, 5).astype("float32")
    loss = SoftTargets(TEMPERATURE)
    assert value(loss(expected, logits)) == pytest.approx(divergence(expected, logits), rel=1e-5)
    found = value(loss(expected, logits, sample_weight=weights))
    assert found == pytest.approx(divergence(expected, logits, weights), rel=1e-5)
    assert value(loss(expected, expected)) == 0


def logits_of(model, images):
    answers = keras.ops.convert_to_numpy(model(images, training=False)).astype(np.float64)
    return np.log(answers) if model.layers[-1].get_config().get("activation") == "softmax" else answers


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("activations", [(None, None), ("softmax", "softmax")])
def test_loss_of_a_model_that_learns_is_that_of_the_definition(activations, weighted, tiny):
    model, taught_by = student(activations[0], keras.regularizers.L2(0.1)), teacher(activations[1])
    random = np.random.RandomState(0)
    images, labels = training_batches(tiny, RECIPE, 0).batch(0, 0)
    weights = random.uniform(0, 2, 16).astype("float32") if weighted else None
    from_logits = activations[0] is None
    distillation = Distillation.by(RECIPE, taught_by, tiny, from_logits=from_logits)
    with model.learns_from(distillation):
        compile_model(model, RECIPE, 3, from_logits=from_logits)
        x = keras.ops.convert_to_tensor(images)
        answers = model(x, training=False)
        found, validated = (
            value(model.compute_loss(x, labels, answers, weights, training=training)) for training in (True, False)
        )
    logits = keras.ops.convert_to_numpy(answers).astype(np.float64)
    logits = np.log(logits) if activations[0] else logits
    mean_colours = images.mean(axis=(1, 2)) / 20 / np.sqrt(1 + 1e-5)
    smooth = labels * 0.9 + 0.1 / 3
    labelled = (-(smooth * log_softmax(logits)).sum(axis=1) * (1 if weights is None else weights)).mean()
    penalty = 0.1 * (keras.ops.convert_to_numpy(model.get_layer("dense").kernel).astype(np.float64) ** 2).sum()
    soft = divergence(mean_colours, logits, 1 if weights is None else weights)
    assert found == pytest.approx((1 - WEIGHT) * labelled + WEIGHT * soft + penalty, rel=1e-4)
    assert validated == pytest.approx(labelled + penalty, rel=1e-4)
    assert value(model.compute_loss(x, labels, answers, weights)) == pytest.approx(validated)


def test_step_follows_the_gradient_of_the_definition(tiny, tmp_path):
    """By the step that `fit` compiles, on augmented images."""
    recipe = RECIPE.override(epochs=1, momentum=0.0, nesterov=False, schedule="constant", warmup=0.0, batch_size=48)
    taught_by, model, copy = teacher(), student(), student()
    images, labels = training_batches(tiny, recipe, 0).batch(0, 0)
    expected = keras.ops.convert_to_tensor(logits_of(taught_by, images), "float32") / TEMPERATURE

    def loss():
        logits = copy(keras.ops.convert_to_tensor(images), training=True)
        smooth = keras.ops.convert_to_tensor(labels * 0.9 + np.float32(0.1 / 3))
        labelled = -keras.ops.mean(keras.ops.sum(smooth * keras.ops.log_softmax(logits), axis=1))
        log_p = keras.ops.log_softmax(expected)
        soft = keras.ops.exp(log_p) * (log_p - keras.ops.log_softmax(logits / TEMPERATURE))
        soft = TEMPERATURE**2 * keras.ops.mean(keras.ops.sum(soft, axis=1))
        return (1 - WEIGHT) * labelled + WEIGHT * soft, ()

    slopes, _ = ops.gradients(loss, copy.trainable_variables)
    before = [keras.ops.convert_to_numpy(variable) for variable in copy.trainable_variables]
    kzoo.fit(model, tiny, recipe, run_dir=tmp_path / "run", verbose=0, teacher=taught_by)
    for variable, start, slope in zip(model.trainable_variables, before, slopes, strict=True):
        step = start - keras.ops.convert_to_numpy(variable)
        np.testing.assert_allclose(step, 0.05 * keras.ops.convert_to_numpy(slope), rtol=1e-3, atol=1e-6)


def content(run):
    metrics = {name: value for name, value in run.metrics.items() if "second" not in name}
    return metrics, [weight.tobytes() for weight in run.load_model().get_weights()]


@pytest.fixture
def taught(tiny, tmp_path):
    return kzoo.fit(student(), tiny, RECIPE, run_dir=tmp_path / "taught", verbose=0, teacher=teacher())


def test_teacher_is_left_as_it_was_and_leaves_nothing_in_the_model(tiny, tmp_path, taught):
    model, taught_by = student(), teacher()
    before = [weight.tobytes() for weight in taught_by.get_weights()]
    run = kzoo.fit(model, tiny, RECIPE, run_dir=tmp_path / "run", verbose=0, teacher=taught_by)
    assert [weight.tobytes() for weight in taught_by.get_weights()] == before
    assert taught_by.trainable
    assert len(taught_by.trainable_weights) == 3
    assert [weight.path for weight in model.weights] == [weight.path for weight in student().weights]
    assert model.train_function is None  # what Keras compiled has the teacher in it
    assert content(run) == content(taught)
    without = kzoo.fit(student(), tiny, RECIPE.override(distillation_weight=0), run_dir=tmp_path / "not", verbose=0)
    assert content(without)[1] != content(run)[1]


def test_training_goes_on_with_its_teacher_and_no_other(tiny, tmp_path, monkeypatch, taught):
    original = Session.on_train_batch_end

    def ends(self, batch, logs=None):
        if self.epoch == 1:
            self.keeper.asked = signal.SIGINT
        original(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "on_train_batch_end", ends)
        with pytest.raises(TrainingInterrupted):
            kzoo.fit(student(), tiny, RECIPE, run_dir=tmp_path / "left", verbose=0, teacher=teacher())
    going = {"run_dir": tmp_path / "left", "verbose": 0, "resume": True}
    other = teacher()
    other.get_layer("norm").moving_mean.assign([0.01, 0, 0])
    with pytest.raises(ValueError, match="must go on as it began. Received:\n  teacher.fingerprint: '[0-9a-f]{16}', n"):
        kzoo.fit(student(), tiny, RECIPE, **going, teacher=other)
    assert content(kzoo.fit(student(), tiny, RECIPE, **going, teacher=teacher())) == content(taught)


def test_teacher_may_be_a_run(tiny, tmp_path, taught):
    found = [
        kzoo.fit(student(), tiny, RECIPE, run_dir=tmp_path / f"run{i}", verbose=0, teacher=given).config["teacher"]
        for i, given in enumerate((taught, taught.directory))
    ]
    assert found == [about_teacher(taught.load_model())] * 2
    assert found[0]["name"] == "student"
    assert taught.config["teacher"] == about_teacher(teacher()) != found[0]


def test_teacher_may_be_a_preset(tmp_path):
    digits = kzoo.load_dataset("digits")
    few = dataclasses.replace(digits, train=digits.train.take(range(32)), source=None)
    pupil = kzoo.resnet(8, seed=1)
    run = kzoo.fit(
        pupil, few, RECIPE.override(epochs=1), run_dir=tmp_path / "run", verbose=0, teacher="digits/resnet20"
    )
    assert run.config["teacher"] == about_teacher(kzoo.load_preset("digits/resnet20"))


def test_preset_of_other_classes_is_refused(tiny):
    with pytest.raises(ValueError, match="must have the 10 classes of digits/resnet20, in their order"):
        kzoo.fit(student(), tiny, RECIPE, teacher="digits/resnet20")


def test_teacher_sees_the_small_images_of_the_first_epochs_too(tiny, tmp_path):
    recipe = RECIPE.override(image_scales=(0.5, 1.0))
    model, taught_by = (kzoo.resnet(8, input_shape=(8, 8, 3), classes=3, seed=seed) for seed in (0, 1))
    kzoo.fit(taught_by, tiny, RECIPE.override(distillation_weight=0), run_dir=tmp_path / "first", verbose=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kzoo.training.distillation._check_answers", lambda *_: None)  # after two epochs
        run = kzoo.fit(model, tiny, recipe, run_dir=tmp_path / "run", verbose=0, teacher=taught_by)
    assert len(run.history) == 2


def test_teacher_of_other_classes_is_refused(tiny, taught):
    other = kzoo.Dataset("tiny", ("red", "blue", "green"), tiny.train, tiny.validation, tiny.test, flip=True)
    with pytest.raises(ValueError, match="must have the 3 classes of .*taught, in their order"):
        kzoo.fit(student(), other, RECIPE, teacher=taught)


def test_teacher_that_knows_nothing_of_the_pixels_is_refused(tiny):
    with pytest.raises(ValueError, match="must know the classes.* on 0.0% of 12 images .*, where chance is 33.3%"):
        kzoo.fit(student(), tiny, RECIPE, teacher=teacher(slope=-1 / 20))


@pytest.mark.parametrize(
    ("given", "received"),
    [
        (lambda: kzoo.resnet(8, input_shape=(8, 8, 3), classes=4), r"'resnet8', from .* to \(None, 4\)"),
        (lambda: kzoo.resnet(8, input_shape=(9, 9, 3), classes=3), r"'resnet8', from \(None, 9, 9, 3\)"),
        (lambda: kzoo.resnet(8, input_shape=(8, 8, 3), include_top=False), "'resnet8', from"),
    ],
)
def test_teacher_of_other_shapes_is_refused(given, received, tiny):
    with pytest.raises(ValueError, match=f"must be another model, from .*{received}"):
        kzoo.fit(student(), tiny, RECIPE, teacher=given())


def test_model_is_not_its_own_teacher(tiny):
    model = student()
    with pytest.raises(ValueError, match="`teacher` must be another model, .*Received: the model itself"):
        kzoo.fit(model, tiny, RECIPE, teacher=model)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_teacher_and_its_weight_come_together(weight, tiny):
    given = None if weight else teacher()
    with pytest.raises(ValueError, match=f"needs a `distillation_weight` above 0 .*, and distillation_weight={weight}"):
        kzoo.fit(student(), tiny, RECIPE.override(distillation_weight=weight), teacher=given)


def test_only_models_of_kzoo_learn_from_a_teacher(tiny):
    model = student()
    with pytest.raises(ValueError, match="must be a kzoo.Model: .*Received: Functional"):
        kzoo.fit(keras.Model(model.inputs, model.outputs), tiny, RECIPE, teacher=teacher())
