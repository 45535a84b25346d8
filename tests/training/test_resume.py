"""A training that was left goes on to the same bytes."""

import dataclasses
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import kzoo
from kzoo import environment
from kzoo.data import Batches
from kzoo.errors import DivergenceError, OutOfMemoryError, TrainingInterrupted
from kzoo.training import session as session_module
from kzoo.training.checkpoint import checkpoints, newest_state, read_checkpoint, write_checkpoint
from kzoo.training.divergence import _first_with_bad_output
from kzoo.training.keeper import Interval, Keeper
from kzoo.training.listing import list_runs
from kzoo.training.lock import command_to_go_on, is_locked, locked
from kzoo.training.memory import is_out_of_memory, reason_of
from kzoo.training.opening import check_begins, check_same, training_fingerprint
from kzoo.training.session import Session
from kzoo.training.state import TrainState

RECIPE = kzoo.recipe("default").override(epochs=4, batch_size=16, patience=2, learning_rate=0.05)
PER_EPOCH = 7


def noise(seed=0, labels=3):
    random = np.random.RandomState(seed)
    train, other = (
        kzoo.Split(random.randint(0, 256, (count, 8, 8, 3)).astype(np.uint8), np.arange(count) % labels)
        for count in (112, 24)
    )
    return kzoo.Dataset("noise", ("a", "b", "c"), train, other, other, flip=True)


@pytest.fixture(scope="module")
def data():
    return noise()


def small():
    """Returns a model with batch statistics and masks, which JAX compiles in little time."""
    inputs = keras.Input((8, 8, 3), name="images")
    conv, dense = (kzoo.initializers.HeNormal(seed=1, path=path) for path in ("conv", "dense"))
    x = keras.layers.Rescaling(1 / 255, name="scale")(inputs)
    x = kzoo.layers.BatchNorm(name="norm")(kzoo.layers.Conv2D(8, kernel_initializer=conv, name="conv")(x))
    x = kzoo.layers.Dropout(0.2, name="dropout")(keras.layers.GlobalMaxPooling2D(name="max")(x))
    return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer=dense, name="dense")(x), name="small")


def go(data, path, recipe=RECIPE, callbacks=(), *, model=None, **options):
    return kzoo.fit(model or small(), data, recipe, callbacks, run_dir=path, verbose=0, **options)


def content(run):
    """All that a training leaves but times."""
    weights = hashlib.sha256()
    with h5py.File(run.weights_path) as file:
        file.visititems(
            lambda name, item: weights.update(name.encode() + item[()].tobytes()) if hasattr(item, "dtype") else None
        )
    history = [{name: value for name, value in row.items() if name != "seconds"} for row in run.history]
    metrics = {name: value for name, value in run.metrics.items() if "second" not in name}
    return weights.hexdigest(), history, metrics


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    return content(go(data, tmp_path_factory.mktemp("runs") / "run"))


def stop_at(monkeypatch, method, when):
    """Lets a signal come at the end of the step, of training or of validation, of which `when` says so."""
    original = getattr(Session, method)

    def ends(self, batch, logs=None):
        if when(self, self._first + batch):
            self.keeper.asked = signal.SIGINT
        original(self, batch, logs)

    monkeypatch.setattr(session_module.Session, method, ends)


@pytest.mark.parametrize("steps", [[1], [3, 4, 5], [PER_EPOCH], [PER_EPOCH + 1, 2 * PER_EPOCH, 3 * PER_EPOCH + 6]])
def test_training_goes_on_from_any_step(data, tmp_path, monkeypatch, undisturbed, steps):
    for step in steps:
        with monkeypatch.context() as patch:
            stop_at(patch, "on_train_batch_end", lambda s, batch, step=step: s.epoch * PER_EPOCH + batch + 1 == step)
            with pytest.raises(TrainingInterrupted, match="A checkpoint was written. To go on: ") as caught:
                go(data, tmp_path / "run", resume=True)
            assert caught.value.signal == signal.SIGINT
    assert content(go(data, tmp_path / "run", resume=True)) == undisturbed


