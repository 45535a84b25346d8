"""Optimizers, schedules and losses of the caller's own, and trainings with each ingredient that go on."""

import json
import signal

import keras
import numpy as np
import pytest

import kzoo
from kzoo.errors import TrainingInterrupted
from kzoo.training.session import Session

QUICK = kzoo.recipe("default").override(epochs=2, batch_size=8, patience=0)


def small():
    inputs = keras.Input((8, 8, 3), name="images")
    x = kzoo.layers.Conv2D(4, name="conv")(keras.layers.Rescaling(1 / 255, name="scale")(inputs))
    x = keras.layers.GlobalMaxPooling2D(name="max")(kzoo.layers.BatchNorm(name="norm")(x))
    return keras.Model(inputs, keras.layers.Dense(3, name="dense")(x), name="small")


def start():
    keras.utils.set_random_seed(0)
    return small()


@keras.saving.register_keras_serializable(package="test")
class Halving(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1 * 0.5 ** keras.ops.cast(step, "float32")

    def get_config(self):
        return {}


def squared(labels, answers):
    return keras.ops.mean(keras.ops.square(labels - keras.ops.softmax(answers)), axis=-1)


def rates(run):
    return [row["learning_rate"] for row in run.history]


def test_optimizer_of_the_caller_trains_and_is_recorded(tiny, tmp_path):
    run = kzoo.fit(start(), tiny, QUICK, run_dir=tmp_path / "run", verbose=0, optimizer=keras.optimizers.Adam(0.003))
    assert run.config["custom"]["optimizer"]["class_name"] == "Adam"
    assert run.config["custom"]["optimizer"]["config"]["learning_rate"] == pytest.approx(0.003)
    assert rates(run) == [0.003, 0.003]
    changes = {"learning_rate": 0.003, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0}
    named = kzoo.fit(start(), tiny, QUICK.override(optimizer="adam", **changes), run_dir=tmp_path / "named", verbose=0)
    assert named.history[-1]["loss"] == run.history[-1]["loss"]
    assert "custom" not in named.config


def test_schedule_of_the_caller_sets_the_rates(tiny, tmp_path):
    run = kzoo.fit(start(), tiny, QUICK, run_dir=tmp_path / "run", verbose=0, schedule=Halving())
    assert run.config["custom"]["schedule"]["registered_name"] == "test>Halving"
    np.testing.assert_allclose(rates(run), [0.1 * 0.5**6, 0.1 * 0.5**12], rtol=1e-5)


@pytest.mark.parametrize("loss", [squared, keras.losses.CategoricalFocalCrossentropy(from_logits=True)])
def test_loss_of_the_caller_is_watched(tiny, tmp_path, loss):
    model = start()
    run = kzoo.fit(model, tiny, QUICK, run_dir=tmp_path / "run", verbose=0, loss=loss)
    images = tiny.validation.read(np.arange(12)).astype("float32")
    labels = keras.ops.one_hot(tiny.validation.labels, 3)
    expected = np.mean(keras.ops.convert_to_numpy(loss(labels, model(images, training=False))))
    assert run.metrics["val_loss"] == pytest.approx(expected, rel=1e-4)
    assert "squared" in str(run.config["custom"]["loss"]) or "Focal" in str(run.config["custom"]["loss"])


class Unrecorded(keras.losses.Loss):
    def call(self, labels, answers):
        return squared(labels, answers)

    def get_config(self):
        return {"function": object()}


def used():
    optimizer = keras.optimizers.Adam()
    optimizer.build([keras.Variable([1.0])])
    return optimizer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: {"optimizer": "adam"},
            "`optimizer` must be a new keras.optimizers.Optimizer;",
        ),
        (lambda: {"optimizer": used()}, "`optimizer` must be new: "),
        (
            lambda: {"optimizer": keras.optimizers.Adam(), "schedule": Halving()},
            "`schedule` must be the optimizer's own",
        ),
        (lambda: {"schedule": "cosine"}, "`schedule` must be a LearningRateSchedule .* Received: schedule='cosine'"),
        (lambda: {"loss": "mse"}, "`loss` must be a keras.losses.Loss, or a function .* Received: loss='mse'"),
        (lambda: {"loss": keras.losses.CategoricalCrossentropy()}, "`loss` must take what the model gives, logits: "),
        (lambda: {"loss": Unrecorded()}, "`loss` must have a `get_config` of what JSON holds"),
        (
            lambda: {"schedule": Halving(), "callbacks": keras.callbacks.ReduceLROnPlateau()},
            "ReduceLROnPlateau cannot set the learning rate",
        ),
        (
            lambda: {"recipe": QUICK.override(optimizer="adam", optimizer_arguments={"b": 1})},
            "`optimizer_arguments` of",
        ),
        (lambda: {"recipe": QUICK.override(class_weights={"b": 1})}, "`class_weights` must be of classes of"),
    ],
)
def test_fit_says_what_is_wrong_with_parts_of_the_caller(tiny, tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        kzoo.fit(start(), tiny, **{"recipe": QUICK, "run_dir": tmp_path / "run", **make()})
    assert not (tmp_path / "run").exists()


def interrupted(monkeypatch, step, train):
    """Ends a training with a checkpoint after a step."""
    original = Session.on_train_batch_end

    def ends(self, batch, logs=None):
        if self.epoch * self.per_epoch + self._first + batch + 1 == step:
            self.keeper.asked = signal.SIGINT
        original(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "on_train_batch_end", ends)
        with pytest.raises(TrainingInterrupted):
            train()


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw", "learning_rate": 0.01, "optimizer_arguments": {"beta_1": 0.8}},
        {"optimizer": "muon", "learning_rate": 0.01},
        {"accumulate_steps": 4, "global_clip_norm": 0.5, "bias_rate": 4.0, "class_weights": {"red": 2.0}},
    ],
    ids=str,
)
def test_training_with_ingredients_goes_on_to_the_same_bytes(tiny, tmp_path, monkeypatch, changes):
    recipe = QUICK.override(**changes)
    whole = kzoo.fit(start(), tiny, recipe, run_dir=tmp_path / "whole", verbose=0)
    options = {"run_dir": tmp_path / "parts", "verbose": 0, "resume": True}
    for step in (3, 6, 10):
        interrupted(monkeypatch, step, lambda: kzoo.fit(start(), tiny, recipe, **options))
    parts = kzoo.fit(start(), tiny, recipe, **options)
    keep = [{name: value for name, value in row.items() if name != "seconds"} for row in whole.history]
    assert [{name: value for name, value in row.items() if name != "seconds"} for row in parts.history] == keep
    assert parts.metrics["stopped_early"] is False
    for a, b in zip(whole.load_model().weights, parts.load_model().weights, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (a, b)))
    assert parts.recipe == recipe


