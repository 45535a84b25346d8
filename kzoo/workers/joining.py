"""Joins processes that were started together, on each backend."""

import datetime
import os
from typing import Any

from kzoo.errors import WorkerError
from kzoo.workers.places import Place, own_place

WAIT = "KZOO_WORKER_SECONDS"
_DEFAULT_WAIT = 45

_joined: Place | None = None
_on_host: Any = None  # the group of processes in which PyTorch exchanges numbers of the host


def seconds_to_wait() -> int:
    """Returns how long workers wait for one that gives no sign of life, by `KZOO_WORKER_SECONDS`.

    Raises:
        ValueError: If that is no whole number above 0.
    """
    given = os.environ.get(WAIT) or str(_DEFAULT_WAIT)
    if not given.isdecimal() or not 0 < int(given) < 10**6:
        raise ValueError(f"The environment variable {WAIT} must be whole seconds, 1 or more. Received: {given!r}.")
    return int(given)


def joined() -> Place | None:
    """Returns which of the joined processes this one is, or `None` if there are no others."""
    return _joined


def host_group() -> Any:
    """Returns PyTorch's group of processes for numbers of the host."""
    return _on_host


def join_workers() -> bool:
    """Joins this process with the others that it was started with, to train one model together.

    `torchrun` or `kzoo launch` starts them. The program calls this before it computes anything; `kzoo train` does it by
    itself. From then on `kzoo.fit` trains on the devices of all processes, and each of them has to call it with the
    same arguments. In a process that was started alone nothing happens.

    Returns:
        Whether there are several processes.

    Raises:
        ValueError: If the environment does not say which of the processes this is.
        WorkerError: If the backend cannot train in several processes, or JAX has computed something already.

    Example:
        >>> kzoo.join_workers()  # True in a script that `kzoo launch -n 4 -- python script.py` starts
        False
    """
    global _joined
    place = own_place()
    if place is None or _joined is not None:
        return _joined is not None
    import keras

    backend = keras.config.backend()
    if backend == "tensorflow":
        raise WorkerError(
            "TensorFlow trains on the devices of one process: its strategy for several does not work under Keras 3. "
            "Use `--devices N` (devices=N) without torchrun or `kzoo launch`, or PyTorch or JAX for several processes. "
            f"Received: {place.count} processes."
        )
    (_join_on_jax if backend == "jax" else _join_on_torch)(place)
    _joined = place
    return True


def _join_on_torch(place: Place) -> None:
    global _on_host
    import torch
    from torch import distributed

    if not distributed.is_available():
        raise WorkerError("This build of PyTorch has no torch.distributed: install one that has it.")
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        if place.local_rank >= torch.cuda.device_count():
            raise WorkerError(
                "Each process must have a GPU of its own. "
                f"Received: process {place.local_rank} on a machine with {torch.cuda.device_count()}."
            )
        torch.cuda.set_device(place.local_rank)
    limit = datetime.timedelta(seconds=seconds_to_wait())
    if not distributed.is_initialized():
        host, _, port = place.address.rpartition(":")
        distributed.init_process_group(
            "nccl" if has_gpu else "gloo",
            init_method=f"tcp://{host}:{port}",
            rank=place.rank,
            world_size=place.count,
            timeout=limit,
        )
    _on_host = distributed.new_group(backend="gloo", timeout=limit)


def _join_on_jax(place: Place) -> None:
    import jax

    from kzoo.acceleration import names

    if names.jax_has_started():
        raise WorkerError(
            "`kzoo.join_workers()` must come before JAX computes anything, which building a model does. "
            "Call it first in the program."
        )
    jax.distributed.initialize(
        place.address, place.count, place.rank, heartbeat_timeout_seconds=max(seconds_to_wait(), 10)
    )
