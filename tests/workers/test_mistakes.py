"""What several workers cannot do, and what is said."""

import contextlib
import re
import socket
import sys
import time

import keras
import numpy as np
import pytest
import typer

import kzoo
from kzoo.cli.launching import asked_devices
from kzoo.data.parts import OwnWorkers
from kzoo.errors import WorkerError
from kzoo.workers import joining, teams
from kzoo.workers.checks import check_team
from kzoo.workers.launching import launch
from kzoo.workers.places import Place, own_place
from kzoo.workers.watching import Watch

RECIPE = kzoo.Recipe()
PLACE = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1234"}
BACKEND = keras.config.backend()


def network(*layers):
    x = images = keras.Input((8, 8, 3))
    for layer in layers:
        x = layer(x)
    return kzoo.Model(images, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))


def test_place_is_that_of_the_environment():
    assert own_place(PLACE) == Place(1, 2, 1, "localhost:1234")


@pytest.mark.parametrize(
    "variables", [{}, {"RANK": "0", "WORLD_SIZE": "1"}, {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}]
)
def test_place_is_none_of_a_process_alone(variables):
    assert own_place(variables) is None


def test_place_is_that_of_slurm_where_the_first_machine_is_named():
    of_slurm = {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1", "MASTER_ADDR": "node1"}
    assert own_place(of_slurm) == Place(3, 4, 1, "node1:29500")


@pytest.mark.parametrize(
    "change",
    [
        *({"RANK": rank} for rank in ("2", "-1", "a", None)),
        *({"MASTER_PORT": port} for port in ("0", "70000", "a", None)),
        *({"WORLD_SIZE": count} for count in ("1.5", "0", None)),
        {"MASTER_ADDR": None},
        {"LOCAL_RANK": "2"},
    ],
    ids=str,
)
def test_place_that_is_none_is_told(change):
    variables = {name: value for name, value in {**PLACE, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=r"must be .*Received: RANK="):
        own_place(variables)


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "", "all", "1e3", "9" * 20])
def test_devices_that_are_no_number_are_told(given):
    with pytest.raises(typer.BadParameter, match=r"must be a number, 1 or larger, or auto\. Received: "):
        asked_devices(given)


def test_seconds_to_wait_must_be_a_number(monkeypatch):
    monkeypatch.setenv(joining.WAIT, "soon")
    with pytest.raises(ValueError, match="KZOO_WORKER_SECONDS must be whole seconds, 1 or more. Received: 'soon'"):
        joining.seconds_to_wait()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the others train in several processes")
def test_tensorflow_says_that_it_trains_in_one_process(monkeypatch):
    for name, value in PLACE.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WorkerError, match=r"of one process.*`--devices N`.*PyTorch or JAX.*Received: 2"):
        kzoo.join_workers()


def test_more_devices_than_there_are_are_told():
    expected = (
        "kzoo launch -n 99 -- kzoo train" if BACKEND == "torch" else "no more than there are. Received: devices=99"
    )
    with pytest.raises(ValueError, match=expected):
        teams.team_for(99)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (keras.layers.BatchNormalization(name="bn"), "of the whole batch.*kzoo.BatchNorm.*Received: 'bn'"),
        (keras.layers.Dropout(0.5, name="drop"), "kzoo.Dropout.*Received: 'drop', a Dropout"),
        (keras.layers.RandomFlip(name="flip"), "kzoo.Dropout.*Received: 'flip', a RandomFlip"),
    ],
    ids=["norm", "dropout", "flip"],
)
def test_layer_that_would_not_be_the_same_is_told(layer, said):
    with pytest.raises(ValueError, match=said):
        check_team(network(layer), object(), None, None, RECIPE)


def test_layer_within_a_nested_model_is_told():
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Dropout(0.5, name="drop")])
    with pytest.raises(ValueError, match="Received: 'drop'"):
        check_team(network(inner), object(), None, None, RECIPE)


def test_model_of_another_class_is_told():
    model = network()
    with pytest.raises(ValueError, match=r"must be a kzoo.Model.*Received: Functional"):
        check_team(keras.Model(model.inputs, model.outputs), object(), None, None, RECIPE)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (keras.losses.CategoricalCrossentropy(reduction="sum"), "mean over images.*Received: reduction='sum'"),
        (lambda labels, answers: keras.ops.mean(answers - labels), r"a number for each image.*the shape \(\)"),
    ],
    ids=["sum", "scalar"],
)
def test_loss_that_is_no_mean_over_images_is_told(loss, said):
    with pytest.raises(ValueError, match=said):
        check_team(network(), object(), loss, None, RECIPE)


