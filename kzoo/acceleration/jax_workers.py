"""Training steps on JAX where each of several devices computes a part of the batch, in one process or in many."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax import lax
from jax import numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kzoo.acceleration import jax_steps
from kzoo.shards import Part, computing, rows_of_each

Tensor = Any

_AXIS = "workers"


@jax.custom_vjp
def all_sum(x: Tensor) -> Tensor:
    """Returns the sum of a tensor over all workers, whose gradient is the sum of theirs."""
    return lax.psum(x, _AXIS)


all_sum.defvjp(lambda x: (all_sum(x), None), lambda _, slope: (all_sum(slope),))


class Team:
    """The workers of a training: here devices, of this process and of others.

    Args:
        devices: The devices of JAX, those of each process one after another.
    """

    copies_models = False

    def __init__(self, devices: Sequence[Any]) -> None:
        mesh = Mesh(np.array(devices), (_AXIS,))
        self.mesh = mesh
        self.count = len(devices)
        self.processes = len({device.process_index for device in devices})
        self.rank = jax.process_index()
        own = [i for i, device in enumerate(devices) if device.process_index == self.rank]
        self.own_workers = (own[0], own[-1] + 1)
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._by_rows = NamedSharding(mesh, PartitionSpec(_AXIS))

    def most(self, numbers: Sequence[int]) -> list[int]:
        """Returns the largest of each number over all processes."""
        from jax.experimental import multihost_utils

        own = np.array(numbers, np.int64).view(np.uint8)  # JAX would make 32 bits of them
        found = np.asarray(multihost_utils.process_allgather(own)).reshape(self.processes, -1)
        return [int(one) for one in np.ascontiguousarray(found).view(np.int64).max(0)]

    def from_first(self, content: bytes) -> bytes:
        """Returns what the first process gives."""
        from jax.experimental import multihost_utils

        (size,) = self.most([len(content) if self.rank == 0 else 0])
        own = np.zeros(size, np.uint8) if self.rank else np.frombuffer(content, np.uint8)
        return np.asarray(multihost_utils.broadcast_one_to_all(own)).astype(np.uint8).tobytes() if size else b""

    @contextlib.contextmanager
    def trains(self, model: keras.Model) -> Iterator[keras.Model]:
        """Yields a model as the workers train it: itself. In the end its variables are where they were."""
        try:
            yield model
        finally:
            with contextlib.suppress(jax.errors.JaxRuntimeError):  # a step has failed, with what it would have given
                for variable in (*model.variables, *(model.optimizer.variables if model.optimizer else ())):
                    variable.assign(np.asarray(variable.value))

    def variables(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context in which variables are made where the workers want them: the first step moves them."""
        return contextlib.nullcontext()

    def place(self, variables: Sequence[Any]) -> None:
        """Brings variables to all devices."""
        for variable in variables:
            variable.assign(self._placed(variable.value))

    def _placed(self, value: Any, sharding: Any = None) -> Any:
        """Returns an array as one of all devices: a copy, which a step may write over."""
        sharding = sharding or self._everywhere
        if getattr(value, "sharding", None) == sharding:
            return value
        own = np.asarray(value)
        return jax.make_array_from_callback(own.shape, sharding, lambda place: own[place])

    def compiled(self, step: Callable[..., Any], keeps: int | None = None) -> Callable[[Any, Any], Any]:
        """Returns what Keras calls for each batch.

        Args:
            step: Takes a `Part`, the state, the images and labels and weights of the part, and the labels and weights
                of the whole batch. Returns what is for the caller, and the new state.
            keeps: Integer, how many members of the state stay as they are. Defaults to `None`: none, and the step may
                write over the old one.
        """

        @functools.cache
        def of_size(total: int) -> Any:
            specs = (PartitionSpec(), (PartitionSpec(_AXIS), PartitionSpec(), PartitionSpec()))
            divided = jax.shard_map(
                functools.partial(self._on_part, step, total),
                mesh=self.mesh,
                in_specs=specs,
                out_specs=PartitionSpec(),
                check_vma=False,
            )
            jit = jax_steps.jit if jax_steps.ACCELERATION.is_active() else jax.jit
            return jit(divided, donate_argnums=0 if keeps is None else ())

        def run(state: Any, iterator: Any) -> Any:
            x, y, weight = keras.utils.unpack_x_y_sample_weight(next(iterator))
            placed = jax.tree.map(self._placed, state)
            filled = _filled(np.asarray(x), self.count)
            everything = (self._placed(filled, self._by_rows), *jax.tree.map(self._placed, (y, weight)))
            with computing(Part(0, len(filled), len(x), self.count, all_sum)):  # some operations ask as they compile
                found, new_state = of_size(len(x))(placed, everything)
            return found, new_state if keeps is None else (*state[:keeps], *new_state[keeps:])

        return run

    def _on_part(self, step: Callable[..., Any], total: int, state: Any, data: Any) -> Any:
        """Does a step on the part of one device."""
        x, y, weight = data
        rows = len(x)
        first = lax.axis_index(_AXIS) * rows
        kept = None if rows * self.count == total else first + jnp.arange(rows) < total
        part = Part(first, rows, total, self.count, all_sum, kept)
        own_y, own_weight = (None if values is None else _own(values, part) for values in (y, weight))
        if kept is not None:
            counts = kept.astype(keras.config.floatx())
            own_weight = counts if own_weight is None else own_weight * counts
        return step(part, state, (x, own_y, own_weight), (y, weight))


