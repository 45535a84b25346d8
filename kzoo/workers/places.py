"""Which of several processes this one is. Nothing here imports Keras or a backend."""

import dataclasses
import os
import socket
from collections.abc import Mapping

ADDRESS, PORT, COUNT, RANK, LOCAL_RANK = "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "LOCAL_RANK"

_OF_SLURM = {RANK: "SLURM_PROCID", COUNT: "SLURM_NTASKS", LOCAL_RANK: "SLURM_LOCALID"}


@dataclasses.dataclass(frozen=True)
class Place:
    """Which of several processes this one is, by the variables of the environment that `torchrun` sets.

    Args:
        rank: Integer, counted from 0.
        count: Integer, how many processes there are.
        local_rank: Integer, which one of this machine.
        address: String, host and port of the first process.
    """

    rank: int
    count: int
    local_rank: int
    address: str

    @property
    def name(self) -> str:
        """What messages call this process."""
        return f"worker {self.rank} (process {os.getpid()} on {socket.gethostname()})"


def own_place(variables: Mapping[str, str] | None = None) -> Place | None:
    """Returns which of several processes this one was started as, or `None` if it was started alone.

    Where SLURM has started it, `MASTER_ADDR` must name the machine of the first one: without it each is alone.

    Args:
        variables: The environment. Defaults to `None`, that of this process.

    Raises:
        ValueError: If the environment says it only in part, or says nonsense.
    """
    given = dict(os.environ if variables is None else variables)
    if RANK not in given and COUNT not in given and ADDRESS in given and "SLURM_PROCID" in given:
        given |= {ours: given[theirs] for ours, theirs in _OF_SLURM.items() if theirs in given}
        given.setdefault(PORT, "29500")
    if RANK not in given and COUNT not in given:
        return None
    received = ", ".join(f"{name}={given.get(name)!r}" for name in (RANK, COUNT, LOCAL_RANK, ADDRESS, PORT))
    try:
        rank, count = int(given[RANK]), int(given[COUNT])
        local_rank, port = int(given.get(LOCAL_RANK, "0")), int(given[PORT]) if count > 1 else 1
        address = given[ADDRESS] if count > 1 else ""
    except (KeyError, ValueError):
        raise ValueError(
            f"One of several processes must be told {RANK}, {COUNT}, {ADDRESS} and {PORT}, as torchrun and "
            f"`kzoo launch` do. Received: {received}."
        ) from None
    if not 0 <= rank < count or not 0 <= local_rank <= rank or not 0 < port < 2**16:
        raise ValueError(
            f"{RANK} must be 0 to {COUNT} - 1, {LOCAL_RANK} no larger, and {PORT} a port. Received: {received}."
        )
    return Place(rank, count, local_rank, f"{address}:{port}") if count > 1 else None
