"""Several workers train as one: to the same weights, stopping where one stops, going on where others were lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import kzoo

BACKEND = keras.config.backend()
WORKERS = {
    "torch": {"2 processes": {"processes": 2}, "4 processes": {"processes": 4}},
    "jax": {"4 devices": {"devices": 4}, "2 processes": {"processes": 2}},
    "tensorflow": {"2 devices": {"devices": 2}, "4 devices": {"devices": 4}},
}[BACKEND]
SEVERAL = next(iter(WORKERS.values()))
STOPS = {"patience": 1, "min_delta": 10.0, "ema": 0.0}
dear_on_jax = pytest.mark.slow if BACKEND == "jax" else lambda test: test  # where every process compiles anew


def trained(folder, plan, on_gpu=False):
    """Trains as planned, and returns for each training how its processes ended, and the seconds it took."""
    (folder / "plan.json").write_text(json.dumps(plan))
    command = [sys.executable, str(Path(__file__).with_name("training.py")), str(folder / "plan.json")]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "KZOO_WORKER_SECONDS": "20"}
    if not on_gpu:
        variables |= {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=500)
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"ended"')]
    assert len(lines) == len(plan), ended.stderr
    return [(line["ended"], line["seconds"], ended.stderr) for line in lines]


def weights(directory):
    found = {}
    with h5py.File(directory / "model.weights.h5") as file:
        file.visititems(lambda name, one: found.update({name: one[()]}) if isinstance(one, h5py.Dataset) else None)
    return {name: array for name, array in found.items() if array.dtype.kind in "fi"}


def difference(directory, other):
    one, two = weights(directory), weights(other)
    assert one.keys() == two.keys()
    return max(float(np.abs(one[name].astype(np.float64) - two[name]).max()) for name in one)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of a training by one worker and by several, and how they ended."""
    folder = tmp_path_factory.mktemp("runs")
    plan = [{"directory": str(folder / "one")}]
    plan += [{"directory": str(folder / name), **workers} for name, workers in WORKERS.items()]
    plan += [{"directory": str(folder / "stopped"), **STOPS}]
    plan += [] if BACKEND == "jax" else [{"directory": str(folder / "stopped together"), **STOPS, **SEVERAL}]
    return folder, trained(folder, plan)


@pytest.mark.parametrize("name", WORKERS)
def test_workers_train_to_the_weights_of_one(runs, name):
    folder, ended = runs
    assert all(code == 0 for codes, _, _ in ended for code in codes), ended[0][2]
    assert difference(folder / "one", folder / name) < 1e-9


@pytest.mark.parametrize("name", WORKERS)
def test_workers_measure_what_one_measures(runs, name):
    one, several = kzoo.Run(runs[0] / "one"), kzoo.Run(runs[0] / name)
    for row, other in zip(one.history, several.history, strict=True):
        shared = {key: value for key, value in row.items() if key != "seconds"}
        assert {key: other[key] for key in shared} == pytest.approx(shared, abs=1e-9)
    for key in ("val_loss", "val_accuracy", "test_loss", "test_accuracy"):
        assert several.metrics[key] == pytest.approx(one.metrics[key], abs=1e-9)


def test_weights_have_changed_in_training(runs):
    folder = runs[0]
    assert difference(folder / "one", folder / "stopped") > 1e-3


@dear_on_jax
def test_workers_stop_at_the_epoch_at_which_one_stops(runs, tmp_path):
    one, together = runs[0] / "stopped", runs[0] / "stopped together"
    if not together.exists():
        together = tmp_path / "run"
        ((codes, _, said),) = trained(tmp_path, [{"directory": str(together), **STOPS, "processes": 2}])
        assert codes == [0, 0], said
    found, expected = kzoo.Run(together).metrics, kzoo.Run(one).metrics
    assert expected["stopped_early"]
    assert (found["epochs_run"], found["best_epoch"]) == (expected["epochs_run"], expected["best_epoch"])


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """The folder of trainings in which a worker was lost or asked to end, each gone on with, and how they ended."""
    folder = tmp_path_factory.mktemp("lost")
    together = {"devices": 2} if BACKEND == "tensorflow" else {"processes": 2}
    killed, ended = str(folder / "killed"), str(folder / "ended")
    dies = 0 if BACKEND == "tensorflow" else 1
    plan = [
        {"directory": killed, "checkpoint_every": 4, "dies": [dies, 13, "SIGKILL"], **together},
        {"directory": killed, "resume": True},
        {"directory": ended, "dies": [dies, 13, "SIGTERM"], **together},
        {"directory": ended, "resume": True, **together},
    ]
    return folder, trained(folder, plan)


@dear_on_jax
def test_others_end_soon_after_a_worker_was_killed(lost):
    codes, seconds, said = lost[1][0]
    assert codes == ([-9] if BACKEND == "tensorflow" else [1, -9])
    assert seconds < 60
    assert BACKEND == "tensorflow" or "WorkerError: worker 1 (process" in said or "kzoo: worker 1 (process" in said


@dear_on_jax
def test_fewer_workers_go_on_to_the_same_weights_after_one_was_killed(runs, lost):
    codes, _, said = lost[1][1]
    assert codes == [0], said
    assert difference(runs[0] / "one", lost[0] / "killed") < 1e-9


@dear_on_jax
def test_all_workers_end_after_the_same_step_where_one_is_asked_to(runs, lost):
    (codes, _, said), (resumed, _, _) = lost[1][2:]
    assert set(codes) == {1}
    assert said.count("TrainingInterrupted: A checkpoint was written") == len(codes)
    assert set(resumed) == {0}, said
    assert difference(runs[0] / "one", lost[0] / "ended") < 1e-9


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "torch", reason="the same on each backend, and takes long")
def test_others_end_where_a_worker_hangs(tmp_path):
    plan = [{"directory": str(tmp_path / "run"), "processes": 2, "dies": [1, 13, "SIGSTOP"]}]
    ((codes, seconds, said),) = trained(tmp_path, plan)
    assert codes == [1, -9]
    assert seconds < 60
    assert "worker 1 (process" in said


@pytest.mark.gpu
def test_two_gpus_train_to_the_weights_of_one(tmp_path):
    """Has not run yet."""
    kinds = {"torch": {"processes": 2}, "jax": {"devices": 2}, "tensorflow": {"devices": 2}}
    plan = [{"directory": str(tmp_path / "one")}, {"directory": str(tmp_path / "two"), **kinds[BACKEND]}]
    for codes, _, said in trained(tmp_path, plan, on_gpu=True):
        assert set(codes) == {0}, said
    assert difference(tmp_path / "one", tmp_path / "two") < 1e-9
