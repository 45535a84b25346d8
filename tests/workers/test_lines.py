"""Direct lines between the workers of one machine."""

import contextlib
import socket
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kzoo.workers import lines

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs sockets of Unix")


class Meeting:
    """What the workers of a team share: here threads."""

    def __init__(self, count):
        self.count, self.barrier, self.said, self.content = count, threading.Barrier(count), {}, b""

    def team(self, rank):
        meeting = self

        class Team:
            processes = meeting.count

            def most(self, numbers):
                meeting.said[rank] = numbers
                meeting.barrier.wait()
                found = [max(one) for one in zip(*meeting.said.values(), strict=True)]
                meeting.barrier.wait()
                return found

            def from_first(self, content):
                meeting.content = content or meeting.content
                meeting.barrier.wait()
                return meeting.content

        found = Team()
        found.rank = rank
        return found


@contextlib.contextmanager
def met(count, seconds=10.0):
    """Yields the lines of each of some workers."""
    meeting = Meeting(count)
    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(lambda rank: lines.connected(meeting.team(rank), seconds), range(count)))
    assert not meeting.content or not Path(meeting.content.decode()).exists()
    try:
        yield found
    finally:
        for one in found:
            if one is not None:
                one.close()


def gathered(own, count):
    """Returns what a worker receives of all, its own place left empty."""
    places = [bytearray(4) for _ in range(count)]
    own.gather(memoryview(bytes([own.rank]) * 4), [memoryview(one) for one in places])
    return [bytes(one) for one in places]


@pytest.mark.parametrize("count", [2, 3, 8])
def test_each_worker_receives_what_the_others_send(count):
    with met(count) as found, ThreadPoolExecutor(count) as pool:
        for _ in range(20):
            received = list(pool.map(lambda one: gathered(one, count), found))
            for rank, of_others in enumerate(received):
                assert of_others == [bytes([0 if one == rank else one]) * 4 for one in range(count)]


def test_places_exchange_in_any_order():
    with met(2) as (first, second), ThreadPoolExecutor(2) as pool:
        places = {place: bytearray(1) for place in (1, 2)}
        under_way = [
            pool.submit(first.gather, memoryview(bytes([place])), [memoryview(b""), memoryview(places[place])], place)
            for place in (1, 2)
        ]
        for place in (2, 1):
            second.gather(memoryview(bytes([10 * place])), [memoryview(bytearray(1)), memoryview(b"")], place)
        assert [one.result(10) for one in under_way] == [None, None]
    assert places == {1: bytearray([10]), 2: bytearray([20])}


def test_longest_messages_pass_each_other():
    own = bytes(range(256)) * (lines.Lines.longest // 256)
    places = [memoryview(bytearray(own[::-1])) for _ in range(2)]
    with met(2) as found, ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: one.gather(memoryview(own), places), found))
    assert all(place == own for place in places)


def test_worker_that_has_ended_is_named():
    with met(2) as (first, second):
        threading.Thread(target=lambda: (time.sleep(0.2), second.close())).start()
        with pytest.raises(ConnectionError, match="worker 1 has ended"):
            gathered(first, 2)


def test_worker_that_says_nothing_is_named():
    with (
        met(2, seconds=0.2) as (first, _),
        pytest.raises(TimeoutError, match="Timed out waiting for numbers of worker 1"),
    ):
        gathered(first, 2)


def test_workers_of_several_machines_have_no_lines(monkeypatch):
    machines = iter(range(2))
    monkeypatch.setattr(lines, "_machine", lambda: next(machines))
    with met(2) as found:
        assert found == [None, None]


def test_more_workers_than_lines_are_worth_have_none():
    with met(9) as found:
        assert found == [None] * 9


def test_no_worker_has_lines_where_one_cannot_listen(monkeypatch):
    def refused(listener, path, seconds):
        if path.name == "1":
            raise OSError("no")
        listen(listener, path, seconds)

    listen = lines._listen
    monkeypatch.setattr(lines, "_listen", refused)
    with met(3) as found:
        assert found == [None] * 3


def test_only_the_own_user_can_connect(monkeypatch):
    modes = []

    def looked_at(listener, path, seconds):
        modes.append(stat.S_IMODE(path.parent.stat().st_mode))
        listen(listener, path, seconds)

    listen = lines._listen
    monkeypatch.setattr(lines, "_listen", looked_at)
    with met(2):
        pass
    assert modes == [0o700, 0o700]