@pytest.mark.parametrize("changes", [{"clip_value": 1.0}, {"accumulate_steps": 2}], ids=str)
def test_gradients_that_tensorflow_would_change_too_early_are_told(changes):
    given = (network(), object(), None, None, RECIPE.override(**changes))
    if BACKEND == "tensorflow":
        with pytest.raises(ValueError, match="TensorFlow clips and accumulates .*use JAX or PyTorch"):
            check_team(*given)
    else:
        check_team(*given)


def test_one_worker_needs_no_check():
    check_team(network(keras.layers.Dropout(0.5)), None, None, None, RECIPE)


def test_launch_names_the_worker_that_failed_and_ends_the_others(capfd):
    code = "import os, sys, time; rank = int(os.environ['RANK']); sys.exit(3) if rank == 1 else time.sleep(60)"
    began = time.monotonic()
    assert launch([sys.executable, "-c", code], 2) == 3
    assert time.monotonic() - began < 30
    assert re.search(r"kzoo: worker 1 \(process \d+\) has ended with exit code 3\. The others", capfd.readouterr().err)


def test_launch_puts_the_number_before_what_the_others_say(capfd):
    code = "import os; print(os.environ['RANK'], os.environ['WORLD_SIZE'], len(os.sched_getaffinity(0)) > 0)"
    assert launch([sys.executable, "-c", code], 2) == 0
    time.sleep(0.5)
    out, err = capfd.readouterr()
    assert out.splitlines() == ["0 2 True"]
    assert err.splitlines() == ["worker 1: 1 2 True"]


def test_launch_says_which_signal_ended_a_worker(capfd):
    assert launch([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], 1) == 137
    assert "was ended by SIGKILL" in capfd.readouterr().err


def test_launch_of_no_program_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        launch([str(tmp_path / "none")], 2)


@pytest.mark.parametrize(("command", "count"), [([], 2), (["kzoo"], 0), (["kzoo"], 10**6)])
def test_launch_of_nothing_is_told(command, count):
    with pytest.raises(ValueError, match=r"(must be|Expected).*Received: "):
        launch(command, count)


@pytest.fixture
def pair():
    """Two workers that watch each other, and what each has been told."""
    told = [], []
    first, second = (Watch(i, f"worker {i}", 1.0, told[i].append) for i in (0, 1))
    second.connect("127.0.0.1", *first.listen("127.0.0.1"))
    yield first, second, told
    first.close()
    second.close()


def wait_for(found):
    until = time.monotonic() + 8
    while not found and time.monotonic() < until:
        time.sleep(0.05)
    return list(found)


def test_worker_that_says_goodbye_is_not_lost(pair):
    _, second, told = pair
    time.sleep(0.2)
    second.close()
    time.sleep(0.5)
    assert told == ([], [])


def test_worker_whose_connection_ends_is_lost(pair):
    _, second, told = pair
    time.sleep(0.3)
    second._lines[0].shutdown(2)
    assert wait_for(told[0]) == ["worker 1 has ended"]


def test_worker_that_is_behind_is_lost(pair):
    first, _, told = pair
    first.moved()
    assert wait_for(told[0]) == ["worker 1 has not moved for 1 s, and the others wait for it"]
    assert wait_for(told[1]) == told[0]


def test_stranger_is_not_listened_to(pair):
    first, second, told = pair
    port = second._lines[0].getpeername()[1]
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b"guess 7 somebody\n" + b"x" * 10_000)
        line.settimeout(5)
        with contextlib.suppress(ConnectionError):
            assert line.recv(10) == b""
    assert 7 not in first._names
    assert told == ([], [])


def test_answers_do_not_depend_on_who_reads_the_other_images():
    split = kzoo.Split(np.arange(5 * 192, dtype=np.int64).reshape(5, 8, 8, 3).astype(np.uint8), [0, 1, 0, 1, 0])
    whole, own = (kzoo.Batches(split, 2, batch_size=5, shuffle=True) for _ in range(2))
    own.own_workers = OwnWorkers(1, 2, 2)
    images, read = whole.batch(0, 0)[0], own.batch(0, 0)[0]
    assert (read[3:] == images[3:]).all()
    assert not read[:3].any()
