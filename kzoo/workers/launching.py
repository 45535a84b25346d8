"""Starts a program several times on this machine, as workers of one training. Nothing here imports Keras."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from kzoo.workers.places import ADDRESS, COUNT, LOCAL_RANK, PORT, RANK

_GRACE = 10.0  # seconds that workers have to end after one has failed
_SECONDS_BETWEEN = 0.1
_MOST = 1024
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def launch(command: Sequence[str], count: int) -> int:
    """Runs a program in several processes, which know each other as `torchrun` would tell them.

    The first one has the terminal. What the others say comes with their number in front, on standard error. Each gets
    its share of the cores. If one fails, it is named, and the others are ended.

    Args:
        command: The program and its arguments.
        count: Integer, 1 to 1024, how many processes.

    Returns:
        The exit code: 0, or that of the first one that failed, 128 and the signal if it was ended by one.

    Raises:
        ValueError: If there is no command, or `count` is none of those.
        FileNotFoundError: If there is no such program.
    """
    if not 1 <= count <= _MOST:
        raise ValueError(f"`count` (-n) must be 1 to {_MOST}. Received: {count}.")
    if not command:
        raise ValueError("Expected a command after `--`, such as `kzoo train resnet20`. Received: none.")
    workers: list[subprocess.Popen[str]] = []
    readers: list[threading.Thread] = []
    port = _free_port()
    with _forwarded(workers):
        try:
            for rank in range(count):
                workers.append(_started(command, rank, count, port))
                if rank:
                    readers.append(threading.Thread(target=_pass_on, args=(workers[rank].stdout, rank), daemon=True))
                    readers[-1].start()
            return _watched(workers)
        finally:
            _end(workers)
            for reader in readers:
                reader.join(_GRACE)


def _started(command: Sequence[str], rank: int, count: int, port: int) -> "subprocess.Popen[str]":
    place = {RANK: str(rank), LOCAL_RANK: str(rank), COUNT: str(count), ADDRESS: "127.0.0.1", PORT: str(port)}
    cores = _cores_of(rank, count)
    variables = {**os.environ, **place}
    variables.setdefault("OMP_NUM_THREADS", str(max(len(cores), 1)))
    pipes: Any = {} if rank == 0 else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    worker = subprocess.Popen(
        list(command), env=variables, text=True, errors="replace", start_new_session=True, **pipes
    )
    if cores:
        with contextlib.suppress(OSError):  # it has ended already
            os.sched_setaffinity(worker.pid, cores)
    return worker


def _cores_of(rank: int, count: int) -> list[int]:
    """Returns the cores of a worker: none where there are fewer cores than workers, or the system does not tell."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    each = len(cores) // count
    return cores[rank * each : (rank + 1) * each]


def _pass_on(lines: Any, rank: int) -> None:
    with lines:
        for line in lines:
            sys.stderr.write(line if f"(worker {rank})" in line else f"worker {rank}: {line}")
            sys.stderr.flush()


def _watched(workers: "list[subprocess.Popen[str]]") -> int:
    """Waits until all workers have ended, or one has failed."""
    while True:
        codes = [worker.poll() for worker in workers]
        if failed := [rank for rank, code in enumerate(codes) if code]:
            rank = failed[0]
            code = codes[rank] or 0
            name = f"worker {rank} (process {workers[rank].pid})"
            why = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"has ended with exit code {code}"
            print(f"kzoo: {name} {why}. The others are ended, too.", file=sys.stderr, flush=True)  # noqa: T201
            return 128 - code if code < 0 else code
        if all(code == 0 for code in codes):
            return 0
        time.sleep(_SECONDS_BETWEEN)


def _end(workers: "list[subprocess.Popen[str]]") -> None:
    """Ends what still runs: asked first, killed after some seconds."""
    until = time.monotonic() + _GRACE
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    for worker in workers:
        try:
            worker.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


@contextlib.contextmanager
def _forwarded(workers: "list[subprocess.Popen[str]]") -> Iterator[None]:
    """Passes signals on to the workers meanwhile: they write a checkpoint and end."""

    def forward(number: int, frame: Any) -> None:
        del frame
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)

    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, forward) for number in _SIGNALS} if is_main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
