"""Averages of weights, and slow weights: by their definitions, evaluated in the weights' place, part of the state."""

import signal

import keras
import numpy as np
import pytest

import kzoo
from kzoo import ops
from kzoo.errors import DivergenceError, TrainingInterrupted
from kzoo.ops import generic
from kzoo.training import averaging
from kzoo.training.checkpoint import newest_state
from kzoo.training.session import Session

DECAY = 0.9
RECIPE = kzoo.Recipe(epochs=3, batch_size=16, patience=None, ema=DECAY)
LOOKAHEAD = RECIPE.override(ema=0, lookahead_steps=2, lookahead_share=0.25)
STEPS = 3  # an epoch


def small():
    """Returns a model with batch statistics and counted masks, which JAX compiles in little time."""
    inputs = keras.Input((8, 8, 3), name="images")
    conv, dense = (kzoo.HeNormal(seed=1, path=path) for path in ("conv", "dense"))
    x = keras.layers.Rescaling(1 / 255, name="scale")(inputs)
    x = kzoo.BatchNorm(name="norm")(kzoo.Conv2D(8, kernel_initializer=conv, name="conv")(x))
    x = kzoo.Dropout(0.2, name="dropout")(keras.layers.GlobalMaxPooling2D(name="max")(x))
    return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer=dense, name="dense")(x), name="small")


def values(model):
    """Copies of all that is averaged, by name."""
    sync = getattr(model, "jax_state_sync", None)
    if sync is not None:
        sync()
    floats = [one for one in model.variables if "float" in one.dtype]
    return {f"{i}/{one.name}": np.array(keras.ops.convert_to_numpy(one)) for i, one in enumerate(floats)}


