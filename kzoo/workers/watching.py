"""Signs of life: a worker that dies or hangs is named, and does not keep the others waiting for long.

The first worker listens, and each of the others is connected to it. Every two seconds both ends say that they live, and
how far they are. Whoever comes to know that one is lost tells the rest, and ends: operations of all devices would wait.
"""

import contextlib
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from kzoo.errors import DivergenceError, WorkerError
from kzoo.workers.joining import joined, seconds_to_wait

_SECONDS_BETWEEN = 2.0
_GRACE = 5.0  # for the worker to end by itself: its operations may fail, too
_PHRASES = ("Connection closed by peer", "Connection reset", "Timed out", "imed out waiting", "Gloo", "gloo", "NCCL")
_LONGEST = 400  # bytes of a line

_current: "Watch | None" = None


class Watch:
    """What a worker knows of the others.

    Args:
        rank: Integer, which worker this is.
        name: String, what messages call it.
        seconds: Float, how long to wait for a sign of life.
        end: Called with what is to be said, if a worker is lost.
    """

    def __init__(self, rank: int, name: str, seconds: float, end: Callable[[str], None]) -> None:
        self.rank, self.name, self.seconds = rank, name, seconds
        self.lost: str | None = None
        self._between = min(_SECONDS_BETWEEN, seconds / 4)
        self._end = end
        self._lines: dict[int, Any] = {}  # connections, by the worker at the other end; 0 is the first
        self._places: dict[int, tuple[int, float]] = {}  # how far a worker is, and since when
        self._names: dict[int, str] = {}
        self._place, self._closed = 0, False
        self._lock = threading.Lock()

    def moved(self) -> None:
        """Says that this worker has begun or done a step."""
        self._place += 1

    def listen(self, host: str) -> tuple[int, str]:
        """Listens for the others, and returns the port, and the word by which they are known."""
        word = secrets.token_hex(16)
        try:
            listener = socket.create_server((host, 0))
        except OSError:  # the name is one by which the others know this machine
            listener = socket.create_server(("", 0))
        self._start(self._accept, listener, word)
        self._start(self._speak)
        return int(listener.getsockname()[1]), word

    def connect(self, host: str, port: int, word: str) -> None:
        """Connects to the first worker."""
        line = socket.create_connection((host, port), timeout=self.seconds)
        self._names[0] = "worker 0"
        self._send(line, f"{word} {self.rank} {self.name}")
        self._lines[0] = line
        self._start(self._hear_first, line)
        self._start(self._speak)

    def close(self) -> None:
        """Says goodbye to the others."""
        self._closed = True
        for line in list(self._lines.values()):
            self._send(line, "bye")
        for line in list(self._lines.values()):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, name="kzoo-watch", daemon=True).start()

    def _accept(self, listener: socket.socket, word: str) -> None:
        with listener:
            listener.settimeout(self._between)
            while not self._closed:
                try:
                    line, _ = listener.accept()
                except OSError:
                    continue
                line.settimeout(self.seconds)
                self._start(self._welcome, line, word)

    def _welcome(self, line: socket.socket, word: str) -> None:
        """Listens to who has connected, if it knows the word."""
        with contextlib.suppress(OSError, ValueError), line, line.makefile("rb") as reader:
            given, rank, name = reader.readline(_LONGEST).decode().strip().split(" ", 2)
            if secrets.compare_digest(given.encode(), word.encode()):
                self._names[int(rank)], self._lines[int(rank)] = name, line
                self._hear(int(rank), reader)

    def _hear_first(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError), line, line.makefile("rb") as reader:
            self._hear(0, reader)

    def _hear(self, rank: int, reader: Any) -> None:
        """Listens to another worker until it says goodbye, or is lost."""
        why = "has ended"
        try:
            while heard := reader.readline(_LONGEST).decode("utf-8", "replace").strip():
                kind, _, rest = heard.partition(" ")
                if kind == "bye":
                    self._lines.pop(rank, None)
                    return
                if kind == "lost":
                    self._lose(rest)
                    return
                place = int(rest)
                if self._places.get(rank, (-1, 0.0))[0] != place:
                    self._places[rank] = (place, time.monotonic())
        except (TimeoutError, ValueError):
            why = f"has given no sign of life for {self.seconds:.0f} s"
        except OSError:
            pass
        self._lose(f"{self._names[rank]} {why}")

    def _speak(self) -> None:
        """Says every two seconds that this worker lives; the first one looks who is behind."""
        began = time.monotonic()
        self._places[self.rank] = (0, began)
        while not self._closed and self.lost is None:
            if self._places[self.rank][0] != self._place:
                self._places[self.rank] = (self._place, time.monotonic())
            for line in list(self._lines.values()):
                self._send(line, f"at {self._place}")
            if self.rank == 0:
                self._look_who_is_behind()
            time.sleep(self._between)

    def _look_who_is_behind(self) -> None:
        farthest = max(place for place, _ in self._places.values())
        for rank, (place, since) in list(self._places.items()):
            if place < farthest and time.monotonic() - since > self.seconds:
                name = self.name if rank == 0 else self._names[rank]
                self._lose(f"{name} has not moved for {self.seconds:.0f} s, and the others wait for it")
                return

    def _lose(self, what: str) -> None:
        with self._lock:
            if self._closed or self.lost is not None:
                return
            self.lost = what
        for line in list(self._lines.values()):
            self._send(line, f"lost {what}")
        self._end(what)

    def _send(self, line: socket.socket, text: str) -> None:
        with contextlib.suppress(OSError):
            line.sendall(f"{text}\n".encode()[:_LONGEST])


def end_process(what: str) -> None:
    """Ends this process because of a worker that is lost, if it does not end by itself."""
    time.sleep(_GRACE)
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        print(f"\nkzoo: {_told(what)}", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(1)


def _told(what: str) -> str:
    return f"{what}. This one ends, too: the training goes on from its last checkpoint with --resume (resume=True)."


@contextlib.contextmanager
def watched(team: Any) -> Iterator[None]:
    """Watches the other processes of a team meanwhile.

    Args:
        team: The team of workers, or `None`.
    """
    global _current
    place = joined()
    if team is None or team.processes == 1 or place is None:
        yield
        return
    host = place.address.rpartition(":")[0]
    watch = Watch(place.rank, place.name, seconds_to_wait(), end_process)
    if place.rank == 0:
        port, word = watch.listen(host)
        team.from_first(f"{port} {word}".encode())
    else:
        found, word = team.from_first(b"").decode().split()
        watch.connect(host, int(found), word)
    _current = watch
    try:
        yield
    except (DivergenceError, KeyboardInterrupt):  # which come to all workers
        watch.close()
        raise
    except Exception as error:
        if not any(phrase in str(error) for phrase in _PHRASES):
            raise
        until = time.monotonic() + _GRACE / 2
        while watch.lost is None and time.monotonic() < until:
            time.sleep(0.1)
        raise WorkerError(_told(watch.lost or "Another worker has ended or hangs")) from error
    else:
        watch.close()
    finally:
        _current = None


def moved() -> None:
    """Says that this worker has begun or done a step, if others watch."""
    if _current is not None:
        _current.moved()
