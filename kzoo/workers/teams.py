"""Which devices a training uses."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from kzoo.arguments import integer
from kzoo.data import Batches
from kzoo.data.parts import OwnWorkers
from kzoo.workers.joining import host_group, joined, seconds_to_wait
from kzoo.workers.lines import connected

_MOST = 1024  # devices that a CPU is divided into


def team_for(devices: int | str | None) -> Any:
    """Returns the workers of a training, or `None` for one device.

    Args:
        devices: Integer, how many devices it uses, of all processes together; `"auto"` for all that there are; `None`
            for those of all processes where several are joined, else one.

    Raises:
        ValueError: If it is none of these, or there are not so many, or the backend wants a process for each.
    """
    if devices is not None and devices != "auto":
        devices = integer(devices, "devices", least=1)
    return {"torch": _team_of_torch, "jax": _team_of_jax, "tensorflow": _team_of_tensorflow}[keras.config.backend()](
        devices
    )


def _team_of_torch(devices: int | str | None) -> Any:
    place = joined()
    count = 1 if place is None else place.count
    if devices == "auto" and place is None:
        import torch

        devices = max(torch.cuda.device_count(), 1)
    if devices not in (None, "auto", count):
        raise ValueError(
            "On PyTorch each device must have a process of its own. Start as many: `torchrun --nproc-per-node "
            f"{devices} -m kzoo.cli train ...`, or `kzoo launch -n {devices} -- kzoo train ...`. "
            f"Received: devices={devices!r} in {'one process' if place is None else f'{count} processes'}."
        )
    if place is None:
        return None
    from kzoo.acceleration.torch_workers import Team

    team = Team(count, place.rank, host_group())
    return dataclasses.replace(team, lines=connected(team, seconds_to_wait()))


def _team_of_jax(devices: int | str | None) -> Any:
    import jax

    found = jax.devices()
    if devices is None:
        devices = 1 if joined() is None else len(found)
    if devices == "auto":
        devices = len(found)
    if joined() is not None and devices != len(found):
        raise ValueError(f"Several processes train on all their devices, {len(found)}. Received: devices={devices!r}.")
    if int(devices) > len(found):
        raise ValueError(_too_few(devices, len(found), "JAX", 'jax.config.update("jax_num_cpu_devices", N)'))
    if devices == 1:
        return None
    from kzoo.acceleration.jax_workers import Team

    team = Team(tuple(found[: int(devices)]))
    if team.count == team.processes and found[0].platform == "cpu":
        team.lines = connected(team, seconds_to_wait())
    return team


def _team_of_tensorflow(devices: int | str | None) -> Any:
    if devices in (None, 1):
        return None
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if devices == "auto":
        devices = len(found)
    if int(devices) > len(found):
        raise ValueError(_too_few(devices, len(found), "TensorFlow", "tf.config.set_logical_device_configuration"))
    if devices == 1:
        return None
    from kzoo.acceleration.tensorflow_workers import Team

    return Team(tf.distribute.MirroredStrategy([device.name for device in found[: int(devices)]]))


def _too_few(devices: Any, found: int, backend: str, way: str) -> str:
    return (
        f"`devices` must be no more than there are. Received: devices={devices!r}, and {backend} has {found}. "
        f"To try it out on a CPU, divide that before anything is computed: {way}, or `kzoo train --devices {devices}`."
    )


@contextlib.contextmanager
def trained_by(team: Any, model: keras.Model, batches: Sequence[Batches]) -> Iterator[keras.Model]:
    """Yields the model as the workers of a team train it; in the end the model itself has what they came to.

    Args:
        team: The team of workers, or `None`.
        model: The `keras.Model`.
        batches: The `Batches` that it is trained and validated on, of which each process reads its own images.
    """
    if team is None:
        yield model
        return
    lines = contextlib.nullcontext() if team.lines is None else contextlib.closing(team.lines)
    with lines, team.trains(model) as trained, trained.works_in(team):
        first, last = team.own_workers
        for one in batches:
            one.own_workers = OwnWorkers(first, last, team.count) if team.processes > 1 else None
        yield trained


def variables_of(team: Any) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which variables are made where the workers of a team want them."""
    return contextlib.nullcontext() if team is None else team.variables()


def anew(optimizer: Any) -> Any:
    """Returns a new optimizer like one, whose variables are made where the workers want them; `None` of none."""
    return None if optimizer is None else type(optimizer).from_config(optimizer.get_config())


def divide_cpu(devices: int | str | None) -> None:
    """Divides the CPU into as many devices as a training is to use, where there is no other device.

    For trying out: many devices on one processor are not faster than one. Only before the backend has computed
    anything; on PyTorch processes are the devices.

    Args:
        devices: As for `team_for`.
    """
    if not isinstance(devices, int) or not 1 < devices <= _MOST or joined() is not None:
        return
    if keras.config.backend() == "jax":
        import jax

        from kzoo.acceleration import names

        if not names.jax_has_started() and jax.config.jax_num_cpu_devices in (None, -1):
            jax.config.update("jax_num_cpu_devices", devices)
    elif keras.config.backend() == "tensorflow":
        import tensorflow as tf

        cpus = tf.config.list_physical_devices("CPU")
        if tf.config.list_physical_devices("GPU") or not cpus:
            return
        try:
            tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * devices)
        except RuntimeError:  # TensorFlow has computed something
            return