class Seen(keras.callbacks.Callback):
    """Keeps what the model has after each step, at the end of each epoch, and within each validation."""

    def on_train_begin(self, logs=None):
        self.steps, self.epochs, self.validations, self.losses = [values(self.model)], [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(values(self.model))

    def on_test_batch_end(self, batch, logs=None):
        self.validations.append(values(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(values(self.model))
        self.losses.append(logs["val_loss"])

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


def averages_of(steps):
    """The definition: steps has the weights before the first step, and after each; in float64."""
    average = {name: value.astype(np.float64) for name, value in steps[0].items()}
    for t, weights in enumerate(steps[1:]):
        decay = min(DECAY, (1 + t) / (10 + t))
        average = {name: average[name] + (1 - decay) * (weights[name] - average[name]) for name in average}
    return average


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.tobytes() == expected[name].tobytes(), name


@pytest.fixture
def trained(tiny, tmp_path):
    seen, model = Seen(), small()
    return kzoo.fit(model, tiny, RECIPE, seen, run_dir=tmp_path / "run", verbose=0), model, seen


def test_averages_are_those_of_the_definition(trained):
    run, model, seen = trained
    assert len(seen.steps) == 1 + 3 * STEPS
    for epoch in range(3):
        expected = averages_of(seen.steps[: 1 + (epoch + 1) * STEPS])
        assert_close(seen.epochs[epoch], expected)
        assert_equal(seen.validations[epoch], seen.epochs[epoch])
    assert_equal(values(model), seen.epochs[-1])
    assert_equal(values(run.load_model()), seen.epochs[-1])


def test_training_goes_on_with_the_weights_and_not_with_their_averages(trained, tiny, tmp_path):
    seen = Seen()
    kzoo.fit(small(), tiny, RECIPE.override(ema=0), seen, run_dir=tmp_path / "without", verbose=0)
    for mine, theirs in zip(trained[2].steps, seen.steps, strict=True):
        assert_equal(mine, theirs)


def test_metrics_are_those_of_the_averages(trained, tiny):
    run, model, seen = trained
    model.compile(
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), metrics=["accuracy"]
    )
    found = model.evaluate(kzoo.Batches(tiny.validation, 3, batch_size=12), verbose=0, return_dict=True)
    assert run.metrics["val_loss"] == pytest.approx(found["loss"], rel=1e-6)
    assert run.metrics["val_loss"] == pytest.approx(seen.losses[-1], rel=1e-6)
    assert run.metrics["test_accuracy"] == kzoo.evaluate(model, tiny.test).accuracy
    assert run.metrics["best_epoch"] == 3


def test_early_stopping_keeps_the_best_averages(tiny, tmp_path):
    seen, model = Seen(), small()
    recipe = RECIPE.override(epochs=8, patience=1, min_delta=0.5, learning_rate=0.01)
    run = kzoo.fit(model, tiny, recipe, seen, run_dir=tmp_path / "run", verbose=0)
    assert run.metrics["stopped_early"]
    assert_equal(values(run.load_model()), seen.epochs[run.metrics["best_epoch"] - 1])


def content(run):
    history = [{name: value for name, value in row.items() if name != "seconds"} for row in run.history]
    metrics = {name: value for name, value in run.metrics.items() if "second" not in name}
    return history, metrics, {name: value.tobytes() for name, value in values(run.load_model()).items()}


@pytest.mark.parametrize(
    ("method", "epoch", "batch"),
    [("on_train_batch_end", 0, 1), ("on_train_batch_end", 1, STEPS - 1), ("on_test_batch_end", 1, 0)],
)
def test_training_with_averages_goes_on_to_the_same_bytes(tiny, tmp_path, monkeypatch, trained, method, epoch, batch):
    original = getattr(Session, method)

    def ends(self, number, logs=None):
        if (self.epoch, self._first + number) == (epoch, batch):
            self.keeper.asked = signal.SIGINT
        original(self, number, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Session, method, ends)
        with pytest.raises(TrainingInterrupted):
            kzoo.fit(small(), tiny, RECIPE, Seen(), run_dir=tmp_path / "left", verbose=0)
    state = newest_state(tmp_path / "left" / "checkpoints")
    step = state.numbers["step"]
    of_model, averages = (
        [array for name, array in state.arrays.items() if name.startswith(kind) and array.dtype.kind == "f"]
        for kind in ("model/", "average/")
    )
    for found, expected in zip(of_model, trained[2].steps[step].values(), strict=True):
        assert found.tobytes() == expected.tobytes()
    for found, expected in zip(averages, averages_of(trained[2].steps[: step + 1]).values(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    run = kzoo.fit(small(), tiny, RECIPE, Seen(), run_dir=tmp_path / "left", verbose=0, resume=True)
    assert content(run) == content(trained[0])
    again = kzoo.fit(small(), tiny, RECIPE, Seen(), run_dir=tmp_path / "left", verbose=0, resume=True)
    assert content(again) == content(trained[0])


def test_training_does_not_go_on_without_its_averages(tiny, tmp_path):
    kzoo.fit(small(), tiny, RECIPE, run_dir=tmp_path / "run", verbose=0)
    with pytest.raises(ValueError, match="must go on as it began. Received:\n  recipe.ema: 0.9, now None"):
        kzoo.fit(small(), tiny, RECIPE.override(ema=0), run_dir=tmp_path / "run", verbose=0, resume=True)


def test_state_without_averages_is_told(tiny):
    model = small()
    model.compile(kzoo.SGD())
    averages = averaging.Averages(model, DECAY)
    with pytest.raises(ValueError, match="must have the average weights of the model. Received: '.*' of shape None"):
        averages.set({})


def test_exchange_loses_no_bit():
    model = small()
    model.compile(kzoo.SGD())
    kernel = model.get_layer("conv").kernel
    odd = np.random.RandomState(0).standard_normal(kernel.shape).astype(np.float32)
    odd.flat[:4] = [-0.0, 1e-42, np.inf, np.nan]
    averages = averaging.Averages(model, DECAY)
    before = values(model)
    kernel.assign(odd)
    averages.put_in()
    averages.put_in()
    assert_equal(values(model), before)
    averages.take_out()
    assert keras.ops.convert_to_numpy(kernel).tobytes() == odd.tobytes()


def test_divergence_leaves_the_averages_of_the_last_checkpoint(tiny, tmp_path, monkeypatch):
    def check(loss, step, what):
        if step == 2 * STEPS:
            raise DivergenceError(f"{what} is nan", step)

    recorded = {}
    original = Session.capture

    def capture(self):
        state = original(self)
        recorded[state.numbers["step"]] = {name: array.copy() for name, array in state.arrays.items()}
        return state

    monkeypatch.setattr(Session, "capture", capture)
    monkeypatch.setattr("kzoo.training.session.check_loss", check)
    with pytest.raises(DivergenceError, match="The weights of step 3 are in"):
        kzoo.fit(small(), tiny, RECIPE, run_dir=tmp_path / "run", verbose=0, checkpoint_every=STEPS)
    found = values(kzoo.Run(tmp_path / "run").load_model())
    expected = {name.removeprefix("average/"): array for name, array in recorded[3].items() if "average/" in name}
    for one, other in zip(found.values(), expected.values(), strict=True):
        assert one.tobytes() == other.tobytes()


class Moved(keras.callbacks.Callback):
    """Keeps what the weights are before each step, with the batch statistics, and right after it."""

    def on_train_begin(self, logs=None):
        self.before, self.after = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.before.append(values(self.model))

    def on_train_batch_end(self, batch, logs=None):
        self.after.append(values(self.model))


def test_lookahead_goes_back_part_of_the_way(tiny, tmp_path):
    moved, model = Moved(), small()
    trainable = [one.path for one in model.trainable_variables]
    kzoo.fit(model, tiny, LOOKAHEAD, moved, run_dir=tmp_path / "run", verbose=0)
    floats = [one.path for one in model.variables if "float" in one.dtype]
    slow, following = moved.before[0], [*moved.before[1:], values(model)]
    for step, (fast, then) in enumerate(zip(moved.after, following, strict=True), start=1):
        if step % 2:
            assert_equal(then, fast)
            continue
        slow = {name: slow[name] + 0.25 * (fast[name] - slow[name]) for name in slow}
        for (name, value), path in zip(then.items(), floats, strict=True):
            if path in trainable:
                np.testing.assert_allclose(value, slow[name], rtol=1e-5, atol=1e-6, err_msg=path)
            else:
                assert value.tobytes() == fast[name].tobytes(), path
        slow = then


@pytest.mark.parametrize("step", [1, 2, 3])
def test_training_with_lookahead_and_averages_goes_on_to_the_same_bytes(tiny, tmp_path, monkeypatch, step):
    recipe = LOOKAHEAD.override(ema=DECAY, epochs=2)
    expected = content(kzoo.fit(small(), tiny, recipe, run_dir=tmp_path / "whole", verbose=0))
    original = Session.on_train_batch_end

    def ends(self, batch, logs=None):
        if self.epoch * STEPS + self._first + batch + 1 == step:
            self.keeper.asked = signal.SIGINT
        original(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "on_train_batch_end", ends)
        with pytest.raises(TrainingInterrupted):
            kzoo.fit(small(), tiny, recipe, run_dir=tmp_path / "left", verbose=0)
    assert content(kzoo.fit(small(), tiny, recipe, run_dir=tmp_path / "left", verbose=0, resume=True)) == expected


def test_steps_that_only_accumulate_do_not_count(tiny):
    model = small()
    model.compile(kzoo.SGD(gradient_accumulation_steps=2))
    averages = averaging.Averages(model, DECAY)
    start = values(model)
    model.get_layer("conv").kernel.assign_add(keras.ops.ones((3, 3, 3, 8)))
    averages.after_step(1)
    averages.after_step(2)
    averages.put_in()
    np.testing.assert_allclose(values(model)["0/kernel"], start["0/kernel"] + 0.9, rtol=1e-6)


@pytest.mark.parametrize("form", [ops.move_averages, generic.move_averages], ids=["fast", "definition"])
def test_averages_move_by_a_share_of_the_way_and_stay_where_they_are_equal(form):
    random = np.random.RandomState(0)
    start, end = ([random.standard_normal(shape).astype(np.float32) for shape in ((2, 3), (4,))] for _ in range(2))
    end[1] = start[1]
    averages = [keras.Variable(array, trainable=False) for array in start]
    form(averages, [keras.ops.convert_to_tensor(array) for array in end], 0.125)
    found = [keras.ops.convert_to_numpy(average) for average in averages]
    np.testing.assert_allclose(found[0], 0.875 * start[0].astype(np.float64) + 0.125 * end[0], rtol=1e-5, atol=1e-6)
    assert found[1].tobytes() == start[1].tobytes()


def test_backup_of_keras_would_keep_the_averages(tiny, tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(ValueError, match="With `ema` .* go on from kzoo's checkpoints.*Received: BackupAndRestore"):
        kzoo.fit(small(), tiny, RECIPE, backup, run_dir=tmp_path / "run", verbose=0)
