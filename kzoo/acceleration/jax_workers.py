"""Training steps on JAX where each of several devices computes a part of the batch, in one process or in many."""

import contextlib
import functools
import itertools
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


class Team:
    """The workers of a training: here devices, of this process and of others.

    Args:
        devices: The devices of JAX, those of each process one after another.

    Attributes:
        lines: `Lines` to the other processes, by which small tensors are exchanged, or `None`.
    """

    copies_models = False
    lines: Any = None

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
        self._places = itertools.count()
        self.all_sum = jax.custom_vjp(self._total)
        self.all_sum.defvjp(lambda x: (self.all_sum(x), None), lambda _, slope: (self.all_sum(slope),))

    def all_gather(self, x: Tensor) -> Tensor:
        """Returns a tensor of every worker, stacked in the order of the workers; it has no gradient."""
        if self._has_lines_for(x):
            stacked = jax.ShapeDtypeStruct((self.count, *x.shape), x.dtype)
            return jax.pure_callback(functools.partial(self._gathered, next(self._places)), stacked, x)
        return lax.all_gather(x, _AXIS)

    def sums(self, tensors: Any) -> Any:
        """Returns the sums of tensors over all workers, by one exchange for each type."""
        leaves, structure = jax.tree.flatten(tensors)
        for dtype in sorted({leaf.dtype for leaf in leaves}, key=str):
            chosen = [i for i, leaf in enumerate(leaves) if leaf.dtype == dtype]
            total = self._total(jnp.concatenate([leaves[i].ravel() for i in chosen]))
            ends = np.cumsum([leaves[i].size for i in chosen])[:-1]
            for i, part in zip(chosen, jnp.split(total, ends), strict=True):
                leaves[i] = part.reshape(leaves[i].shape)
        return jax.tree.unflatten(structure, leaves)

    def of_all(self, values: Tensor, part: Part) -> Tensor:
        """Returns the rows of all workers, of this one its own among zeros: to be added up."""
        whole = jnp.zeros((part.rows * part.workers, *values.shape[1:]), values.dtype)
        return lax.dynamic_update_slice_in_dim(whole, values, part.first, 0)[: part.total]

    def _total(self, x: Tensor) -> Tensor:
        return self.all_gather(x).sum(0) if self._has_lines_for(x) else lax.psum(x, _AXIS)

    def _has_lines_for(self, x: Tensor) -> bool:
        return self.lines is not None and x.size * x.dtype.itemsize <= self.lines.longest

    def _gathered(self, place: int, x: Any) -> Any:
        """Exchanges an array at a place of the program, as it runs."""
        own = np.ascontiguousarray(x)
        found = np.empty((self.count, *own.shape), own.dtype)
        found[self.rank] = own
        self.lines.gather(_bytes(own), [_bytes(one) for one in found], place)
        return found

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
            with contextlib.suppress(RuntimeError):  # a step has failed, with what it took and would have given
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
            jit = jax_steps.jit if jax_steps.is_active() else jax.jit
            return jit(divided, donate_argnums=0 if keeps is None else ())

        def run(state: Any, iterator: Any) -> Any:
            x, y, weight = keras.utils.unpack_x_y_sample_weight(next(iterator))
            placed = jax.tree.map(self._placed, state)
            filled = _filled(np.asarray(x), self.count)
            everything = (self._placed(filled, self._by_rows), *jax.tree.map(self._placed, (y, weight)))
            with computing(
                Part(0, len(filled), len(x), self.count, self.all_sum, None, self.all_gather)
            ):  # some operations ask as they compile
                found, new_state = of_size(len(x))(placed, everything)
            return found, new_state if keeps is None else (*state[:keeps], *new_state[keeps:])

        return run

    def _on_part(self, step: Callable[..., Any], total: int, state: Any, data: Any) -> Any:
        """Does a step on the part of one device."""
        x, y, weight = data
        rows = len(x)
        first = lax.axis_index(_AXIS) * rows
        kept = None if rows * self.count == total else first + jnp.arange(rows) < total
        part = Part(first, rows, total, self.count, self.all_sum, kept, self.all_gather)
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
        team = self._kzoo_team
        assert team is not None
        trainable, others, of_optimizer, of_metrics = state
        differentiate = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
        with computing(part):
            (_, found), gradients = differentiate(
                trainable, others, of_metrics, *own, training=True, optimizer_variables=of_optimizer
            )
        loss, answers, others, of_metrics = found
        gradients, loss, answers = team.sums((gradients, loss, team.of_all(answers, part)))
        trainable, of_optimizer = self.optimizer.stateless_apply(of_optimizer, gradients, trainable)
        logs, of_metrics = self._kzoo_measured(of_metrics, loss, answers, whole)
        return logs, (trainable, others, of_optimizer, of_metrics)

    def _kzoo_test(self, part: Part, state: Any, own: Any, whole: Any) -> Any:
        team = self._kzoo_team
        assert team is not None
        trainable, others, of_metrics = state
        with computing(part):
            _, found = self.compute_loss_and_updates(trainable, others, of_metrics, *own, training=False)
        loss, answers, _, of_metrics = found
        loss, answers = team.sums((loss, team.of_all(answers, part)))
        logs, of_metrics = self._kzoo_measured(of_metrics, loss, answers, whole)
        return logs, (trainable, others, of_metrics)

    def _kzoo_predict(self, part: Part, state: Any, own: Any, whole: Any) -> Any:
        team = self._kzoo_team
        assert team is not None
        answers, _ = self.stateless_call(*state, own[0], training=False)
        return team.sums(team.of_all(answers, part)), state

    def _kzoo_measured(self, of_metrics: Any, loss: Any, answers: Any, whole: Any) -> Any:
        """Counts the loss and the answers of all workers in the metrics, the same on each."""
        y, weight = whole
        # No metric of a training looks at images: the labels stand in, which are as many.
        return self._update_metrics_variables(of_metrics, loss, y, y, answers, weight)


def _filled(x: Any, workers: int) -> Any:
    """Returns a batch in which every worker has equally many rows, the last ones perhaps black images."""
    missing = rows_of_each(len(x), workers) * workers - len(x)
    return np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)]) if missing else x


def _own(values: Any, part: Part) -> Any:
    """Returns the rows of this worker; those that only fill up its part are zeros."""
    missing = part.rows * part.workers - part.total
    padded = jnp.concatenate([values, jnp.zeros((missing, *values.shape[1:]), values.dtype)]) if missing else values
    return lax.dynamic_slice_in_dim(padded, part.first, part.rows)


def _bytes(x: Any) -> memoryview:
    """Returns the bytes of an array, which are written where they are."""
    return memoryview(x.reshape(-1).view(np.uint8))
