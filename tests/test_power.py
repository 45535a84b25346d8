"""Files and folders are whole or not there, and stay, if the power fails."""

import shutil
import warnings

import numpy as np
from power import Recording, disks, rests, write_tree

from kzoo.durable import written_file
from kzoo.training.checkpoint import newest_state, write_checkpoint
from kzoo.training.state import TrainState


def every_rest(events, folder, ends):
    """Yields each folder that a power failure may leave, after which part of some operations it failed.

    `ends` are the numbers of operations after which a part was done; parts are counted from 0.
    """
    seen = set()
    for count, disk in disks(events):
        done = sum(end <= count for end in ends)
        for tree in rests(disk):
            if (known := (done, frozenset(tree.items()))) not in seen:
                seen.add(known)
                shutil.rmtree(folder, ignore_errors=True)
                write_tree(tree, folder)
                yield done, folder


def test_checkpoints_outlive_the_power(tmp_path):
    states = [TrainState({"model/0/a": np.full(3, step)}, {"step": step}) for step in (0, 3, 3, 5, 8)]
    root, ends = tmp_path / "run", []
    root.mkdir()
    with Recording(root) as recording:
        for state in states:
            write_checkpoint(root / "checkpoints", state)
            ends.append(len(recording.events))
    assert {"create", "write", "flush", "os.mkdir", "os.rename", "os.remove"} <= {
        event[0] for event in recording.events
    }
    steps, seen = [None, *(state.numbers["step"] for state in states)], set()
    for done, folder in every_rest(recording.events, tmp_path / "rest", ends):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = newest_state(folder / "checkpoints")
        step = None if found is None else found.numbers["step"]
        # While a checkpoint takes the place of one of the same step, the one before may be what is left.
        first = done - 1 if steps[done : done + 2] == [3, 3] else done
        assert step in steps[first : done + 2], (done, step)
        assert found is None or found.arrays["model/0/a"].tolist() == [step] * 3
        seen.add((done, step))
    assert len(seen) >= 2 * len(states)


def test_files_outlive_the_power(tmp_path):
    root, ends = tmp_path / "files", []
    root.mkdir()
    contents = [b"first" * 10, b"second, which is longer" * 10, b"third"]
    with Recording(root) as recording:
        for content in contents:
            with written_file(root / "history.csv") as aside:
                aside.write_bytes(content)
            ends.append(len(recording.events))
    for done, folder in every_rest(recording.events, tmp_path / "rest", ends):
        path = folder / "history.csv"
        assert (path.read_bytes() if path.exists() else None) in [None, *contents][done : done + 2]
