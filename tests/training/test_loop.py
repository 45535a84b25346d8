import json
import time
import warnings

import keras
import numpy as np
import pytest

import kzoo
from kzoo.training.loop import training_batches

QUICK = kzoo.recipe("default").override(epochs=4, batch_size=16, learning_rate=0.05, patience=2)


def test_fit_leaves_a_run_directory(tiny, small_model, tmp_path):
    run = kzoo.fit(small_model, tiny, QUICK, run_dir=tmp_path / "run", verbose=0)
    names = {path.name for path in run.directory.iterdir()}
    expected = {"config.json", "environment.json", "history.csv", "history.png", "metrics.json", "model.weights.h5"}
    expected |= {"checkpoints", "status.json", ".lock"}
    assert names == expected
    keys = "model data backend seed epochs_run best_epoch stopped_early val_loss val_accuracy test_loss test_accuracy"
    assert set(run.metrics) == {*keys.split(), "train_seconds", "images_per_second"}
    assert run.metrics["backend"] == keras.backend.backend()
    assert len(run.history) == run.metrics["epochs_run"]
    environment = json.loads((run.directory / "environment.json").read_text())
    assert environment["versions"]["keras"] == keras.__version__
    assert environment["acceleration"].keys() == {one["name"] for one in kzoo.acceleration_report()}


def test_fit_learns(tiny, small_model, tmp_path):
    run = kzoo.fit(small_model, tiny, QUICK.override(epochs=12, patience=0), run_dir=tmp_path / "run", verbose=0)
    assert run.metrics["test_accuracy"] == 1.0


def test_fit_sees_probabilities_wherever_the_softmax_is(tiny, small_model, tmp_path):
    probabilities = keras.layers.Softmax()(small_model.output)
    model = keras.Model(small_model.input, keras.layers.Reshape((tiny.classes,))(probabilities))
    run = kzoo.fit(model, tiny, QUICK.override(epochs=1, patience=0), run_dir=tmp_path / "run", verbose=0)
    assert model.loss.from_logits is False
    answers = model.predict(tiny.test.images, verbose=0)
    expected = -np.log(answers[np.arange(len(answers)), tiny.test.labels]).mean()
    assert run.metrics["test_loss"] == pytest.approx(expected, rel=1e-4)


def test_run_is_evaluated_again_to_the_same_numbers(tiny, small_model, tmp_path):
    run = kzoo.fit(small_model, tiny, QUICK, run_dir=tmp_path / "run", verbose=0)
    again = kzoo.evaluate_saved(tmp_path / "run", dataset=tiny)
    assert again.loss == pytest.approx(run.metrics["test_loss"], rel=1e-5)
    assert again.accuracy == run.metrics["test_accuracy"]


def test_run_restores_the_best_epoch(tiny, small_model, tmp_path):
    run = kzoo.fit(small_model, tiny, QUICK.override(min_delta=0.0, epochs=6), run_dir=tmp_path / "run", verbose=0)
    losses = [row["val_loss"] for row in run.history]
    assert run.metrics["best_epoch"] == int(np.argmin(losses)) + 1
    assert run.metrics["val_loss"] == pytest.approx(min(losses), rel=1e-4)


def test_fit_is_repeatable(tiny, tmp_path):
    weights = []
    for name in ("a", "b"):
        model = kzoo.resnet(8, input_shape=(8, 8, 3), classes=3, dropout=0.2)
        kzoo.fit(model, tiny, QUICK.override(epochs=2, patience=0), run_dir=tmp_path / name, verbose=0)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_fit_takes_any_keras_model(tiny, tmp_path):
    layers = [keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(3, activation="softmax")], name="dense")
    run = kzoo.fit(model, tiny, QUICK, run_dir=tmp_path / "run", verbose=0)
    assert run.load_model().name == "dense"