def test_training_of_the_caller_s_optimizer_goes_on_or_says_why_not(tiny, tmp_path, monkeypatch):
    def go(rate=0.003, loss=squared, **options):
        return kzoo.fit(start(), tiny, QUICK, verbose=0, optimizer=keras.optimizers.Adam(rate), loss=loss, **options)

    whole = go(run_dir=tmp_path / "whole")
    interrupted(monkeypatch, 4, lambda: go(run_dir=tmp_path / "parts"))
    with pytest.raises(ValueError, match="custom.optimizer.config.learning_rate: .*, now 0.00"):
        go(0.004, run_dir=tmp_path / "parts", resume=True)
    with pytest.raises(ValueError, match="a function made with `def`. Received: a lambda."):
        go(loss=lambda labels, answers: squared(labels, answers), run_dir=tmp_path / "parts", resume=True)
    parts = go(run_dir=tmp_path / "parts", resume=True)
    assert parts.history[-1]["loss"] == whole.history[-1]["loss"]


def test_older_run_without_the_ingredients_goes_on(tiny, tmp_path, monkeypatch):
    """Fields that are off are not written, so that a run from before there were such fields is the same training."""
    recorded = QUICK.record()
    assert list(recorded)[-1] == "precision"
    assert json.loads(json.dumps(QUICK.override(bias_rate=2).record()))["bias_rate"] == 2
    interrupted(monkeypatch, 4, lambda: kzoo.fit(start(), tiny, QUICK, run_dir=tmp_path / "run", verbose=0))
    assert kzoo.Run(tmp_path / "run").config["recipe"].keys() == recorded.keys()
    with pytest.raises(ValueError, match=r"recipe.bias_rate: None, now 2.0"):
        kzoo.fit(start(), tiny, QUICK.override(bias_rate=2), run_dir=tmp_path / "run", verbose=0, resume=True)
    assert kzoo.fit(start(), tiny, QUICK, run_dir=tmp_path / "run", verbose=0, resume=True).recipe == QUICK