def test_training_on_erased_and_mixed_images_goes_on(data, tmp_path, monkeypatch):
    recipe = RECIPE.override(epochs=2, patience=0, flip_mode="alternate", erase=0.5, mixup=0.2, cutmix=1.0)
    expected = content(go(data, tmp_path / "whole", recipe))
    with monkeypatch.context() as patch:
        stop_at(patch, "on_train_batch_end", lambda session, batch: (session.epoch, batch) == (1, 2))
        with pytest.raises(TrainingInterrupted):
            go(data, tmp_path / "left", recipe)
    assert content(go(data, tmp_path / "left", recipe, resume=True)) == expected


@pytest.mark.parametrize("epoch", [0, 2])
def test_training_goes_on_within_a_validation(data, tmp_path, monkeypatch, undisturbed, epoch):
    with monkeypatch.context() as patch:
        stop_at(patch, "on_test_batch_end", lambda session, batch: session.epoch == epoch)
        with pytest.raises(TrainingInterrupted):
            go(data, tmp_path / "run")
    assert content(go(data, tmp_path / "run", resume=True)) == undisturbed
    monkeypatch.setattr("kzoo.training.keeper.write_checkpoint", lambda *_: pytest.fail("the only one is replaced"))
    assert content(go(data, tmp_path / "run", resume=True)) == undisturbed  # of one that is done


def test_line_of_an_epoch_is_shown_that_was_left_within_its_validation(data, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_at(patch, "on_test_batch_end", lambda session, batch: session.epoch == 0)
        with pytest.raises(TrainingInterrupted):
            go(data, tmp_path / "run")
    kzoo.fit(small(), data, RECIPE, run_dir=tmp_path / "run", verbose=2, resume=True)
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()][:2] == ["epoch 1/4", "epoch 2/4"]


def test_run_of_an_older_kzoo_goes_on(data, tmp_path, monkeypatch, undisturbed):
    with monkeypatch.context() as patch:
        stop_at(patch, "on_train_batch_end", lambda session, batch: batch == 3)
        with pytest.raises(TrainingInterrupted):
            go(data, tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    del config["model"]["construction"]
    config["model"]["architecture"]["config"]["layers"][-1]["inbound_nodes"][0]["kwargs"].pop("mask", None)
    path.write_text(json.dumps(config))
    state = newest_state(tmp_path / "run" / "checkpoints")
    state.numbers["training"] = training_fingerprint(config)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    write_checkpoint(tmp_path / "run" / "checkpoints", state)
    for _ in range(2):
        assert content(go(data, tmp_path / "run", resume=True)) == undisturbed
    assert json.loads(path.read_text()) == config


def test_the_same_model_goes_on(data, tmp_path, monkeypatch, undisturbed):
    model = small()
    for stop, epoch in (("on_test_batch_end", 1), ("on_train_batch_end", 2)):
        with monkeypatch.context() as patch:
            stop_at(patch, stop, lambda session, batch, epoch=epoch: session.epoch == epoch and batch == 0)
            with pytest.raises(TrainingInterrupted):
                go(data, tmp_path / "run", model=model, resume=True)
    assert content(go(data, tmp_path / "run", model=model, resume=True)) == undisturbed


def test_training_goes_on_after_what_follows_it_failed(data, tmp_path, monkeypatch, undisturbed):
    with monkeypatch.context() as patch:
        patch.setattr("kzoo.training.finishing.evaluate", lambda *_, **__: pytest.fail("the test split cannot be read"))
        with pytest.raises(pytest.fail.Exception):
            go(data, tmp_path / "run")
    assert (tmp_path / "run" / "model.weights.h5").exists()  # they are safe first
    assert content(go(data, tmp_path / "run", resume=True)) == undisturbed


class Counting(keras.callbacks.Callback):
    """Has a state of its own, with arrays."""

    def __init__(self):
        super().__init__()
        self.steps, self.sums = [], [np.zeros(2)]

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(batch)
        self.sums[0] += batch

    def on_epoch_begin(self, epoch, logs=None):
        self.steps.append(f"epoch {epoch}")

    def get_state(self):
        return {"steps": self.steps, "sums": self.sums, "alone": np.array(7)}

    def set_state(self, state):
        self.steps, self.sums = state["steps"], state["sums"]
        assert state["alone"] == 7


class Forgetful(keras.callbacks.Callback):
    pass


def test_callbacks_go_on_too(data, tmp_path, monkeypatch):
    constant = RECIPE.override(schedule="constant", warmup=0.0)
    callbacks = lambda: [  # noqa: E731
        Counting(),
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1.0),
        keras.callbacks.EarlyStopping("loss", patience=2, restore_best_weights=False),
        keras.callbacks.ModelCheckpoint(str(tmp_path / "best.weights.h5"), save_weights_only=True, save_freq=3),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.9 * rate),  # once an epoch
    ]
    left, whole = callbacks(), callbacks()
    expected = content(go(data, tmp_path / "whole", constant, whole))
    with monkeypatch.context() as patch:
        stop_at(patch, "on_train_batch_end", lambda session, batch: (session.epoch, batch) == (2, 3))
        with pytest.raises(TrainingInterrupted):
            go(data, tmp_path / "left", constant, left)
    left = callbacks()
    assert content(go(data, tmp_path / "left", constant, left, resume=True)) == expected
    assert left[0].steps == whole[0].steps
    np.testing.assert_array_equal(left[0].sums, whole[0].sums)
    for mine, theirs in zip(left[1:4], whole[1:4], strict=True):
        plain = {name: value for name, value in vars(theirs).items() if isinstance(value, int | float | type(None))}
        assert {name: vars(mine)[name] for name in plain} == plain