def test_fit_trains_on_the_batches_of_each_epoch_in_order(tiny, small_model, tmp_path, monkeypatch):
    asked = []
    batch = kzoo.Batches.batch

    def spy(self, epoch, index):
        if self.shuffle:
            asked.append((epoch, index))
        return batch(self, epoch, index)

    monkeypatch.setattr(kzoo.Batches, "batch", spy)
    kzoo.fit(small_model, tiny, QUICK.override(epochs=2, patience=0), run_dir=tmp_path / "run", verbose=0)
    trained = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert asked[-len(trained) :] == trained  # Keras may look at the first batches before it trains


def test_training_batches_are_those_of_the_recipe(tiny):
    changes = {"flip_mode": "alternate", "erase": 0.5, "erase_area": (0.1, 0.2), "erase_aspect": 0.5}
    changes |= {"erase_fill": "grey", "mixup": 0.2, "cutmix": 1.0, "mix_share": 0.5, "pad_mode": "constant"}
    batches = training_batches(tiny, QUICK.override(**changes), 7)
    assert batches.augmentation == kzoo.Augmentation(
        4, tiny.flip, "constant", "alternate", 0.5, (0.1, 0.2), 0.5, "grey"
    )
    assert batches.mixing == kzoo.Mixing(0.2, 1.0, 0.5)
    assert (batches.seed, batches.shuffle, batches.batch_size) == (7, True, QUICK.batch_size)


@pytest.mark.parametrize("changes", [{}, {"mix_share": 0.5}, {"mixup": 1.0, "mix_share": 0.0}])
def test_recipe_that_mixes_nothing_has_plain_batches(tiny, changes):
    assert training_batches(tiny, QUICK.override(**changes), 0).mixing is None


def test_fit_applies_the_recipes_schedule_each_step(tiny, small_model, tmp_path):
    run = kzoo.fit(small_model, tiny, QUICK.override(patience=0), run_dir=tmp_path / "run", verbose=0)
    rates = small_model.optimizer._learning_rate.rates
    assert len(rates) == 4 * 3
    np.testing.assert_allclose([row["learning_rate"] for row in run.history], rates[2::3], rtol=1e-6)
    assert int(small_model.optimizer.iterations) == len(rates)


def test_fit_measures_steps_until_they_are_computed(tmp_path):
    """JAX returns from a step before it is computed."""
    random = np.random.RandomState(0)
    images, labels = random.randint(0, 256, (192, 32, 32, 3), np.uint8), np.arange(192) % 3
    split, few = kzoo.Split(images, labels), kzoo.Split(images[:6], labels[:6])
    dataset = kzoo.Dataset("noise", ("a", "b", "c"), split, few, few, flip=True)
    model = kzoo.resnet(8, classes=3)
    recipe = QUICK.override(epochs=2, patience=0, batch_size=64)
    run = kzoo.fit(model, dataset, recipe, run_dir=tmp_path / "run", verbose=0)
    one_hot = np.eye(3, dtype=np.float32)[labels[:64]]
    model.train_on_batch(images[:64], one_hot)  # may compile
    started = time.perf_counter()
    for _ in range(3):
        float(model.train_on_batch(images[:64], one_hot)[0])
    assert run.history[-1]["seconds"] > 0.3 * (time.perf_counter() - started)