class WorksInTeams(keras.Model):
    """Model of which each of several devices may compute a part of every batch."""

    _kzoo_team: Team | None = None
    train_function: Any
    test_function: Any
    predict_function: Any

    def make_train_function(self, force: bool = False) -> None:
        if self._kzoo_team is None:
            super().make_train_function(force)
        elif force or self.train_function is None:
            self.train_function = self._kzoo_team.compiled(self._kzoo_train)

    def make_test_function(self, force: bool = False) -> None:
        if self._kzoo_team is None:
            super().make_test_function(force)
        elif force or self.test_function is None:
            self.test_function = self._kzoo_team.compiled(self._kzoo_test, keeps=2)

    def make_predict_function(self, force: bool = False) -> Any:
        if self._kzoo_team is None:
            return super().make_predict_function(force)
        if force or self.predict_function is None:
            self.predict_function = self._kzoo_team.compiled(self._kzoo_predict, keeps=2)
        return None

    def _kzoo_train(self, part: Part, state: Any, own: Any, whole: Any) -> Any:
        trainable, others, of_optimizer, of_metrics = state
        differentiate = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
        with computing(part):
            (_, found), gradients = differentiate(
                trainable, others, of_metrics, *own, training=True, optimizer_variables=of_optimizer
            )
        loss, answers, others, of_metrics = found
        gradients = lax.psum(gradients, _AXIS)
        trainable, of_optimizer = self.optimizer.stateless_apply(of_optimizer, gradients, trainable)
        logs, of_metrics = self._kzoo_measured(part, of_metrics, loss, answers, whole)
        return logs, (trainable, others, of_optimizer, of_metrics)

    def _kzoo_test(self, part: Part, state: Any, own: Any, whole: Any) -> Any:
        trainable, others, of_metrics = state
        with computing(part):
            _, found = self.compute_loss_and_updates(trainable, others, of_metrics, *own, training=False)
        loss, answers, _, of_metrics = found
        logs, of_metrics = self._kzoo_measured(part, of_metrics, loss, answers, whole)
        return logs, (trainable, others, of_metrics)

    def _kzoo_predict(self, part: Part, state: Any, own: Any, whole: Any) -> Any:
        answers, _ = self.stateless_call(*state, own[0], training=False)
        return _of_all(answers, part), state

    def _kzoo_measured(self, part: Part, of_metrics: Any, loss: Any, answers: Any, whole: Any) -> Any:
        """Counts the loss and the answers of all workers in the metrics, the same on each."""
        y, weight = whole
        # No metric of a training looks at images: the labels stand in, which are as many.
        return self._update_metrics_variables(of_metrics, lax.psum(loss, _AXIS), y, y, _of_all(answers, part), weight)


def _filled(x: Any, workers: int) -> Any:
    """Returns a batch in which every worker has equally many rows, the last ones perhaps black images."""
    missing = rows_of_each(len(x), workers) * workers - len(x)
    return np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)]) if missing else x


def _own(values: Any, part: Part) -> Any:
    """Returns the rows of this worker; those that only fill up its part are zeros."""
    missing = part.rows * part.workers - part.total
    padded = jnp.concatenate([values, jnp.zeros((missing, *values.shape[1:]), values.dtype)]) if missing else values
    return lax.dynamic_slice_in_dim(padded, part.first, part.rows)


def _of_all(values: Any, part: Part) -> Any:
    """Returns the rows of all workers."""
    return lax.all_gather(values, _AXIS, tiled=True)[: part.total]
