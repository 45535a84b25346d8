"""What the first of several processes decides and writes for all."""

import contextlib

import keras
import numpy as np
import pytest

import kzoo
from kzoo.training.keeper import Interval
from kzoo.training.state import TrainState
from kzoo.training.together import SharedKeeper, check_same, opened_by_first, silence_writers


class Team:
    """One of two processes; what the other one says is given."""

    processes = 2

    def __init__(self, rank, other=(0, 0, 0), content=b""):
        self.rank, self.other, self.content = rank, other, content

    def most(self, numbers):
        return [max(pair) for pair in zip(numbers, self.other, strict=True)]

    def from_first(self, content):
        self.content = content or self.content
        return self.content


def keeper(tmp_path, team, interval=None):
    state = TrainState({"model/0/a": np.ones(2)}, {"step": 3})
    return SharedKeeper(tmp_path / "checkpoints", interval or Interval(steps=1), lambda: state, team)


def test_signal_that_another_process_heard_ends_this_one(tmp_path):
    mine = keeper(tmp_path, Team(1, (15, 0, 0)))
    mine.agree(False)
    with pytest.raises(KeyboardInterrupt, match="To go on"):
        mine.end_if_asked()


def test_signal_ends_nobody_before_all_know(tmp_path):
    mine = keeper(tmp_path, Team(1))
    mine.hear(15)
    mine.end_if_asked()
    mine.agree(False)
    assert mine.asked == 15


@pytest.mark.parametrize(("rank", "other", "stops"), [(0, 0, True), (1, 0, False), (1, 1, True)])
def test_first_process_decides_whether_the_training_stops(tmp_path, rank, other, stops):
    assert keeper(tmp_path, Team(rank, (0, 0, other))).agree(True) is stops


@pytest.mark.parametrize(("rank", "written"), [(0, ["step-0000000003"]), (1, [])])
def test_first_process_writes_checkpoints(tmp_path, rank, written):
    mine = keeper(tmp_path, Team(rank))
    assert mine.save(wait=True)
    assert [path.name for path in tmp_path.glob("checkpoints/*")] == written


def test_first_process_says_when_a_checkpoint_is_due(tmp_path):
    mine = keeper(tmp_path, Team(1, (0, 1, 0)), Interval(seconds=1e6))
    mine.agree(False)
    assert [mine.is_due(), mine.is_due()] == [True, False]


def test_others_get_the_state_from_the_first(tmp_path):
    (tmp_path / "run").mkdir()
    run, state = kzoo.Run.create(tmp_path / "run", {"a": 1}), TrainState({"model/0/a": np.arange(3.0)}, {"step": 3})
    first = Team(0)
    with opened_by_first(first, contextlib.nullcontext((run, state)), None) as (mine, _):
        assert mine is run
    fill = lambda path: kzoo.Run.fill(path, {"a": 1}, None)  # noqa: E731
    with opened_by_first(Team(1, content=first.content), None, fill) as (other, received):
        assert other.directory != run.directory
        assert other.shared == run.directory
        np.testing.assert_array_equal(received.arrays["model/0/a"], state.arrays["model/0/a"])
        assert received.numbers == state.numbers
    assert not other.directory.exists()


def test_others_are_told_why_the_first_could_not_begin():
    first = Team(0)

    class Refused:
        def __enter__(self):
            raise FileExistsError("it has content")

        def __exit__(self, *_):
            raise AssertionError

    with pytest.raises(FileExistsError), opened_by_first(first, Refused(), None):
        pass
    with pytest.raises(ValueError, match="it has content"), opened_by_first(Team(1, content=first.content), None, None):
        pass


def test_processes_that_differ_are_told():
    model = kzoo.resnet(8, input_shape=(8, 8, 3))
    with pytest.raises(ValueError, match="must train the same model.*Received: processes that differ"):
        check_same(Team(1, (2**60, 2**60)), {"seed": 0}, model)
    check_same(None, {"seed": 0}, model)


def test_writers_of_keras_do_nothing_where_others_write(tmp_path):
    callback = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    silence_writers([callback])
    callback.on_train_begin()
    callback.on_epoch_end(0, {"loss": 1.0})
    callback.on_train_end()
    assert not (tmp_path / "log.csv").exists()