def test_callback_that_cannot_go_on_is_named(data, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, "on_train_batch_end", lambda session, batch: True)
        with pytest.raises(TrainingInterrupted):
            go(data, tmp_path / "run", callbacks=Forgetful())
    with pytest.raises(ValueError, match="goes on with the callbacks it had, .*'Forgetful'.*Received: .*'Clock', 'Ear"):
        go(data, tmp_path / "run", resume=True)
    with pytest.warns(UserWarning, match="Forgetful begins anew: it has no `get_state` and `set_state`"):
        go(data, tmp_path / "run", callbacks=Forgetful(), resume=True)


def test_backup_of_keras_is_no_second_place_to_go_on_from(data, tmp_path):
    with pytest.raises(ValueError, match="must go on from one place.*Received: BackupAndRestore, which goes on from a"):
        go(data, tmp_path / "run", callbacks=keras.callbacks.BackupAndRestore(tmp_path / "backup"), resume=True)


@pytest.mark.parametrize("left", ["metrics.json", "checkpoints/step-0000000003"])
def test_run_without_a_whole_checkpoint_does_not_begin_anew(tmp_path, left):
    run = kzoo.Run.create(tmp_path / "run", {})
    check_begins(run, None)
    (run.directory / left).mkdir(parents=True)
    check_begins(run, TrainState({}, {}))
    with pytest.raises(ValueError, match="run must have a whole checkpoint to go on from. Received: none. A training"):
        check_begins(run, None)


def test_difference_deep_in_a_model_is_told_in_a_line(tmp_path):
    config = {
        "model": {"name": "a", "architecture": {"layers": [{"name": "one"}, {"name": "x" * 200}]}},
        "data": {"name": "b", "source": None, "class_names": ["c"]},
        "recipe": {"precision": "float32", "epochs": 1},
        "seed": 0,
    }
    run = kzoo.Run.create(tmp_path / "run", config)
    other = json.loads(json.dumps(config).replace("one", "two").replace("xxx", "yyy"))
    with pytest.raises(
        ValueError, match="Received:\n  .*layers.0.name: 'one', now 'two'\n.*1.name: 'x{76}..., now 'y"
    ) as caught:
        check_same(run, other)
    other["data"]["class_names"] = list("abcdefghijkl")
    with pytest.raises(ValueError, match="\n  and 4 more$"):
        check_same(run, other)
    assert max(map(len, str(caught.value).splitlines())) < 250


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": RECIPE.override(learning_rate=0.1)}, "recipe.learning_rate: 0.05, now 0.1"),
        ({"recipe": RECIPE.override(epochs=5)}, "recipe.epochs: 4, now 5"),
        ({"seed": 3}, "seed: 0, now 3"),
        ({"data": noise(seed=1)}, "data.fingerprint.pixels: '.*', now '.*'$"),
        ({"data": noise(labels=2)}, "data.fingerprint.labels: '.*', now '.*'$"),
    ],
)
def test_another_training_is_refused(data, tmp_path, change, message):
    go(data, tmp_path / "run", recipe=RECIPE)
    with pytest.raises(ValueError, match=f"must go on as it began. Received:\n  {message}"):
        go(**{"data": data, "path": tmp_path / "run", "resume": True, **change})