def test_run_directory_with_content_is_not_touched(tiny, small_model, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="new or empty directory. Received: .*, which has content"):
        kzoo.fit(small_model, tiny, QUICK, run_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_default_run_directory_is_a_new_one(tiny, small_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = QUICK.override(epochs=1, patience=0)
    names = [kzoo.fit(small_model, tiny, recipe, verbose=0).directory.name for _ in range(2)]
    assert names == [f"resnet8-tiny-{keras.backend.backend()}-seed0{end}" for end in ("", "-2")]


class Subclassed(keras.Model):
    """A model whose layers Keras does not know beforehand."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, images):
        return self.dense(keras.ops.reshape(images, (-1, 192)))


def with_inputs(*shapes):
    inputs = [keras.Input(shape) for shape in shapes]
    features = [keras.layers.Flatten()(tensor) for tensor in inputs]
    return keras.Model(
        inputs, keras.layers.Dense(3)(keras.layers.concatenate(features) if features[1:] else features[0])
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {"model": kzoo.resnet(8, input_shape=(8, 8, 3))}, "one output for each of the 3 classes of 'tiny'"),
        (
            lambda: {"model": kzoo.resnet(8, classes=3)},
            r"the model's input shape, \(32, 32, 3\). Received: \(8, 8, 3\)",
        ),
        (lambda: {"recipe": QUICK.override(precision="float64")}, r"call `kzoo.set_precision\('float64'\)` before"),
        (
            lambda: {"model": Subclassed()},
            "`model` must be a functional keras.Model, or a Sequential one with an Input",
        ),
        (lambda: {"model": keras.Sequential([keras.layers.Dense(3)])}, "`model` must be a functional keras.Model"),
        (lambda: {"model": "resnet20"}, "`model` must be a functional keras.Model.* Received: 'resnet20'"),
        (lambda: {"model": with_inputs((8, 8, 3), (8, 8, 3))}, "must have the model's input shape"),
        (lambda: {"model": with_inputs((192,))}, r"must have the model's input shape, \(192,\)"),
        (lambda: {"callbacks": [print]}, "must be instances of keras.callbacks.Callback. Received: <built-in"),
        (
            lambda: {"callbacks": keras.callbacks.History},
            "must be instances of keras.callbacks.Callback. Received: <class",
        ),
        (
            lambda: {"callbacks": keras.callbacks.ReduceLROnPlateau()},
            r"ReduceLROnPlateau cannot .*`override\(schedule='constant', warmup=0\)`. Received: schedule='linear'",
        ),
        (
            lambda: {
                "callbacks": [keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)],
                "recipe": QUICK.override(schedule="constant", warmup=0.5),
            },
            "LearningRateScheduler cannot set the learning rate",
        ),
        (lambda: {"verbose": 3}, "`verbose` must be one of"),
        (
            lambda: {"callbacks": [keras.callbacks.EarlyStopping("val_top1")]},
            "EarlyStopping must watch one of .* Received: monitor='val_top1'.",
        ),
    ],
)
def test_fit_says_what_was_expected(tiny, small_model, tmp_path, make, message):
    arguments = {"model": small_model, "recipe": QUICK, **make()}
    with pytest.raises(ValueError, match=message):
        kzoo.fit(dataset=tiny, run_dir=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_patience_that_cannot_act_is_a_warning(tiny, small_model, tmp_path):
    with pytest.warns(UserWarning, match="a patience of 3 cannot stop before the last of 4 epochs"):
        kzoo.fit(small_model, tiny, QUICK.override(patience=3), run_dir=tmp_path / "run", verbose=0)


def test_patience_that_nobody_asked_for_is_no_warning(tiny, small_model, tmp_path):
    recipe = kzoo.recipe("default").override(epochs=1, batch_size=16)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        kzoo.fit(small_model, tiny, recipe, run_dir=tmp_path / "run", verbose=0)


def test_patience_that_can_act_is_no_warning(tiny, small_model, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        kzoo.fit(small_model, tiny, QUICK, run_dir=tmp_path / "run", verbose=0)


class Script(keras.callbacks.Callback):
    """Replaces the validation loss by a scripted one, before EarlyStopping sees it."""

    def __init__(self, losses):
        super().__init__()
        self.losses = losses

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.losses[epoch]


LOSSES = [1.0, 0.9, 0.895, 0.89, 0.85, 0.849, 0.848, 0.847, 0.5, 0.6, 0.6, 0.6]


@pytest.mark.parametrize(
    ("patience", "min_delta", "stopped", "best"),
    [
        (1, 0.01, 3, 2),  # 0.895 is no improvement of more than 0.01 on 0.9
        (2, 0.01, 4, 2),
        (2, 0.0, 11, 9),
        (3, 0.01, 8, 5),
        (3, 0.0, 12, 9),
        (4, 0.01, 12, 9),
        (1, 0.2, 2, 1),
    ],
)
def test_early_stopping_stops_at_the_scripted_epoch(tiny, small_model, tmp_path, patience, min_delta, stopped, best):
    recipe = QUICK.override(epochs=len(LOSSES), batch_size=48, patience=patience, min_delta=min_delta)
    run = kzoo.fit(small_model, tiny, recipe, [Script(LOSSES)], run_dir=tmp_path / "run", verbose=0)
    assert (run.metrics["epochs_run"], run.metrics["best_epoch"]) == (stopped, best)
    assert run.metrics["stopped_early"] == (stopped < len(LOSSES))


class Log(keras.callbacks.Callback):
    """Adds what each epoch is told to log."""

    def __init__(self, *logs):
        super().__init__()
        self.logs = logs

    def on_epoch_end(self, epoch, logs=None):
        logs.update(self.logs[epoch])


def test_history_takes_what_callbacks_log_later(tiny, small_model, tmp_path):
    number = keras.ops.convert_to_tensor(2.5)
    log = Log({}, {"extra": 1, "epoch": 99}, {"other": number}, {"extra": np.float32(0.5), "other": np.array([3])})
    run = kzoo.fit(small_model, tiny, QUICK.override(patience=0), log, run_dir=tmp_path / "run", verbose=0)
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4]
    assert [row.get("extra") for row in run.history] == [None, 1, None, 0.5]
    assert [row.get("other") for row in run.history] == [None, None, 2.5, 3]


def test_history_leaves_out_what_is_no_number(tiny, small_model, tmp_path):
    log = Log({"note": "good"}, {"note": "bad", "both": [1, 2]}, {"note": None}, {})
    with pytest.warns(UserWarning, match="no column for what is no number: (note|both)") as warned:
        run = kzoo.fit(small_model, tiny, QUICK.override(patience=0), [log], run_dir=tmp_path / "run", verbose=0)
    assert [warning.category for warning in warned].count(UserWarning) == 2
    assert len(run.history) == 4
    assert not any({"note", "both"} & row.keys() for row in run.history)


@pytest.mark.parametrize(("restore", "best"), [(True, 2), (False, 4)])
def test_best_epoch_is_that_of_the_weights_with_ones_own_early_stopping(tiny, small_model, tmp_path, restore, best):
    stopping = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=restore)
    recipe = QUICK.override(epochs=8, patience=0)
    callbacks = [Script([1.0, 0.9, 0.95, 0.96, 0.5, 0.5, 0.5, 0.5]), stopping]
    run = kzoo.fit(small_model, tiny, recipe, callbacks, run_dir=tmp_path / "run", verbose=0)
    metrics = run.metrics
    assert (metrics["epochs_run"], metrics["best_epoch"], metrics["stopped_early"]) == (4, best, True)


class Stop(keras.callbacks.Callback):
    """Stops after a step, and may leave other weights."""

    def __init__(self, epoch, step, change=False):
        super().__init__()
        self.at, self.change = (epoch, step), change

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = (self.epoch, batch) == self.at

    def on_train_end(self, logs=None):
        if self.change:
            self.model.set_weights([weight * 0 + 1 for weight in self.model.get_weights()])


@pytest.mark.parametrize(("stop", "run", "stopped"), [((1, 2), 2, True), ((3, 0), 4, True), ((3, 2), 4, False)])
def test_metrics_know_of_any_stop(tiny, small_model, tmp_path, stop, run, stopped):
    done = kzoo.fit(small_model, tiny, QUICK.override(patience=0), Stop(*stop), run_dir=tmp_path / "run", verbose=0)
    metrics = done.metrics
    assert (metrics["epochs_run"], metrics["best_epoch"], metrics["stopped_early"]) == (run, run, stopped)


def test_weights_of_no_epoch_are_told(tiny, small_model, tmp_path):
    callback = Stop(9, 9, change=True)
    run = kzoo.fit(small_model, tiny, QUICK.override(patience=0), callback, run_dir=tmp_path / "run", verbose=0)
    assert run.metrics["best_epoch"] is None


def test_metrics_of_a_training_that_went_on(tiny, tmp_path):
    def model():
        return kzoo.resnet(8, input_shape=(8, 8, 3), classes=3)

    class Crash(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("power cut")

    recipe, backup = QUICK.override(patience=0), str(tmp_path / "backup")
    callbacks = [keras.callbacks.BackupAndRestore(backup), Crash()]
    with pytest.raises(RuntimeError, match="power cut"):
        kzoo.fit(model(), tiny, recipe, callbacks, run_dir=tmp_path / "first", verbose=0)
    run = kzoo.fit(
        model(), tiny, recipe, keras.callbacks.BackupAndRestore(backup), run_dir=tmp_path / "second", verbose=0
    )
    assert [row["epoch"] for row in run.history] == [3, 4]
    metrics = run.metrics
    assert (metrics["epochs_run"], metrics["best_epoch"], metrics["stopped_early"]) == (4, 4, False)


def test_run_records_the_normalization_that_the_model_has(tiny, small_model, tmp_path):
    recipe = QUICK.override(epochs=1, patience=0)
    options = {"run_dir": tmp_path / "a", "verbose": 0}
    config = kzoo.fit(small_model, tiny, recipe, **options).config
    assert config["recipe"]["pixel_statistics"] is None
    assert config["model"]["pixel_normalization"]["mean"] == [0.4914, 0.4822, 0.4465]
    for name in ("dataset", "imagenet"):
        kzoo.set_pixel_statistics(small_model, tiny, recipe.override(pixel_statistics=name))
        config = kzoo.fit(small_model, tiny, recipe, run_dir=tmp_path / name, verbose=0).config
        assert config["recipe"]["pixel_statistics"] == name
    inputs = keras.Input((8, 8, 3))
    within = keras.Model(inputs, small_model(inputs))
    config = kzoo.fit(within, tiny, recipe, run_dir=tmp_path / "within", verbose=0).config
    assert config["recipe"]["pixel_statistics"] == "imagenet"


def test_run_records_that_a_model_has_no_normalization(tiny, tmp_path):
    model = with_inputs((8, 8, 3))
    config = kzoo.fit(model, tiny, QUICK.override(epochs=1, patience=0), run_dir=tmp_path / "run", verbose=0).config
    assert (config["model"]["pixel_normalization"], config["recipe"]["pixel_statistics"]) == (None, None)


def test_compiled_optimizer_is_not_replaced_in_silence(tiny, small_model, tmp_path):
    small_model.compile("adam", "mse")
    recipe = QUICK.override(epochs=1, patience=0)
    with pytest.warns(UserWarning, match="comes compiled with Adam: `kzoo.fit` replaces optimizer, loss and metrics"):
        kzoo.fit(small_model, tiny, recipe, run_dir=tmp_path / "a", verbose=0)
    kzoo.fit(small_model, tiny, recipe, run_dir=tmp_path / "b", verbose=0)  # its own needs no warning


def test_callbacks_set_a_constant_rate(tiny, small_model, tmp_path):
    recipe = QUICK.override(schedule="constant", warmup=0, patience=0)
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: [0.05, 0.02, 0.04, 0.01][epoch])
    run = kzoo.fit(small_model, tiny, recipe, scheduler, run_dir=tmp_path / "a", verbose=0)
    assert [row["learning_rate"] for row in run.history] == [0.05, 0.02, 0.04, 0.01]
    plateau = keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5, min_delta=10)
    run = kzoo.fit(small_model, tiny, recipe, [plateau], run_dir=tmp_path / "b", verbose=0)
    assert [row["learning_rate"] for row in run.history] == [0.05, 0.05, 0.025, 0.0125]


def test_constant_rate_is_that_of_a_schedule_to_the_bit(tiny, tmp_path):
    weights = []
    for name in ("constant", "step"):
        model = kzoo.resnet(8, input_shape=(8, 8, 3), classes=3)
        recipe = QUICK.override(epochs=1, patience=0, schedule=name, warmup=0)
        kzoo.fit(model, tiny, recipe, run_dir=tmp_path / name, verbose=0)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_run_records_the_arguments_of_the_model(tiny, tmp_path):
    recipe = QUICK.override(epochs=1, patience=0)
    run = kzoo.train("resnet8", tiny, recipe, run_dir=tmp_path / "run", verbose=0, dropout=0.1)
    assert run.config["model"]["arguments"] == {"dropout": 0.1}