def test_another_backend_is_told_of(data, tmp_path):
    run = go(data, tmp_path / "run", RECIPE.override(epochs=1, patience=0))
    about = json.loads((run.directory / "environment.json").read_text()) | {"backend": "another"}
    (run.directory / "environment.json").write_text(json.dumps(about))
    with pytest.warns(UserWarning, match="began on another and goes on on .*: to the same result within rounding, not"):
        go(data, tmp_path / "run", RECIPE.override(epochs=1, patience=0), resume=True)


def test_states_of_another_training_are_refused(data, tmp_path):
    go(data, tmp_path / "run")
    go(data, tmp_path / "other", RECIPE.override(learning_rate=0.1))
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "other" / "checkpoints").rename(tmp_path / "run" / "checkpoints")
    with pytest.raises(ValueError, match="checkpoints must hold states of this training. Received: those of another."):
        go(data, tmp_path / "run", resume=True)


def test_other_versions_are_refused(data, tmp_path):
    run = go(data, tmp_path / "run")
    about = json.loads((run.directory / "environment.json").read_text())
    about["versions"]["keras"] = "3.0.0"
    (run.directory / "environment.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=f"version of keras: '3.0.0', now '{keras.__version__}'"):
        go(data, tmp_path / "run", resume=True)


def test_training_with_a_constant_rate_is_made_longer(data, tmp_path):
    constant = RECIPE.override(schedule="constant", warmup=0.0, patience=0)
    expected = content(go(data, tmp_path / "long", constant))
    go(data, tmp_path / "run", constant.override(epochs=2))
    assert content(go(data, tmp_path / "run", constant, resume=True)) == expected


def test_longer_training_is_not_done_before_its_end(data, tmp_path, monkeypatch):
    constant = RECIPE.override(schedule="constant", warmup=0.0, patience=0)
    go(data, tmp_path / "run", constant.override(epochs=2))
    stop_at(monkeypatch, "on_train_batch_end", lambda session, batch: session.epoch == 2)
    with pytest.raises(TrainingInterrupted):
        go(data, tmp_path / "run", constant, resume=True)
    assert [one.state for one in list_runs([tmp_path])] == ["interrupted"]


def test_training_that_is_done_says_so_and_stays(data, tmp_path, capsys):
    short = RECIPE.override(epochs=1, patience=0)
    expected = content(go(data, tmp_path / "run", short))
    assert content(kzoo.fit(small(), data, short, run_dir=tmp_path / "run", resume=True)) == expected
    assert f"{tmp_path / 'run'} was done already.\n" in capsys.readouterr().out


def test_resume_needs_a_run(data):
    with pytest.raises(ValueError, match=r"`resume` needs a run to go on with, `run_dir` \(--run\). Received: none"):
        go(data, None, resume=True)


def test_run_of_another_process_is_refused(data, tmp_path):
    code = "import sys; from pathlib import Path; from kzoo.training.lock import *\n"
    code += "with locked(Path(sys.argv[1])):\n write_status(Path(sys.argv[1])); print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(FileExistsError, match=f"must be of one training. Received: process {other.pid} on .* has"):
            go(data, tmp_path / "run")
        other.communicate("\n")
    go(data, tmp_path / "run", resume=True)


def test_two_processes_do_not_make_one_run(tmp_path):
    made, errors, begin = [], [], threading.Barrier(8)

    def make():
        begin.wait()
        try:
            made.append(kzoo.Run.create(tmp_path / "run", {"model": {}}))
        except FileExistsError as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(errors)) == (1, 7)


@pytest.mark.parametrize("value", ["60s", "0.5s", 50, "50"])
def test_interval_is_seconds_or_steps(value):
    interval = Interval.parse(value)
    assert (interval.seconds, interval.steps) == ((float(value[:-1]), None) if "s" in str(value) else (None, 50))


@pytest.mark.parametrize("value", ["", "s", "0s", 0, -1, "1.5", "1m", "60 s", None, True, float("nan")])
def test_interval_that_is_none_is_an_error(value):
    with pytest.raises(ValueError, match="`checkpoint_every` must be seconds, such as '60s', or a number of steps"):
        Interval.parse(value)


def test_checkpoints_are_taken_every_so_many_steps(data, tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr("kzoo.training.keeper.write_checkpoint", lambda _, state: steps.append(state.numbers["step"]))
    go(data, tmp_path / "run", RECIPE.override(epochs=2, patience=0), checkpoint_every=3)
    assert steps[0] == 0
    assert steps[-1] == 2 * PER_EPOCH
    assert len(steps) >= 3  # one that is due while another is written waits for it
    assert all(step % PER_EPOCH == 0 or step - before >= 3 for before, step in itertools.pairwise(steps))


def test_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path):
    states = [TrainState({"model/0/a": np.full(3, step)}, {"step": step}) for step in range(4)]
    for state in states:
        write_checkpoint(tmp_path, state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000000002", "step-0000000003"]
    assert newest_state(tmp_path).numbers == {"step": 3}
    newest = checkpoints(tmp_path)[-1]
    (newest / "arrays.npz").write_bytes((newest / "arrays.npz").read_bytes()[:-1])
    with pytest.warns(UserWarning, match="must be a whole checkpoint. Received: arrays.npz with .* The one before is"):
        assert newest_state(tmp_path).arrays["model/0/a"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("name", ["arrays.npz", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "other"])
def test_damaged_checkpoint_is_an_error(tmp_path, name, damage):
    path = write_checkpoint(tmp_path, TrainState({"model/0/a": np.arange(3)}, {"step": 1}))
    (path / name).unlink()
    if damage != "missing":
        (path / name).write_bytes(b"" if damage == "empty" else b"[1, 2]")
    with pytest.raises(ValueError, match=f"{path.name} must be a whole checkpoint. Received: "):
        read_checkpoint(path)


def test_full_disk_costs_a_checkpoint_and_not_the_training(data, tmp_path, monkeypatch):
    def full(folder, state):
        raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setattr("kzoo.training.keeper.write_checkpoint", full)
    with pytest.warns(UserWarning, match="No checkpoint could be written to .*, which takes .* bytes. .*No space left"):
        run = go(data, tmp_path / "run", checkpoint_every=5)
    assert run.metrics["epochs_run"] >= 1


def test_full_disk_at_the_history_is_a_warning(data, tmp_path, monkeypatch, undisturbed):
    calls, write = [], kzoo.Run.write_history

    def full(self, rows):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device", "history.csv")
        write(self, rows)

    monkeypatch.setattr(kzoo.Run, "write_history", full)
    with pytest.warns(UserWarning, match="history.csv was not written. Received: .*No space left on device"):
        assert content(go(data, tmp_path / "run")) == undisturbed


def test_picture_that_cannot_be_drawn_costs_nothing(data, tmp_path, monkeypatch, undisturbed):
    monkeypatch.setattr("kzoo.training.finishing.plot_history", lambda *_, **__: 1 / 0)
    with pytest.warns(UserWarning, match="history.png could not be drawn. Received: division by zero"):
        assert content(go(data, tmp_path / "run")) == undisturbed


@pytest.mark.parametrize("rate", [1e18, 1e30])
def test_loss_that_is_no_number_ends_the_training(data, tmp_path, rate):
    with pytest.raises(
        DivergenceError, match=r"The loss is (nan|inf) at step \d+ \(epoch 1\), at a learning rate"
    ) as caught:
        go(data, tmp_path / "run", RECIPE.override(learning_rate=rate))
    assert "first in layer '" in str(caught.value)
    assert caught.value.step <= PER_EPOCH
    assert not (tmp_path / "run" / "metrics.json").exists()
    kzoo.Run(tmp_path / "run").load_model()  # of numbers, from the last checkpoint
    (one,) = list_runs([tmp_path])
    assert one.state.startswith("ended: The loss is")


@keras.saving.register_keras_serializable("tests")
class Spoilt(keras.layers.Layer):
    def call(self, inputs, training=False):
        return inputs if training else inputs * float("nan")


def test_layer_gone_wrong_is_found_in_a_sequential_model():
    model = keras.Sequential([keras.Input((2, 2, 3)), Spoilt(name="spoilt"), keras.layers.Flatten()])
    assert _first_with_bad_output(model, np.ones((1, 2, 2, 3), np.float32), training=False) == "spoilt"


def with_layer(layer):
    """Returns the small model with a layer behind its input."""
    model, inputs = small(), keras.Input((8, 8, 3), name="pictures")
    x = layer(inputs)
    for one in model.layers[1:]:
        x = one(x)
    return keras.Model(inputs, x, name="small")


def test_validation_loss_that_is_no_number_ends_the_training(data, tmp_path):
    message = r"The validation loss is nan at step 7 \(epoch 1\), at a learning rate of .*, first in layer 'spoilt'\."
    with pytest.raises(DivergenceError, match=message):
        go(data, tmp_path / "run", model=with_layer(Spoilt(name="spoilt")))
    assert kzoo.Run(tmp_path / "run").weights_path.exists()
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_weight_that_is_no_number_is_not_kept(data, tmp_path):
    model = with_layer(keras.layers.Rescaling(1e30, name="huge"))  # its square is infinite, but not its loss
    message = r"moving_variance is not finite after step \d .*, first in layer '.*'\. The weights of step 0 are in"
    with pytest.raises(DivergenceError, match=message):
        go(data, tmp_path / "run", model=model, checkpoint_every=1)
    kzoo.Run(tmp_path / "run").load_model()


def test_metric_that_is_no_number_is_null(data, tmp_path, monkeypatch):
    def evaluated(*args, evaluate=kzoo.evaluate, **options):
        return dataclasses.replace(evaluate(*args, **options), loss=float("nan"))

    monkeypatch.setattr("kzoo.training.finishing.evaluate", evaluated)
    with pytest.warns(UserWarning, match="Every metric must be a finite number. Received: test_loss nan."):
        run = go(data, tmp_path / "run", RECIPE.override(epochs=1, patience=0))
    assert json.loads((run.directory / "metrics.json").read_text(), parse_constant=pytest.fail)["test_loss"] is None


def no_memory():
    """Returns what the backend raises where there is no memory."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return tensorflow.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    if keras.backend.backend() == "jax":
        import jax

        return jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
    import torch

    return torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize(("holds", "advice"), [(5, "A batch of 4 fits: --batch-size 4"), (0, "No smaller batch was")])
def test_batch_that_memory_is_too_short_for_is_an_error(data, tmp_path, monkeypatch, holds, advice):
    def run_out(self, batch, logs=None):
        if self.epoch == 1:
            raise no_memory()

    def train_on_batch(self, images, labels):
        if len(images) > holds:
            raise no_memory()

    monkeypatch.setattr(Session, "on_train_batch_begin", run_out)
    model = small()
    monkeypatch.setattr(type(model), "train_on_batch", train_on_batch)
    message = f"A batch of 16 images must fit into memory. Received: .*(OOM|emory).*{advice}"
    with pytest.raises(OutOfMemoryError, match=message):
        go(data, tmp_path / "run", model=model)
    assert "must fit into memory" in list_runs([tmp_path])[0].state


def test_reason_of_a_shortage_is_the_line_that_says_it():
    said = "Exception encountered when calling Model.call().\n\n\x1b[1mcan't allocate memory: 9 bytes\x1b[0m\n"
    assert reason_of(RuntimeError(said)) == "can't allocate memory: 9 bytes"
    assert reason_of(MemoryError()) == "MemoryError"


def test_other_errors_are_no_shortage():
    assert not is_out_of_memory(ValueError("out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert is_out_of_memory(MemoryError())


def test_validation_takes_no_larger_batches_than_training(data, tmp_path, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        "kzoo.training.loop.Batches",
        lambda *args, **options: sizes.append(options["batch_size"]) or Batches(*args, **options),
    )
    monkeypatch.setattr(
        "kzoo.training.finishing.evaluate",
        lambda *args, **options: sizes.append(options["batch_size"]) or kzoo.evaluate(*args, **options),
    )
    go(data, tmp_path / "run", RECIPE.override(epochs=1, batch_size=8, patience=0))
    assert sizes == [8, 8, 8]


def test_runs_are_listed(data, tmp_path, monkeypatch):
    go(data, tmp_path / "done")
    with monkeypatch.context() as patch:
        stop_at(patch, "on_train_batch_end", lambda session, batch: session.epoch == 1)
        patch.setattr(sys, "argv", ["/usr/bin/kzoo", "train", "resnet8", "--run", "a b"])
        with pytest.raises(TrainingInterrupted):
            go(data, tmp_path / "left")
    done, left = list_runs([tmp_path])
    assert (done.state, done.command) == ("done", None)
    assert (left.state, left.epochs_done, left.epochs) == ("interrupted", 1, 4)
    assert left.command == f"kzoo train resnet8 --run {tmp_path / 'left'} --resume"  # it may have been moved
    with pytest.raises(FileNotFoundError, match="Expected a folder of runs. Received: .*none, which does not exist"):
        list_runs([tmp_path / "none"])


def test_damaged_run_is_listed_beside_others(tmp_path):
    for name in "ab":
        kzoo.Run.create(tmp_path / name, {})
    assert [one.state.partition(":")[0] for one in list_runs([tmp_path])] == ["damaged", "damaged"]


@pytest.mark.parametrize("program", ["kzoo", "python -m kzoo.cli"])
def test_command_that_goes_on_names_the_run_where_it_is(monkeypatch, program):
    expected = f"{program} train a --lr 1 --run 'my runs/b' --resume"
    for command in ("--run elsewhere --lr 1", "--resume --run=elsewhere --lr 1", "--lr 1"):
        assert command_to_go_on(Path("my runs", "b"), f"{program} train a {command}") == expected
    monkeypatch.setattr(sys, "argv", ["/lib/kzoo/cli/__main__.py", "train", "a"])
    assert environment.command() == "python -m kzoo.cli train a"


def test_look_at_a_run_keeps_no_training_out(tmp_path):
    (tmp_path / "run").mkdir()
    has_it, may_end = threading.Event(), threading.Event()

    def look():
        with locked(tmp_path / "run"):
            has_it.set()
            may_end.wait(30)
            time.sleep(0.1)

    other = threading.Thread(target=look)
    other.start()
    has_it.wait(30)
    assert is_locked(tmp_path / "run")
    may_end.set()
    with locked(tmp_path / "run", wait_s=30):
        assert not other.join(30)


def test_run_of_another_user_is_not_known_to_be_locked(tmp_path, monkeypatch):
    (tmp_path / ".lock").touch()
    monkeypatch.setattr("filelock.FileLock.acquire", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "no")))
    assert not is_locked(tmp_path)


def test_signal_that_is_ignored_stays_so(tmp_path):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as of a program that a shell has put behind
    try:
        keeper = Keeper(tmp_path, Interval(), lambda: TrainState({}, {"step": 1}))
        with keeper.listening():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "error", [BrokenPipeError(32, "Broken pipe"), RuntimeError("reentrant call"), ValueError("closed")]
)
def test_signal_is_heard_where_nothing_can_be_said(tmp_path, monkeypatch, error):
    class Closed:
        def write(self, text):
            raise error

    keeper = Keeper(tmp_path, Interval(), lambda: TrainState({}, {"step": 1}))
    with keeper.listening(), monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Closed())
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert keeper.asked == signal.SIGTERM


def test_signals_are_heard_between_steps_and_given_back(tmp_path):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    try:
        keeper = Keeper(tmp_path / "run" / "checkpoints", Interval(), lambda: TrainState({}, {"step": 1}))
        with keeper.listening():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            assert keeper.asked == signal.SIGTERM
            os.kill(os.getpid(), signal.SIGTERM)  # the second does what it did before
            time.sleep(0.01)
            with pytest.raises(TrainingInterrupted) as caught:
                keeper.after_step(may_wait=True)
        assert (heard, caught.value.signal) == ([1], signal.SIGTERM)
        assert len(checkpoints(tmp_path / "run" / "checkpoints")) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
